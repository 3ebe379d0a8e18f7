"""Units that follow features of the text."""

from pathlib import Path

import pytest
import torch
from inspected_models import inspect_string, open_model
from page_parser import Page

from charlm.inspection import feature_units
from charlm.inspection.feature_units import survey_units
from charlm.progress import ignore
from charlm.reporting.html.inspect import render_inspection
from charlm.reporting.wording.inspection import describe_feature_unit


def test_unit_that_counts_brackets_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unit 5 of an LSTM adds 1 at an opener and subtracts 1 at a closer; the others are noise.

    Each stream begins outside of all brackets.
    """
    (tmp_path / "book.txt").write_text("(ab) [(cd)] " * 1600)
    run, corpus, model = open_model(tmp_path, tmp_path / "book.txt", hidden_size=8, embedding_dim=8)
    cell = model.cells[0]
    with torch.no_grad():
        cell.W.weight[:, :2] = 0
        cell.W.weight[[4, 12, 20]], cell.U.weight[[4, 12, 20]] = 0, 0
        cell.W.bias[[4, 12, 20]] = torch.tensor([-20.0, 20.0, 0.0])
        cell.W.weight[4, 0], cell.W.weight[20, 1] = 40, 40
        model.embed.weight[:, :2] = 0
        for characters, sign in (("([", 1), (")]", -1)):
            for id_ in run.vocabulary.encode(characters):
                model.embed.weight[id_, 0], model.embed.weight[id_, 1] = 1, sign
    survey = survey_units(model, corpus, run.vocabulary, ignore)
    assert survey is not None
    (unit,) = [unit for unit in survey.feature_units if unit.feature == "bracket depth"]
    assert (unit.layer, unit.unit, unit.variable) == (1, 5, "c")
    assert unit.selection_correlation > 0.99 and unit.heldout_correlation > 0.99
    episodes = unit.in_episodes
    assert episodes is not None and episodes.episodes > 100 and episodes.change_at_start > 0.5
    assert [gate.variable for gate in episodes.gates] == ["f", "i", "o"]
    assert episodes.gates[0].at_start > 0.99  # the forget gate is always open
    caption = describe_feature_unit(unit)
    assert "It is high where more brackets are open (correlation +1.00" in caption
    assert "after a bracket opens, and stays high for" in caption
    assert survey.missing_features == ["inside a quote", "indentation"]
    monkeypatch.setattr(feature_units, "MIN_CORRELATION", 0.98)
    strict = survey_units(model, corpus, run.vocabulary, ignore)
    assert strict is not None and strict.feature_units == [unit]
    assert strict.unfollowed_features == ["column", "end of a word"]
    (forget_gate,) = [gate for gate in survey.saturation if gate.variable == "f"]
    assert forget_gate.open[4] == 1 and forget_gate.closed[4] == 0


def test_heldout_correlation_is_of_another_text(tmp_path: Path) -> None:
    """In the validation split only y is in brackets, in the test split only z.

    So the unit that was selected is wrong there.
    """
    inside, outside = "(yyyy) zzzz ", "(zzzz) yyyy "
    (tmp_path / "book.txt").write_text((inside + outside) * 120 + inside * 40 + outside * 40)
    run, corpus, model = open_model(
        tmp_path,
        tmp_path / "book.txt",
        hidden_size=8,
        embedding_dim=8,
        split_ratios="75/12.5/12.5",
    )
    cell = model.cells[0]
    with torch.no_grad():
        cell.W.weight[:, 0], model.embed.weight[:, 0] = 0, 0
        cell.W.weight[24:], cell.U.weight[24:] = 0, 0
        for letter, sign in (("y", 1), ("z", -1)):
            model.embed.weight[run.vocabulary.encode(letter)[0], 0] = sign
        cell.W.weight[16, 0] = 9
    survey = survey_units(model, corpus, run.vocabulary, ignore)
    assert survey is not None and survey.tokens.keys() == {"valid", "test"}
    (unit,) = [unit for unit in survey.feature_units if unit.feature == "bracket depth"]
    assert abs(unit.selection_correlation) > 0.5
    assert unit.selection_correlation * unit.heldout_correlation < 0


def test_text_without_features_has_no_feature_units(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("\n" * 4500)
    run, corpus, model = open_model(tmp_path, tmp_path / "book.txt")
    report = inspect_string(run, corpus, model, "\n")
    assert report.survey is not None and report.survey.feature_units == []
    assert len(report.survey.missing_features) == 5 and len(report.units) == 1
    text = " ".join(Page(render_inspection(report)).text.split())
    assert (
        "because the validation or the test split has none: inside a quote, bracket depth," in text
    )
