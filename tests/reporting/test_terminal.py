"""Tests of the terminal: results on stdout, all else on stderr, within 80 columns."""

import msgspec
import pytest
from conftest import ENVIRONMENT
from example_reports import (
    MATCHING,
    comparison_report,
    comparison_result,
    entry_row,
    inspection_report,
    probes_report,
    task_result,
    tuning_report,
)

from charlm.config import FORMAT_VERSION, Config
from charlm.reporting.terminal.anchors import print_anchor_list
from charlm.reporting.terminal.answer_table import answer_table
from charlm.reporting.terminal.cells import print_cell_source, print_cells, print_check
from charlm.reporting.terminal.comparison import print_comparison, print_comparison_overview
from charlm.reporting.terminal.cost_estimate import print_cost_estimate
from charlm.reporting.terminal.inspection import print_inspection
from charlm.reporting.terminal.probes import print_probes
from charlm.reporting.terminal.runs import print_run_report, print_run_summary
from charlm.reporting.terminal.scores import print_score
from charlm.reporting.terminal.tasks import (
    print_task,
    print_task_list,
    print_task_plan,
    print_task_report,
)
from charlm.reporting.terminal.tuning import print_tuning
from charlm.results.cells import CellList, CellSummary, CheckResult
from charlm.results.comparison_plan import (
    ComparisonOverview,
    CostEstimate,
    PlannedEntry,
    PlannedJob,
    RemainingWork,
    Resources,
)
from charlm.results.probes import Measured, ProbeResult, ScalarResult
from charlm.results.reproduction import AnchorList, AnchorSummary
from charlm.results.run import (
    EvaluationReport,
    KernelReason,
    RunRecord,
    RunReport,
    RunSummary,
    Score,
)
from charlm.results.tasks import (
    TaskComparisonOverview,
    TaskDocumentation,
    TaskExample,
    TaskScore,
)
from charlm.results.text import CorpusRecord, TextDigest, TextNote
from charlm.results.timing import TimingReport
from charlm.results.tuning import Rung, SearchPlan
from charlm.results.verdicts import InsufficientData
from charlm.settings.values import Setting

CORPUS = CorpusRecord(
    sources=("/home/a/b.txt", "c", "d", "e"),
    digest=TextDigest("ab" * 32, (6000,)),
    characters=6000,
    split_by="position",
    splits={"train": (0, 5000), "valid": (5000, 5500), "test": (5500, 6000)},
    files={},
    rare_characters=0,
    notes=(TextNote("bom", "b.txt"),),
)
SCORE: dict[str, object] = {
    "bits_per_char": 2.0,
    "bits_per_byte": 1.5,
    "nats_per_char": None,
    "characters": 500,
    "bytes": 600,
    "tokens": 500,
    "unknown_tokens": 3,
    "protocol": "one-stream",
    "corpus_sha256": "ab" * 32,
    "text_sha256": "cd" * 32,
    "unit_kind": "block",
    "block_bits": (1000.0,),
    "block_lengths": (500,),
}
ENTRY = PlannedEntry(
    name="gru",
    role="cell",
    hidden_size=100,
    parameters=20_000,
    flops_per_character=40_000,
    state_size=100,
    learning_rate=0.01,
    batch_size=8,
    max_steps=2441,
    seconds_per_million=12.34,
    relative_error=-0.001,
)
TOO_FEW_SEEDS = InsufficientData(cause="seeds", available=2, needed=6)
NO_VERDICT = "note: there can be no verdict: 6 seeds or more are needed, there are 2"
COPY = TaskDocumentation(
    name="copy",
    summary="Repeat symbols after a delay.",
    source="Hochreiter & Schmidhuber (1997)",
    question="For how long can 30 bits be held?",
    protocol="Ten symbols, T blanks, ten answers.",
    length="T.",
    oracle="Loss 0.",
    chance="Accuracy 1/8.",
)


def test_run_summary_has_budget_device_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(
        batch_size=4,
        seq_len=25,
        max_steps=100,
        learning_rate=0.016,
        grad_clip=1.0,
        recurrent_init="orthogonal",
    )
    record = RunRecord(
        format=FORMAT_VERSION,
        config=config,
        text=CORPUS,
        max_steps=100,
        kernel="native",
        kernel_reason=KernelReason("fastest"),
        parameters=1234,
        state_size=20,
        environment=ENVIRONMENT,
    )
    print_run_summary(
        RunSummary(
            record=record,
            config=config,
            vocabulary_size=67,
            vocabulary_kind="chars",
            seconds_per_step=0.5,
            seconds=55.0,
            memory_bytes=3_000_000,
            disk_bytes=650_000,
            kernel="native",
            kernel_reason=KernelReason("fastest", {"compiled": "it has no compiler"}),
            device="cpu",
            device_reason="no_gpu",
            steps_done=40,
            path="runs/first",
            notes=CORPUS.notes,
        )
    )
    out, err = capsys.readouterr()
    assert out == ""
    fields = {line[:11].strip(): line[12:] for line in err.splitlines()}
    assert fields["cell"] == "lstm, 1 × 256 units"
    assert (
        fields["kernel"]
        == "native: the fastest here; compiled does not fit, since it has no compiler"
    )
    assert fields["parameters"] == "1,234; 20 floats of state"
    assert fields["corpus"] == "b.txt c d and 1 more: 6,000 bytes, SHA-256 abababababababab…"
    assert fields["vocabulary"] == "66 characters and a token for unknown ones"
    assert fields["splits"] == "train 5,000, valid 500, test 500"
    assert fields["budget"] == "100 steps of 4 × 25: 2.00 epochs; 40 steps are done"
    assert fields["recipe"] == (
        "lr 0.016 (constant, then 1 - sqrt to 2 % in the last 30 %), batch 4, clip 1, orthogonal "
        "recurrent matrices"
    )
    assert fields["estimate"] == (
        "0:55 for all, the score included; training reads 200 characters/s; 3 MB of memory "
        "beyond PyTorch's own, 0.7 MB on disk"
    )
    assert fields["device"] == "cpu (no GPU is available), 1 thread"
    assert fields["run"] == "runs/first"
    assert "note: b.txt begins with a byte order mark" in err


def test_run_report_and_score(capsys: pytest.CaptureFixture[str]) -> None:
    score = msgspec.convert(SCORE, Score)
    report = RunReport(
        format=FORMAT_VERSION,
        cell="gru",
        hidden_size=8,
        num_layers=1,
        parameters=100,
        state_size=8,
        seed=0,
        kernel="loop",
        steps=100,
        characters_read=1000,
        seconds=1.0,
        chars_per_second=1000.0,
        best_step=90,
        best_valid_bits=2.5,
        validation_protocol="subsampled",
        weights_sha256="ef",
        scored_split="test",
        score=score,
    )
    print_run_report(report)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "2.0000 bits/char  1.5000 bits/byte  - nats/char",
        "scored     500 characters of test, 3 unknown",
        "protocol   one-stream",
        f"corpus     {'ab' * 32}",
        f"text       {'cd' * 32}",
    ]
    print_run_report(msgspec.structs.replace(report, score=None, scored_split="none"))
    out = capsys.readouterr().out
    assert out == "2.5000 bits/token, subsampled validation at step 90\n"
    evaluation = {"split": None, "run_corpus_sha256": "ab", "weights_sha256": "ef", "step": 90}
    evaluation |= {"notes": [{"kind": "crlf", "source": "b.txt"}]}
    print_score(msgspec.convert({**SCORE, **evaluation, "kernel": "loop"}, EvaluationReport))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "scored     500 characters of the text, 3 unknown"
    assert lines[-3:-1] == ["weights    ef (step 90)", "kernel     loop"]
    assert lines[-1] == "note: b.txt ends lines with CRLF: kept as two characters each"


def test_cells_are_listed_shown_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    cell = CellSummary(
        cell="gru",
        authors="van der Westhuizen & Lasenby",
        year=2014,
        states=("h",),
        parameters=1500,
        flops=3000,
        is_linear=False,
        kernels=("native", "loop"),
    )
    print_cells(CellList(hidden_size=256, device="cpu", cells=(cell,)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["gru", "Westhuizen", "2014", "h", "1.5k", "3k", "no", "native"]
    assert "256 units with 256 inputs" in " ".join(lines)
    assert all(len(line) <= 80 for line in lines)
    print_cell_source("A paper", "h = x", "gru.py", "code\n\n")
    assert capsys.readouterr().out == "A paper\n\nh = x\n\ngru.py\n\ncode\n"
    print_check(CheckResult(check="no lookahead", problem=None))
    print_check(CheckResult(check="no lookahead", problem="it looks ahead"))
    assert capsys.readouterr().out.splitlines() == [
        "ok      no lookahead",
        "failed  no lookahead: it looks ahead",
    ]


def test_probes_print_numbers_or_why_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_probes(probes_report(runs=1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("run-0 loses 0.023 bits per character (−0.005 to 0.049) if all")
    empty = lines.index("")
    assert lines[empty + 1] == "context-replacement: Question it is."
    assert lines[empty + 2].startswith(
        "  run-0          lost beyond 64: 0.023 bits per character (−0.005"
    )
    assert "  run-0          half: more than 4,096 steps; by chance 0.500" in lines
    assert any(line.startswith("  run-0          not applicable: the text cl") for line in lines)


def test_probe_output_is_wrapped_and_counts_one_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = probes_report(runs=1)
    name, probe = next(iter(report.probes.items()))
    question = "How many words does a question need, until it is too long for a line? " * 2
    numbers = [
        ScalarResult(name="length", value=1.0, unit="characters", low=1, lower_bound=8192),
        ScalarResult(name="long " * 20, value=2.0, unit="characters", base_rate=0.25),
    ]
    measured = Measured(msgspec.structs.replace(ProbeResult(x="x", y="y"), numbers=numbers))
    probe = msgspec.structs.replace(
        probe,
        documentation=msgspec.structs.replace(probe.documentation, question=question),
        outcomes={"run-0": measured},
    )
    print_probes(msgspec.structs.replace(report, probes={name: probe}))
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines()), out
    assert "length: 1 character; interval up to more than 8,192\n" in out
    assert " ".join(out.split()).count(question.strip()) == 1


def test_inspection_prints_bits_and_features(capsys: pytest.CaptureFixture[str]) -> None:
    report = inspection_report()
    print_inspection(report)  # the sign is another on the test split: the unit does not follow
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert report.survey
    unit = msgspec.structs.replace(report.survey.feature_units[0], selection_correlation=-0.9)
    survey = msgspec.structs.replace(report.survey, feature_units=[unit])
    print_inspection(msgspec.structs.replace(report, survey=survey))
    first, feature = capsys.readouterr().out.splitlines()
    assert first == "3.7500 bits/character on 16 characters: the beginning of book.txt "
    assert feature == "bracket depth      layer 2, unit 3      correlation -0.80"


def test_comparison_opens_with_the_answer_and_fits_into_80_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = comparison_result()
    print_comparison(result.report, result.timing)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and all(len(line) <= 80 for line in lines), out
    assert lines[0].startswith("gru predicts best, with 2.083 [2.063, 2.103] bits/char, ")
    text = " ".join(lines)
    assert text.index("quality: bits/char") < text.index("memory, beyond 64: mbit/char lost")
    assert text.index("memory, order to: characters") < text.index("cost")
    assert "Chosen by subsampled validation: 9 trials for each run" in text


def test_table_is_in_three_groups_with_a_verdict_for_each_number() -> None:
    result = comparison_result(cells=("gru", "lstm"))
    lines = answer_table(result.report, result.timing, 80)
    rows = [line.split() for line in lines if line.startswith("  lstm")]
    quality, beyond, again, reach, cost = rows
    assert quality[1:] == ["2.192", "[2.172,", "2.212]", "+0.105", "[+0.080,", "+0.130]", "worse"]
    assert beyond[1:] == ["12", "[6,", "18]", "-15", "[-21,", "-9]", "less"]
    assert again[-1] == "less" and again[1] == "0.22"
    assert reach[1:] == ["64", "[51,", "77]", "×0.67", "[0.54,", "0.82]", "less"]
    assert cost[1:] == ["5", "100", "20k", "100"]
    references = [line.split() for line in lines if line.startswith("  gru")]
    assert [row[4:] for row in references] == [["reference"]] * 4 + [["100"]]


def test_table_is_side_by_side_where_there_is_room() -> None:
    result = comparison_result(cells=("gru", "lstm"))
    wide = answer_table(result.report, result.timing, 140)
    needed = max(map(len, wide))
    stacked = answer_table(result.report, result.timing, needed - 1)
    assert answer_table(result.report, result.timing, needed) == wide
    assert len(stacked) > len(wide) == 3 + 2 * 3 and stacked[1].startswith("quality: ")
    assert wide[0].split() == ["quality", "memory", "cost"]
    column = wide[0].index("memory")
    assert wide[3][column:].startswith("27 [21, 33]")
    assert wide[6][column:].startswith("-15 [-21, -9] less")


def test_table_without_memory_has_two_groups_and_dashes() -> None:
    rows = [entry_row("gru", label="reference"), entry_row("rnn", [None, None])]
    report = comparison_report(rows, "gru")
    timing = TimingReport(format=FORMAT_VERSION, command="", cells={})
    text = "\n".join(answer_table(report, timing, 40))
    assert "memory" not in text and "quality" in text and "cost" in text
    assert [line.split() for line in text.splitlines() if line.startswith("  rnn")] == [
        ["rnn", "-", "-"],
        ["rnn", "-", "100", "20k", "100"],
    ]
    assert "diverged" not in text  # it is said below, with its share of the seeds


def test_tuning_of_all_settings_fits_into_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Setting] = {
        "learning_rate": 0.00863,
        "dropout": 0.1,
        "forget_bias": "default",
        "grad_clip": 0.25,
    }
    tuning = tuning_report(["coupled-lstm", "transformer"])
    first, *_ = tuning.cells["coupled-lstm"].seeds
    other = {**settings, "learning_rate": 0.02, "forget_bias": "1"}
    seeds = tuple(
        msgspec.structs.replace(
            first, chosen=msgspec.structs.replace(first.chosen, settings=chosen)
        )
        for chosen in (settings, other)
    )
    cells = dict.fromkeys(
        tuning.cells, msgspec.structs.replace(tuning.cells["transformer"], seeds=seeds)
    )
    space = dict.fromkeys(settings, (0.0003, 0.03))
    plan = msgspec.structs.replace(tuning.search, space=space)
    print_tuning(msgspec.structs.replace(tuning, search=plan, cells=cells))
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines), "\n".join(lines)
    assert lines[0].split() == [
        "cell",
        "lr",
        "dropout",
        "bias",
        "clip",
        "valid",
        "bits",
        "diverged",
    ]
    assert lines[3].split()[:3] == ["transformer", "0.00863–0.02", "0.1"]
    assert "1 × default, 1 × 1" in lines[3] and "2 of 18" in lines[3]


def test_names_of_cells_are_only_text(capsys: pytest.CaptureFixture[str]) -> None:
    result = comparison_result("[red]\x1b[31m")
    print_comparison(result.report, result.timing)
    out = capsys.readouterr().out
    assert "\x1b" not in out and "[red]" in out


def test_comparison_overview_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    search = SearchPlan(
        trials=6,
        seed=1000,
        space={"learning_rate": (3e-4, 3e-2), "forget_bias": ("0", "1")},
        rungs=(Rung(1 / 4, 6), Rung(1.0, 2)),
        cost_in_runs=2.67,
    )
    transformer = msgspec.structs.replace(
        ENTRY, name="transformer", role="transformer", relative_error=-0.0138, tolerance=0.02
    )
    overview = ComparisonOverview(
        corpus=CORPUS,
        vocabulary_size=256,
        vocabulary_kind="bytes",
        matching=MATCHING,
        entries=(ENTRY, transformer, msgspec.structs.replace(ENTRY, relative_error=None)),
        runs=4,
        config=Config(),
        reference="gru",
        search=search,
        parallel_runs=2,
        memory_limits_parallel=True,
        device="cpu",
        out="cells",
        insufficient=TOO_FEW_SEEDS,
        remaining=RemainingWork(
            runs=28, seconds=520.0, memory_bytes=800_000_000, disk_bytes=12_300_000
        ),
        linear_cells=("lru", "mingru"),
    )
    print_comparison_overview(overview)
    out, err = capsys.readouterr()
    assert out == "" and NO_VERDICT in err and "256 bytes" in err
    assert "4, 2 in parallel on cpu: no more fit into memory; each run tuned" in err
    assert "takes       about 8:40 for 28 jobs, 2 in parallel on cpu: no more fit" in err
    assert "; 12 MB of disk, 0.80 GB of memory\n" in err
    assert "note: lru and mingru are linear in the state, so all cells are in residual" in err
    assert "hidden 100 (-0.10%): 20,000 parameters, 40k FLOPs, 100 state" in err
    assert "transformer hidden 100 (-1.38%, within 2 %): 20,000 parameters" in err
    assert "hidden 100: 20,000 parameters" in err
    assert "6 trials for each run, drawn for it alone, which cost 2.7 times as much" in err
    assert "6 × 1/4 of the steps, then 2 × all of the steps" in err
    assert "--learning-rate 0.0003 to 0.03" in err and "--forget-bias 0, 1" in err
    print_comparison_overview(msgspec.structs.replace(overview, search=None))
    assert "; learning rate 0.01\n" in capsys.readouterr().err
    other = msgspec.structs.replace(ENTRY, name="lstm", learning_rate=0.016)
    recipes = msgspec.structs.replace(overview, search=None, entries=(ENTRY, other))
    print_comparison_overview(recipes)
    assert "; learning rate gru 0.01, lstm 0.016\n" in capsys.readouterr().err


def test_cost_estimate_sums_what_remains(capsys: pytest.CaptureFixture[str]) -> None:
    job = PlannedJob(
        name="runs/gru-s0",
        purpose="run",
        role="cell",
        cell="gru",
        seed=0,
        hidden_size=100,
        parameters=20_000,
        status="running",
        fraction_done=0.25,
        seconds=90.0,
        memory_bytes=400_000_000,
        disk_bytes=1_500_000,
    )
    estimate = CostEstimate(
        format=FORMAT_VERSION,
        matching=msgspec.structs.replace(MATCHING, measure="state", amount=100.0),
        device="cpu",
        parallel_runs=2,
        memory_limits_parallel=False,
        startup_seconds=2.5,
        entries=(ENTRY,),
        runs=(
            job,
            msgspec.structs.replace(job, name="runs/gru-s1", seed=1, fraction_done=0.75),
            msgspec.structs.replace(job, name="bracket/gru", purpose="bracket", seconds=30.0),
        ),
        remaining=RemainingWork(
            runs=4, seconds=90.0, memory_bytes=800_000_000, disk_bytes=1_500_000
        ),
        available=Resources(memory_bytes=8_000_000_000, disk_bytes=90_000_000_000),
        insufficient=TOO_FEW_SEEDS,
    )
    print_cost_estimate(estimate)
    out, err = capsys.readouterr()
    assert NO_VERDICT in err and out.startswith(
        "It takes about 1:30 for 4 jobs, 2 in parallel on cpu; 2 MB of disk,"
    )
    assert all(len(line) <= 80 for line in out.splitlines()), out
    assert "All cells have 100 floats of state" in out
    assert "gru     100 20,000   40k   100 12.3 -0.10%" in out
    cells = [line.split() for line in out.splitlines()]
    assert ["gru", "runs", "2", "50%", "3:00", "400", "MB", "3.0", "MB"] in cells
    assert ["gru", "rates", "1", "25%", "0:30", "400", "MB", "1.5", "MB"] in cells
    assert "2.5 s per job to start" in " ".join(out.split())
    done = msgspec.structs.replace(
        estimate, remaining=msgspec.structs.replace(estimate.remaining, runs=0)
    )
    print_cost_estimate(done)
    assert "It takes nothing: all is done." in capsys.readouterr().out


def test_task_list_and_example(capsys: pytest.CaptureFixture[str]) -> None:
    explained = msgspec.structs.replace(COPY, name="x", question="How\nmany? Ten.")
    print_task_list([COPY, explained])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["copy  For how long can 30 bits be held?", "x     How many?"]
    assert lines[-1] == "Next: charlm tasks show TASK"
    example = TaskExample(
        task=COPY,
        length=4,
        symbol_names=("a", "b", ".", "?"),
        x=[0, 1, 2, 3, 3],
        y=[2, 2, None, 0, 1],
        is_answer=[False, False, False, True, True],
        chance=TaskScore(1.5, 0.125),
        unbound_accuracy=None,
    )
    print_task(example)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "copy: Repeat symbols after a delay."
    assert lines[-7:-3] == ["", "input    ab.??", "answer   .. ab", "            ^^"][-4:]
    assert lines[-2] == "chance   loss 1.500000, 12.50% correct"
    numbers = msgspec.structs.replace(
        example,
        symbol_names=(" ", "*"),
        x=[[0.25, 1], [0.5, 0]],
        y=[None, 0.25],
        is_answer=[False, True],
    )
    print_task(numbers)
    lines = capsys.readouterr().out.splitlines()
    assert "input    0.25*0.50" in lines and "answer        0.25" in lines


def test_list_of_published_numbers_fits_into_80_columns_of_a_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    title = "Adding two of 2,000 numbers with long expressive memory, and others"
    anchor = AnchorSummary(name="adding-2000", title=title, source="A", text="", minutes=90)
    print_anchor_list(AnchorList(anchors=(anchor,)))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80 and title in " ".join(out.split())


def test_task_comparison_fits_into_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    overview = TaskComparisonOverview(
        task="copy",
        lengths=(10, 20),
        matching=MATCHING,
        entries=(ENTRY,),
        curricula=9,
        bracket=3,
        config=Config(max_steps=100),
        parallel_runs=2,
        device="cpu",
        out="copy",
    )
    print_task_plan(overview)
    out, err = capsys.readouterr()
    assert out == "" and "copy, lengths 10, 20; at most 100 steps each" in err
    assert "9, 2 in parallel on cpu; 3 before them choose learning rates" in err
    result = task_result()
    print_task_report(result.report, result.timing)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines), "\n".join(lines)
    assert lines[2].split() == ["gru", "20,000", "100", "100", "40k", "100", "100", "100", "100"]
    assert any(line.split()[:3] == ["gru", "100", "2/3"] for line in lines)
    assert "Minutes of training per seed: " in " ".join(lines)
