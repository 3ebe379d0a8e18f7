"""Published numbers: what is measured, what agrees, and what a reader of the table is told."""

import hashlib
import json
import math
from pathlib import Path

import msgspec
import pytest
from conftest import charlm, prose

import charlm as api
from charlm.config import option_metadata, validate_config
from charlm.errors import ConfigError, DataError, Interrupted
from charlm.execution.machine import current_environment
from charlm.registry import UnknownNameError
from charlm.reporting.tables.anchors import format_number, our_number, render_anchors
from charlm.reporting.terminal.anchors import print_anchors
from charlm.reproduction import base
from charlm.reproduction.base import (
    ANCHORS,
    Anchor,
    Claim,
    Measurement,
    Workspace,
    on_task,
    on_text,
)
from charlm.reproduction.reproduce import anchor_names, list_anchors, reproduce
from charlm.results.reproduction import ClaimResult, ReproductionReport
from charlm.settings.values import Setting
from charlm.storage.json_files import read_sealed_json, seal_json

TINY: dict[str, Setting] = {
    "cell": "gru",
    "hidden_size": 8,
    "embedding_dim": 4,
    "max_steps": 2,
    "batch_size": 4,
}


def anchor(*claims: Claim, **fields: object) -> Anchor:
    texts = {"title": "t", "source": "s", "unit": "u", "published_setting": "p", "our_setting": "o"}
    return Anchor(**{**texts, "minutes": 1.0, "claims": claims, **fields})  # type: ignore[arg-type]


def constant(*values: float | None) -> base.Measure:
    """Return a measure whose numbers are these, by seed."""
    return lambda _, seed: Measurement(values[seed - 1], 2.0)


@pytest.fixture
def anchors(monkeypatch: pytest.MonkeyPatch) -> dict[str, Anchor]:
    """Two anchors in place of the real ones."""
    fakes = {
        "plain": anchor(
            Claim("near", 1.0, "near", 0.1, constant(1.05, 5.0, 1.08)),
            Claim("far", 1.0, "near", 0.1, constant(1.2, 1.3, 1.0)),
            Claim("high", 0.9, "at least", 0.8, constant(0.85, 0.85, 0.85)),
            Claim("low", 0.0, "at most", 0.0, constant(0.0, 0.0, 0.1)),
            Claim("lost", 0.0, "at most", 1.0, constant(0.0, None, 0.0)),
        ),
        "texty": anchor(
            Claim("one", 1.0, "near", 0.1, constant(1.0)),
            text="no-such-corpus",
            text_source="somewhere",
            is_random=False,
        ),
    }
    monkeypatch.setattr(base, "ANCHORS", fakes)
    for name in ("ANCHORS", "get_anchor"):
        monkeypatch.setattr(f"charlm.reproduction.reproduce.{name}", getattr(base, name))
    monkeypatch.setattr("charlm.reproduction.task_anchors.NAMES", ("plain",))
    monkeypatch.setattr("charlm.reproduction.text_anchors.NAMES", ("texty",))
    return fakes


def test_the_median_of_the_seeds_is_judged(anchors: dict[str, Anchor], tmp_path: Path) -> None:
    report = reproduce(out=tmp_path, seeds=3)
    plain, texty = report.anchors
    assert {claim.name: claim.met for claim in plain.claims} == {
        "near": True,
        "far": False,
        "high": True,
        "low": True,
        "lost": False,
    }
    assert [claim.seconds for claim in plain.claims] == [6.0] * 5
    assert texty.claims[0].met is None and "needs the text no-such-corpus" in texty.not_measured
    assert read_sealed_json(tmp_path / "report.json", ReproductionReport) == report
    assert len(anchors) == 2


def test_the_page_has_every_number_with_its_range_and_why_others_are_missing(
    anchors: dict[str, Anchor], tmp_path: Path
) -> None:
    del anchors
    page = render_anchors(reproduce(out=tmp_path, seeds=3))
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    cells = {row.split("|")[1].strip(): row for row in rows}
    assert "1.08 (1.05 to 5)" in cells["near"] and cells["near"].endswith("| yes |")
    assert cells["far"].endswith("| no  |")
    assert "0, diverged, 0" in cells["lost"]
    assert cells["one"].count("-") == 2
    text = page.replace("\n", " ")
    assert "3 of 5 numbers that were measured are met; 1 were not measured" in text
    assert "Not measured: it needs the text no-such-corpus" in text
    assert "3 seeds, 0.5 minutes of training" in text


def test_the_page_says_where_one_seed_makes_no_interval(
    anchors: dict[str, Anchor], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(prose(2000))
    report = reproduce(["plain", "texty"], tmp_path / "out", seeds=1, texts={"texty": text})
    page = render_anchors(report).replace("\n", " ")
    assert "One seed, so no interval, 0.2 minutes" in page and "No seed has an influence" in page
    digest = hashlib.sha256(text.read_bytes()).hexdigest()
    assert f"Text: no-such-corpus, somewhere, SHA-256 {digest}." in page
    assert len(anchors) == 2


def test_each_number_is_logged_and_each_anchor_is_kept_if_the_next_one_fails(
    anchors: dict[str, Anchor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(workspace: Workspace, seed: int) -> Measurement:
        raise Interrupted(2)

    text = tmp_path / "text.txt"
    text.write_text(prose(2000))
    anchors["texty"] = anchor(Claim("one", 1.0, "near", 0.1, fail), text="corpus")
    caplog.set_level("INFO", "charlm")
    with pytest.raises(Interrupted):
        reproduce(["plain", "texty"], tmp_path / "out", seeds=3, texts={"texty": text})
    assert caplog.messages[:2] == [
        "plain, 1 of 15: near with seed 1",
        "plain, 1 of 15: near with seed 1: 1.05",
    ]
    assert "plain, 14 of 15: lost with seed 2: diverged" in caplog.messages
    assert caplog.messages[-1] == "texty, 1 of 3: one with seed 1"
    plain, texty = read_sealed_json(tmp_path / "out" / "report.json", ReproductionReport).anchors
    assert len(plain.claims[0].values) == 3 and texty.not_measured


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (5.3e-5, "5.3e-05"), (1.0, "1"), (1.88, "1.88"), (0.0166, "0.017"), (None, "div")],
)
def test_numbers_have_the_digits_of_losses_and_shares(value: float | None, text: str) -> None:
    assert format_number(value).startswith(text)
    claim = ClaimResult(
        name="x", published=1, criterion="near", bound=1, values=(), met=None, seconds=0
    )
    assert our_number(claim) == "-"


def test_what_cannot_be_measured_is_refused_before_anything_is_trained(
    anchors: dict[str, Anchor], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(prose(2000))
    with pytest.raises(UnknownNameError, match=r"unknown anchor 'plan'; did you mean plain\?"):
        reproduce(["plan"], tmp_path / "out")
    with pytest.raises(ConfigError, match="a text for plain: it needs none"):
        reproduce(out=tmp_path / "out", texts={"plain": text})
    with pytest.raises(ConfigError, match="0 seeds"):
        reproduce(out=tmp_path / "out", seeds=0)
    anchors["texty"] = anchor(
        *anchors["texty"].claims, text="corpus", text_sha256="0" * 64, is_random=False
    )
    with pytest.raises(DataError, match=r"it is not corpus, whose SHA-256 is 0000"):
        reproduce(out=tmp_path / "out", texts={"texty": text})
    assert not (tmp_path / "out").exists()


def test_a_file_whose_lines_are_shuffled_is_known_by_its_own_hash(
    anchors: dict[str, Anchor], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{name}\n" for name in prose(2000).split()))
    digest = hashlib.sha256(text.read_bytes()).hexdigest()
    anchors["texty"] = anchor(
        *anchors["texty"].claims,
        text="corpus",
        text_sha256=digest,
        text_settings={"split_by": "line"},
        is_random=False,
    )
    _, texty = reproduce(["texty"], tmp_path / "out", texts={"texty": text}).anchors
    assert texty.text_sha256 == digest


def test_a_text_that_is_given_is_read(anchors: dict[str, Anchor], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(prose(2000))
    report = reproduce(["texty"], tmp_path / "out", texts={"texty": text})
    plain, texty = report.anchors
    assert plain.claims[0].met is None and texty.claims[0].met and len(texty.text_sha256) == 64
    assert len(anchors) == 2


def test_the_committed_page_is_that_of_the_committed_report() -> None:
    docs = Path(__file__).parents[2] / "docs"
    report = read_sealed_json(docs / "anchors.json", ReproductionReport)
    assert (docs / "anchors.md").read_text() == render_anchors(report)
    assert [each.name for each in report.anchors] == anchor_names()
    for each in report.anchors:
        anchor = ANCHORS[each.name]
        assert [(claim.name, claim.published, claim.bound) for claim in each.claims] == [
            (claim.name, claim.published, claim.bound) for claim in anchor.claims
        ]
        assert (each.our_setting, each.known) == (anchor.our_setting, anchor.known)
        assert each.text_sha256 == anchor.text_sha256


def test_what_was_measured_before_stays_in_the_report(
    anchors: dict[str, Anchor], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(prose(2000))
    reproduce(["plain"], tmp_path / "out", seeds=1)
    plain, texty = reproduce(["texty"], tmp_path / "out", texts={"texty": text}).anchors
    assert plain.claims[0].values == (1.05,) and texty.claims[0].met
    assert len(anchors) == 2


def test_each_anchor_keeps_the_machine_that_measured_it(
    anchors: dict[str, Anchor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(prose(2000))
    texts = {"texty": text}
    here = current_environment("cpu", 1)

    def measure_on(processor: str, *names: str) -> list[str]:
        """Return the processors of all anchors, after these were measured on one."""
        machine = msgspec.structs.replace(here, processor=processor)
        monkeypatch.setattr("charlm.reproduction.reproduce.current_environment", lambda *_: machine)
        given = {name: texts[name] for name in names if name in texts}
        report = reproduce(names, tmp_path / "out", seeds=1, texts=given)
        return [each.environment.processor if each.environment else "" for each in report.anchors]

    assert measure_on("one", "plain") == ["one", ""]
    assert measure_on("two", "texty") == ["one", "two"]
    report = read_sealed_json(tmp_path / "out" / "report.json", ReproductionReport)
    page = " ".join(render_anchors(report).split())
    assert "Measured on: one (" in page and "Measured on: two (" in page
    assert "2 machines or versions: each anchor states its own." in page
    print_anchors(report)
    assert "Measured on: two (" in " ".join(capsys.readouterr().out.split())
    assert measure_on("two", "plain") == ["one", "two"]  # nothing new was measured
    anchors["plain"] = anchor(Claim("near", 1.0, "near", 0.1, constant(1.0)))
    assert measure_on("two", "plain") == ["two", "two"]
    report = read_sealed_json(tmp_path / "out" / "report.json", ReproductionReport)
    page = " ".join(render_anchors(report).split())
    assert "Measured on" not in page and page.count("two (") == 1


def test_a_report_of_another_format_is_refused(anchors: dict[str, Anchor], tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(seal_json({"format": 2, "environment": {}}))
    with pytest.raises(ConfigError, match=r"it has format 2, and this charlm 3\. Try "):
        reproduce(["plain"], tmp_path, seeds=1)
    assert len(anchors) == 2


def test_a_model_is_trained_once_on_a_task_and_on_a_text(
    anchors: dict[str, Anchor], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(prose(3000))
    anchors["plain"] = anchor(
        Claim("task", 0.5, "near", 1.0, on_task("flip-flop", 4, TINY, lambda level: level.length))
    )
    anchors["texty"] = anchor(
        Claim("exact", 3.0, "near", 3.0, on_text({**TINY, "seq_len": 8}, "exact")), text="corpus"
    )
    names, texts = ["plain", "texty"], {"texty": text}
    first = reproduce(names, tmp_path / "out", seeds=1, texts=texts)
    values = [claim.values for anchor in first.anchors for claim in anchor.claims]
    assert values[0] == (4.0,) and 2 < (values[1][0] or 0) < 4.5  # nats of a model of two steps
    runs = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("length-4.json")}
    again = reproduce(names, tmp_path / "out", seeds=1, texts=texts)
    assert len(runs) == 1
    assert all(path.stat().st_mtime_ns == time for path, time in runs.items())
    assert [claim.values for anchor in again.anchors for claim in anchor.claims] == values


def test_every_real_anchor_has_a_source_a_setting_and_claims_that_can_fail() -> None:
    assert anchor_names() == list(ANCHORS) and len(anchor_names()) >= 10
    listed = list_anchors().anchors
    assert [each.text for each in listed] == sorted((each.text for each in listed), key=bool)
    for name, each in ANCHORS.items():
        assert each.source and each.published_setting and each.our_setting and each.unit, name
        assert each.minutes > 0 and each.claims
        assert bool(each.text) == bool(each.text_source) == (len(each.text_sha256) == 64), name
        validate_config(each.text_settings)
        assert all(option_metadata(setting) for setting in each.text_settings)
        for claim in each.claims:
            known = claim.bound if claim.published is None else claim.published
            assert claim.is_met(known) or claim.criterion == "at most", (name, claim)
            assert not claim.is_met(None)
            worst = -math.inf if claim.criterion == "at least" else math.inf
            assert not claim.is_met(worst)


def test_the_command_lists_anchors_and_refuses_what_is_no_text() -> None:
    listed = json.loads(charlm("reproduce", "--list", "--json").stdout)
    assert [row["name"] for row in listed["anchors"]] == anchor_names()
    failed = charlm("reproduce", "nanogpt", "--text", "input.txt", check=False)
    assert failed.returncode == 2 and not failed.stdout
    assert failed.stderr.decode().count("\n") == 1 and b"Try --text nanogpt=" in failed.stderr
    missing = charlm("reproduce", "names", check=False)
    assert missing.returncode == 66 and b"Try --text names=FILE" in missing.stderr
    assert api.reproduce is reproduce
