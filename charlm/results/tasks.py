"""Task results: curricula of one model, and the comparison of cells on a task."""

from typing import Any, Literal

import msgspec

from charlm.config import Config
from charlm.results.comparison import flatten
from charlm.results.comparison_plan import Matching, PlannedEntry
from charlm.results.run import Environment
from charlm.results.timing import TimingReport
from charlm.results.values import Count, Integer, Number, OptionalSha256, RecordedSetting


class TaskScore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Quality of predictions."""

    loss: Number  # nats per target, or mean squared error
    accuracy: Number  # fraction of correct answers


PERFECT = TaskScore(0.0, 1.0)  # of the oracle where the answers follow from what was read


class TaskMeasure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number beside the accuracy that a task measures at every length."""

    name: str  # key of `measures` in the results
    label: str  # head of a table's column, in a few words
    unit: Literal["share", "nats", "steps"]  # share: from 0 to 1
    description: str  # with its value by chance


class PositionScore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Score of the answers at the positions from the one after the last entry's to this one."""

    position: Count  # last of these positions; the first of a sequence is 1
    loss: Number  # nats per target
    oracle_loss: Number  # on the same sequences
    accuracy: Number
    correct_so_far: Number  # fraction of sequences without a wrong answer up to this position


class CurriculumRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`curriculum.json`: what determines a curriculum."""

    format: Count
    task: str  # name of the task
    config: Config
    cell_sha256: OptionalSha256  # of the file of a custom cell


class TaskValidation(msgspec.Struct, frozen=True):
    """A validation: a line of `length-N.jsonl`."""

    step: Count
    seconds: Number  # of optimizer steps
    loss: Number
    accuracy: Number


class LevelResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`length-N.json`: result of training at one length."""

    length: Count
    is_solved: bool  # True if the test is solved
    steps: Count  # optimizer steps at this length
    seconds: Number  # of optimizer steps
    kernel: str
    chance: TaskScore
    test: TaskScore | None  # of the last weights; None if training diverged
    extrapolation: dict[str, Number]  # multiple of the length -> accuracy; 0 if it diverges there
    oracle: TaskScore = PERFECT  # on the same sequences
    measures: dict[str, Number] = {}  # of the task, by name; empty if a test diverges
    by_position: tuple[PositionScore, ...] = ()  # at the largest multiple of the length
    divergence: str = ""  # reason
    environment: Environment | None = None  # software and machine


class CurriculumReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm tasks train`."""

    task: str  # name of the task
    levels: tuple[LevelResult, ...]
    measures: tuple[TaskMeasure, ...] = ()  # beside the accuracy


class TaskDocumentation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Documentation of a task, from its docstring."""

    name: str  # of the task
    summary: str  # one sentence
    source: str  # paper that the task is from
    question: str  # question that the task answers about a model
    protocol: str  # input, answer and score
    length: str  # meaning of its length
    oracle: str  # solution by a program
    chance: str  # best possible score without memory


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm tasks list`."""

    tasks: tuple[TaskDocumentation, ...]  # all tasks, in order of names


class TaskExample(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence of a task and its answers: result of `charlm tasks show`."""

    task: TaskDocumentation
    length: Count
    symbol_names: tuple[str, ...]  # one for each token id, or input feature
    x: list[Any]  # token ids, or rows of numbers
    y: list[Any]  # answers; None where there is none
    is_answer: list[bool]  # True where an answer is scored
    chance: TaskScore
    unbound_accuracy: Number | None  # knowing what was read, without a look-up; None if none is due
    oracle: TaskScore = PERFECT  # on the test sequences of this length
    measures: tuple[TaskMeasure, ...] = ()  # beside the accuracy


class PositionSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All seeds of a cell at the positions from the one after the last entry's to this one."""

    position: Count  # last of these positions
    accuracy: tuple[Number | None, ...]  # None for a seed that was not tested there
    excess_loss: tuple[Number | None, ...]  # nats per target above the oracle's


class LevelSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All seeds of a cell at one length; None for a seed that did not get there.

    A curriculum ends at the first length that is not solved. So the number of seeds that got past
    a length counts those that solved it and every shorter one: survival, not the chance to solve
    this length alone.
    """

    length: Count
    num_survived: Count  # seeds that solved this length and every shorter one
    num_seeds: Count  # all seeds of the cell
    ci_low: Number  # 95 % Wilson interval of the fraction that survives to here
    ci_high: Number
    num_attempted: Count  # seeds that got to this length
    num_diverged: Count  # seeds whose training diverged at this length
    steps: tuple[Count | None, ...]  # of the seeds that solved it
    accuracy: tuple[Number | None, ...]
    loss: tuple[Number | None, ...]
    extrapolation: dict[str, tuple[Number | None, ...]]  # multiple of the length -> accuracies
    measures: dict[str, tuple[Number | None, ...]] = {}  # of the task, by name
    by_position: tuple[PositionSummary, ...] = ()  # at the largest multiple of the length


class TaskPair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two cells at one length: Fisher's exact test of the seeds that survived to here."""

    length: Count
    cell: str
    other: str  # cell that it is compared with
    p: Number  # of Fisher's exact test
    p_holm: Number  # corrected for the tests of the report


class TaskRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell of a comparison on a task."""

    name: str  # of the cell
    hidden_size: Count
    num_layers: Count
    parameters: Count
    relative_error: Number
    state_size: Count
    flops_per_character: Count
    learning_rate: Number
    seeds: tuple[Integer, ...]
    max_solved_length: Count  # lower median over seeds; 0: none
    max_solved_length_per_seed: tuple[Count, ...]  # 0: none
    levels: tuple[LevelSummary, ...]


class LengthChance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Best possible score without memory, and with perfect memory."""

    length: Count
    loss: Number
    accuracy: Number
    unbound_accuracy: Number | None  # knowing what was read, without a look-up; None if none is due
    oracle: TaskScore = PERFECT  # on the test sequences


class TaskReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`report.json` of a comparison on a task."""

    format: Count
    charlm: str  # version
    task: TaskDocumentation
    chance: tuple[LengthChance, ...]
    solved_accuracy: Number | None  # a length is solved from this accuracy on
    solved_relative_loss: Number | None  # or up to this fraction of chance's loss above the oracle
    validation_sequences: Count  # sequences per validation
    test_sequences: Count  # sequences of the test
    lengths: tuple[Count, ...]  # of the curriculum, increasing
    matching: Matching
    settings: dict[str, RecordedSetting]
    rows: tuple[TaskRow, ...]  # best first
    pairs: tuple[TaskPair, ...]  # where both all and none of the seeds survived, there is no test
    smallest_p: Number  # of a pair at a length, that this number of seeds allows
    measures: tuple[TaskMeasure, ...] = ()  # beside the accuracy
    environment: dict[str, str] = {}  # software and machine; values that differ are joined by "or"

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per cell and length, as pandas and polars take them."""
        dicts = []
        for row in self.rows:
            own = flatten(row)
            del own["levels"]
            for level in row.levels:
                columns = flatten(level)
                for name in ("extrapolation", "measures", "by_position"):
                    del columns[name]
                for factor, accuracies in level.extrapolation.items():
                    columns[f"extrapolation.{factor}"] = accuracies
                for name, values in level.measures.items():
                    columns[f"measures.{name}"] = values
                dicts.append({**own, **columns})
        return dicts


class TaskComparisonOverview(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison on a task before its first curriculum, for display."""

    task: str  # name of the task
    lengths: tuple[Count, ...]  # of the curriculum, increasing
    matching: Matching
    entries: tuple[PlannedEntry, ...]  # sizes of the cells
    curricula: Count  # one for each cell and seed
    bracket: Count  # curricula that choose learning rates; 0 where the rate is given
    config: Config  # of the first curriculum
    parallel_runs: Count
    device: str
    out: str  # directory


class TaskComparisonResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a finished comparison on a task has to show."""

    report: TaskReport
    timing: TimingReport
