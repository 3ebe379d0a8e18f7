"""Agreement gap: a trained run against the known optimum."""

from pathlib import Path

import pytest

from charlm.config import validate_config
from charlm.data.agreement_grammar import write_agreement_corpus
from charlm.errors import DataError
from charlm.evaluation.agreement_gap import measure_agreement_gap
from charlm.training.session import train


def test_run_without_whole_test_sentence_is_refused(tmp_path: Path) -> None:
    record = write_agreement_corpus(tmp_path / "corpus.txt", 60, 2_000, 0)
    config = validate_config(
        {"hidden_size": 8, "batch_size": 2, "seq_len": 8, "max_steps": 1, "split_ratios": "98/1/1"}
    )
    run = train(tmp_path / "corpus.txt", config, tmp_path / "run")
    with pytest.raises(DataError, match="^cannot measure .*run: its test split has no whole sent"):
        measure_agreement_gap(run, record)


@pytest.mark.slow
def test_gap_of_a_run_adds_up(tmp_path: Path) -> None:
    record = write_agreement_corpus(tmp_path / "corpus.txt", 10, 60_000, 0)
    config = validate_config(
        {
            "hidden_size": 32,
            "embedding_dim": 8,
            "batch_size": 8,
            "seq_len": 64,
            "max_steps": 150,
            "learning_rate": 0.02,
        }
    )
    run = train(tmp_path / "corpus.txt", config, tmp_path / "run")
    assert run.report is not None and run.report.score is not None
    gap = measure_agreement_gap(run, record)
    # whole sentences only, so not exactly the score of the run
    assert gap.bits_per_char == pytest.approx(run.report.score.bits_per_char, rel=0.02)
    assert gap.excess_bits == pytest.approx(gap.bits_per_char - gap.optimal_bits_here)
    assert gap.optimal_bits == record.bits_per_char
    assert 0 < gap.excess_bits_by_agreement < gap.excess_bits
    per_agreement = gap.excess_bits_by_agreement * gap.characters / gap.agreements
    assert gap.bits_at_agreement == pytest.approx(per_agreement)
    # It has learnt words, whose other letters cost next to nothing; but no number.
    assert 0.7 < gap.bits_at_agreement < 2.5
