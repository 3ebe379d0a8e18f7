"""Anchors on synthetic tasks: they need no text."""

from collections.abc import Mapping

from charlm.reproduction.base import ANCHORS, Anchor, Claim, on_task
from charlm.results.tasks import LevelResult
from charlm.settings.values import Setting

# Formal languages of Grazzi et al. (2025). Words of the trained lengths are solved early, and long
# ones later: with one validation at the end, training does not stop at the first.

PARITY: Mapping[str, Setting] = {
    "num_layers": 2,
    "hidden_size": 64,
    "embedding_dim": 64,
    "block": "residual",
    "batch_size": 64,
    "max_steps": 2000,
    "eval_every": 2000,
    "learning_rate": 0.002,
}
SIGNED: Mapping[str, Setting] = {"eigenvalues": "signed"}


def _scaled_accuracy_of_long_words(level: LevelResult) -> float:
    return level.measures["scaled_long"]


def _parity(cell: str, published: float, bound: float, **settings: Setting) -> Claim:
    name = " ".join([cell, *(f"{value} eigenvalues" for value in settings.values())])
    measure = on_task(
        "formal-parity", 40, {**PARITY, **settings, "cell": cell}, _scaled_accuracy_of_long_words
    )
    return Claim(name, published, "at least" if published > 0.5 else "at most", bound, measure)


ANCHORS["parity"] = Anchor(
    title="Parity of words that are longer than the trained ones",
    source="Grazzi et al. (2025), Table 3 (best of 3 seeds)",
    unit="scaled accuracy on words of 40 to 256 symbols",
    published_setting="trained on 3 to 40 symbols, 2 layers, 128 wide, batches of 256, AdamW at "
    "0.001, 20,000 steps",
    our_setting="the same lengths and layers, in residual blocks, 64 units, batches of 64, "
    "2,000 steps: a tenth of the steps with a quarter of the batch, so a failure says less "
    "than theirs",
    claims=(
        _parity("deltanet", 0.017, 0.5),
        _parity("deltanet", 1.0, 0.9, eigenvalues="signed"),
        _parity("mamba", 0.0, 0.5),
        _parity("mamba", 1.0, 0.9, eigenvalues="signed"),
        _parity("slstm", 1.0, 0.9),
        _parity("matrix-lstm", 0.087, 0.5),
    ),
    known="Mamba with signed eigenvalues has not begun to learn after 2,000 steps at this rate, "
    "nor after 500 at 0.005, where one seed was stopped; the paper's 20,000 steps were not tried",
    minutes=15,
)

# State tracking

WORD_PROBLEM: Mapping[str, Setting] = {
    "num_layers": 1,
    "hidden_size": 128,
    "embedding_dim": 64,
    "batch_size": 64,
    "max_steps": 4000,
    "eval_every": 100,
}


def _accuracy(level: LevelResult) -> float:
    assert level.test is not None
    return level.test.accuracy


ANCHORS["a5"] = Anchor(
    title="Products in the group A5 with one layer",
    source="Merrill, Petty & Sabharwal (2024), Figure 3: words that one layer solves",
    unit="share of correct products, words of 12 elements",
    published_setting="one layer, 512 units (S4 1,174, Mamba 698), 1,000,000 words, AdamW at "
    "0.0001; an RNN solves every length up to 20, Mamba and S4 only short ones",
    our_setting="one bare layer of 128 units, 12 elements, at most 256,000 words, the rate of the "
    "cell's recipe. The paper has a figure, no table: solved is 1, and not solved below 0.9",
    claims=(
        Claim(
            "rnn",
            None,
            "at least",
            0.99,
            on_task("word-problem-a5", 12, {**WORD_PROBLEM, "cell": "rnn"}, _accuracy),
        ),
        Claim(
            "mamba",
            None,
            "at most",
            0.9,
            on_task("word-problem-a5", 12, {**WORD_PROBLEM, "cell": "mamba"}, _accuracy),
        ),
    ),
    known="the RNN learns one product after another. Tried with one seed: after 1,024,000 words in "
    "batches of 256, as many as the paper has, at a rate of 0.003 it has 84 % of the products of 2 "
    "right and guesses those of 3 and more; after 204,800 words at 0.001 or 0.003 hardly any of 2 "
    "are right. The paper's 512 units were not tried. With 8 elements a GRU has 99.3 % right after "
    "384,000 words",
    minutes=15,
)

# Memory


def _worst_error(level: LevelResult) -> float:
    assert level.test is not None
    return 1 - min(level.test.accuracy, level.measures["sparse"], level.measures["dense"])


ANCHORS["flip-flop"] = Anchor(
    title="Flip-flop language: a bit is held without an error",
    source="Liu et al. (2023): an LSTM of one layer",
    unit="share of errors, the worst of FFL(0.8), FFL(0.98) and FFL(0.1)",
    published_setting="512 tokens, trained on FFL(0.8); no error in 100 of 100 runs",
    our_setting="the same, 128 units, batches of 16, 3,000 steps",
    claims=(
        Claim(
            "lstm",
            0.0,
            "at most",
            0.0,
            on_task(
                "flip-flop",
                256,
                {
                    "cell": "lstm",
                    "hidden_size": 128,
                    "embedding_dim": 32,
                    "batch_size": 16,
                    "max_steps": 3000,
                    "eval_every": 3000,
                },
                _worst_error,
            ),
        ),
    ),
    known="errors that are left are in FFL(0.98), where a bit is held longest; no other rate, "
    "schedule or number of steps was tried",
    minutes=5,
)

ADDING: Mapping[str, Setting] = {"batch_size": 32, "eval_every": 200, "embedding_dim": 8}


def _squared_error(level: LevelResult) -> float:
    assert level.test is not None
    return level.test.loss


def _adding(cell: str, units: int, length: int, published: float, **settings: Setting) -> Claim:
    is_solved = published < 0.01
    return Claim(
        cell,
        published,
        "at most" if is_solved else "at least",
        0.002 if is_solved else 0.1,
        on_task(
            "adding",
            length,
            {**ADDING, **settings, "cell": cell, "hidden_size": units},
            _squared_error,
        ),
    )


ANCHORS["adding-600"] = Anchor(
    title="Adding two of 600 numbers",
    source="Bai, Kolter & Koltun (2018), Table 1",
    unit="squared error; chance is 1/6",
    published_setting="70,000 parameters; optimizer, rate and clipping searched for each cell",
    our_setting="70,000 parameters, the rate of the cell's recipe, at most 4,000 steps of 32",
    claims=(
        _adding("gru", 150, 600, 5.3e-5, max_steps=4000),
        _adding("lstm", 130, 600, 0.164, max_steps=4000),
        _adding("rnn", 262, 600, 0.177, max_steps=4000),
    ),
    minutes=120,
)
ANCHORS["adding-2000"] = Anchor(
    title="Adding two of 2,000 numbers with long expressive memory",
    source="Rusch et al. (2022), log file of the authors' code",
    unit="squared error; chance is 1/6",
    published_setting="128 units, batches of 50, Adam; below 0.001 from step 3,100 on",
    our_setting="the same units and batch, the rate of the cell's recipe, at most 3,100 steps",
    claims=(_adding("lem", 128, 2000, 0.001, max_steps=3100, batch_size=50),),
    minutes=90,
)
NAMES = ("parity", "a5", "flip-flop", "adding-600", "adding-2000")
