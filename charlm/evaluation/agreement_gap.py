"""Agreement gap: the distance of a run from the known optimum of an artificial corpus."""

import math

import torch

from charlm.data.agreement_grammar import optimal_bits
from charlm.data.corpus import Sources, reload_corpus
from charlm.errors import DataError
from charlm.evaluation.scoring import iter_token_nll
from charlm.results.text import AgreementGap, AgreementRecord
from charlm.runs.restore import load_model
from charlm.runs.run import Run


def measure_agreement_gap(run: Run, record: AgreementRecord, sources: Sources = ()) -> AgreementGap:
    """Compare a run with the optimum on the whole sentences of its test split.

    Args:
        run: Run that was trained on a corpus of `write_agreement_corpus`.
        record: Record of that corpus.
        sources: Where the corpus is now, if it was moved.

    Raises:
        DataError: The test split has no whole sentence, or is not of the grammar.
    """
    _, model = load_model(run, "best", "auto", "cpu", 1)
    corpus = reload_corpus(run.record.config, run.record.text, sources)
    ids = corpus.split("test")
    text = "".join(chr(corpus.encoding.metadata.tokens[index]) for index in ids.tolist())
    start, end = text.find("\n") + 1, text.rfind("\n") + 1
    if start == end:
        raise DataError(
            f"cannot measure {run.path}: its test split has no whole sentence. Try a longer corpus"
        )
    column = corpus.stored_split("test").column()  # with its documents
    nats = torch.cat(list(iter_token_nll(model, column, run.vocabulary)))[start:end, 0]
    bits = nats / math.log(2)
    optimum, is_agreeing = zip(*optimal_bits(record.grammar, text[start:end]), strict=True)
    excess = bits - torch.tensor(optimum, dtype=torch.float64)
    agreeing = torch.tensor(is_agreeing)
    return AgreementGap(
        characters=end - start,
        agreements=int(agreeing.sum()),
        bits_per_char=bits.mean().item(),
        optimal_bits_here=math.fsum(optimum) / len(optimum),
        optimal_bits=record.bits_per_char,
        excess_bits=excess.mean().item(),
        excess_bits_by_agreement=excess[agreeing].sum().item() / len(excess),
        bits_at_agreement=excess[agreeing].mean().item(),
        number_bits=record.number_bits,
    )
