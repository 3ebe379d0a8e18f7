"""Cells of torchrecurrent, which charlm adapts: their contract, and what is refused."""

from pathlib import Path

import pytest
import torch
import torchrecurrent
from conftest import charlm, prose
from torch import Tensor
from torch.testing import assert_close

from charlm.cells import names
from charlm.cells.loader import get_cell, load_recorded_cell, loaded_cell_sha256
from charlm.cells.names import PACKAGE, package_classes, parse_custom_cell
from charlm.cells.package_cells import PackageCell, make_package_cell
from charlm.cells.source_listing import read_cell_source
from charlm.errors import ConfigError, DataError, InvalidValueError
from charlm.kernels.loop import unroll_loop
from charlm.models.catalog import list_cells
from charlm.reporting.terminal.cells import print_cells
from charlm.runs.run import Run
from charlm.testing.check import check_cell
from charlm.testing.parameter_formula import evaluate_parameter_formula

EQUAL_SIZES_ONLY = "IntersectionRNN"
ODD_ONES = {  # what each has that others do not
    "NAS": "two states",
    "MCLSTM": "an output apart from two states",
    "TGRU": "a state as wide as the input: the last input itself",
    "JANET": "two equal states, and a parameter that is a number",
}


def test_every_cell_of_the_package_can_be_used_but_one() -> None:
    exported = {name[:-4] for name in torchrecurrent.__all__ if name.endswith("Cell")}
    assert exported == set(package_classes()) and len(exported) == 41
    for name in exported - {EQUAL_SIZES_ONLY}:
        cell_type = get_cell(f"{PACKAGE}:{name}")
        cell = cell_type(6, 11)
        formula = (cell_type.__doc__ or "").partition("Parameters: ")[2].partition(" for X")[0]
        count = sum(parameter.numel() for parameter in cell.parameters())
        assert evaluate_parameter_formula(formula, {"X": 6, "H": 11, "N": 1}) == count, name
        for matrix in cell.recurrent_matrices():
            assert matrix.shape == (11, 11), name
    with pytest.raises(ConfigError, match="requires input_size == hidden_size. Try another"):
        get_cell(f"{PACKAGE}:{EQUAL_SIZES_ONLY}")


@pytest.mark.parametrize("name", ODD_ONES)
def test_package_cell_meets_the_contract(name: str) -> None:
    report = check_cell(f"{PACKAGE}:{name}")
    assert report.passed, [check for check in report.checks if check.problem]


@pytest.mark.parametrize("name", ["NAS", "MCLSTM", "TGRU", "ATR"])
def test_outputs_are_those_of_the_packages_layer(name: str) -> None:
    cell = get_cell(f"{PACKAGE}:{name}")(4, 6).double()
    assert isinstance(cell, PackageCell)
    layer = getattr(torchrecurrent, name)(4, 6).double()
    layer.cells[0].load_state_dict(cell.cell.state_dict())
    x = torch.randn(9, 3, 4).double()
    outputs, last = unroll_loop(cell, x, cell.initial_state(3))
    expected, state = layer(x)
    assert_close(outputs, expected, rtol=0, atol=1e-12)
    states = [state] if isinstance(state, Tensor) else list(state)
    for part, expected_part in zip(last[-len(states) :], states, strict=True):
        assert_close(part, expected_part[0], rtol=0, atol=1e-12)


def test_making_a_class_draws_no_random_numbers() -> None:
    make_package_cell.cache_clear()
    before = torch.get_rng_state()
    get_cell(f"{PACKAGE}:UGRNN")
    assert torch.equal(torch.get_rng_state(), before)


def test_run_with_a_package_cell_can_be_trained_and_scored(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(prose(3000))
    sizes = ["--hidden-size", 8, "--embedding-dim", 8, "--batch-size", 4, "--seq-len", 16]
    name, run = f"{PACKAGE}:NAS", tmp_path / "run"
    charlm("train", tmp_path / "book.txt", "--cell", name, *sizes, "--max-steps", 2, "--run", run)
    record = Run(run).record
    assert record.config.cell == name and record.cell_sha256 == loaded_cell_sha256(name) != ""
    assert record.config.recurrent_init == "recipe"
    assert b"bits/char" in charlm("eval", run).stdout


def test_another_version_of_the_package_is_refused() -> None:
    name = f"{PACKAGE}:NAS"
    assert load_recorded_cell(name, loaded_cell_sha256(name), "") == name
    with pytest.raises(DataError, match="not the version that the run was made with"):
        load_recorded_cell(name, "0" * 64, "")


@pytest.mark.parametrize(
    ("wrong", "near"), [("NSA", "NAS"), ("nas", "NAS"), ("mclstm", "MCLSTM"), ("", "")]
)
def test_unknown_name_gets_a_suggestion(wrong: str, near: str) -> None:
    hint = f"; did you mean {PACKAGE}:{near}?" if near else "."
    with pytest.raises(InvalidValueError) as caught:
        parse_custom_cell(f"{PACKAGE}:{wrong}")
    assert str(caught.value).startswith(f"unknown cell '{PACKAGE}:{wrong}'{hint} Try charlm cells")


def test_missing_package_is_one_line_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that name such a cell can still be read, as those of a run are."""
    monkeypatch.setattr(names, "package_classes", dict)
    name = f"{PACKAGE}:NAS"
    assert parse_custom_cell(name) is None
    for use in (get_cell, read_cell_source):
        with pytest.raises(ConfigError, match=r"torchrecurrent is not installed. Try pip install"):
            use(name)


def test_source_of_a_package_cell_is_its_class_alone() -> None:
    source = read_cell_source(f"{PACKAGE}:NAS")
    assert source.code.startswith("class NASCell(") and "class NAS(" not in source.code
    assert source.citation == (
        f"{PACKAGE}:NAS: A Neural Architecture Search (NAS) cell. https://arxiv.org/abs/1611.01578"
    )
    markup = ("``", r"\mathbf", ":math:", ".. ", "`_")
    assert not source.equations and not any(mark in source.code for mark in markup)
    assert "    def forward(" in source.code


def test_name_without_its_package_gets_a_suggestion() -> None:
    with pytest.raises(InvalidValueError, match="'nas'; did you mean torchrecurrent:NAS"):
        parse_custom_cell("nas")


def test_list_names_the_cells_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    listing = list_cells(4, cells=["gru"])
    assert f"{PACKAGE}:NAS" in listing.package_cells
    print_cells(listing)
    out = capsys.readouterr().out
    assert f"Also {PACKAGE}:NAME, with one of AntisymmetricRNN, ATR" in out
