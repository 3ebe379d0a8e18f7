"""Catalog of the JSON files that charlm writes, and of the results that commands print."""

from dataclasses import dataclass

import msgspec

from charlm.data.vocabulary import Vocabulary
from charlm.results import (
    baselines,
    cells,
    cleanup,
    comparison,
    comparison_plan,
    compression,
    corpora,
    costs,
    difference,
    doctor,
    export,
    inspection,
    metrics,
    probe_plan,
    probes,
    program,
    report_text,
    reproduction,
    run,
    run_list,
    samples,
    settings,
    tasks,
    text,
    timing,
    training,
    verification,
)

StructClass = type[msgspec.Struct]


@dataclass(frozen=True)
class File:
    """A file that charlm writes; name is a glob pattern relative to its directory."""

    name: str
    purpose: str
    structs: tuple[StructClass, ...]

    @property
    def is_lines(self) -> bool:
        """Return True if the file has one JSON object per line."""
        return self.name.endswith(".jsonl")


@dataclass(frozen=True)
class Directory:
    """A kind of directory that charlm writes, and its JSON files."""

    title: str
    files: tuple[File, ...]


DIRECTORIES = (
    Directory(
        "A run: `charlm train --run DIR`",
        (
            File("run.json", "Settings and environment; never changes.", (run.RunRecord,)),
            File("vocabulary.json", "Tokens and their ids.", (Vocabulary,)),
            File(
                "metrics.jsonl",
                "One line per optimizer step, and one per validation.",
                (training.StepMetrics, training.ValidationMetrics, training.BranchMetrics),
            ),
            File("events.jsonl", "One line per event, with its time.", (training.RunEvent,)),
            File("report.json", "Result of a finished run.", (run.RunReport,)),
            File("diverged.json", "Written instead of a report.", (run.Divergence,)),
            File(
                "checkpoints/step-*/progress.json",
                "State of training; weights are in `model.safetensors`, optimizer and recurrent "
                "state in `training.safetensors`.",
                (training.TrainingProgress,),
            ),
            File(
                "checkpoints/step-*/manifest.json",
                "SHA-256 of every file of the checkpoint.",
                (training.Manifest,),
            ),
            File(
                "before-decay/step-*/progress.json",
                "State of training after the last step before the learning rate decays.",
                (training.TrainingProgress,),
            ),
            File(
                "before-decay/step-*/manifest.json",
                "SHA-256 of every file of it.",
                (training.Manifest,),
            ),
        ),
    ),
    Directory(
        "A comparison: `charlm compare-cells --out DIR`",
        (
            File("comparison.json", "Marks the directory.", (comparison.ComparisonMarker,)),
            File(
                "report.json",
                "The result. It depends on the runs alone, and has no clock values.",
                (comparison.ComparisonReport,),
            ),
            File("timing.json", "Everything that a clock decides.", (timing.TimingReport,)),
            File(
                "time_matching.json",
                "Hidden sizes found by timing (`--match time`).",
                (comparison_plan.TimedSizes,),
            ),
            File(
                "budget.json",
                "What `--minutes` was worth when the comparison was planned first.",
                (comparison_plan.PlannedBudget,),
            ),
            File(
                "baselines-*.json",
                "Cached scores of baselines.",
                (baselines.BaselineCache,),
            ),
        ),
    ),
    Directory(
        "A curriculum: `charlm tasks train --run DIR`",
        (
            File("curriculum.json", "Task and settings; never changes.", (tasks.CurriculumRecord,)),
            File("length-*.jsonl", "One line per validation.", (tasks.TaskValidation,)),
            File("length-*.json", "Result at one length.", (tasks.LevelResult,)),
        ),
    ),
    Directory(
        "A comparison on a task: `charlm tasks compare TASK --out DIR`",
        (
            File("comparison.json", "Marks the directory.", (comparison.ComparisonMarker,)),
            File("report.json", "The result.", (tasks.TaskReport,)),
            File("timing.json", "Everything that a clock decides.", (timing.TimingReport,)),
        ),
    ),
    Directory(
        "Probe results: `charlm probe --out DIR`",
        (
            File("probes.json", "Marks the directory.", (probes.ProbeMarker,)),
            File(
                "PROBE.json",
                "Cached outcome of one probe for one run, named after the probe.",
                (probes.ProbeAnswer,),
            ),
            File("report.json", "All outcomes of all runs.", (probes.ProbesReport,)),
        ),
    ),
    Directory(
        "Bits of characters: `charlm eval --per-char FILE.jsonl`",
        (File("FILE.jsonl", "One line per character or byte.", (costs.CharacterRecord,)),),
    ),
    Directory(
        "An exported model: `charlm export RUN DIR`",
        (
            File("config.json", "Size and settings of the model.", (export.ExportedConfig,)),
            File("graph.json", "What the model computes, as data.", (export.ModelGraph,)),
            File("vocabulary.json", "Tokens and their ids.", (Vocabulary,)),
        ),
    ),
    Directory(
        "An artificial corpus: `python scripts/grammar.py write CORPUS.txt`",
        (File("CORPUS.json", "Grammar and exact entropy.", (text.AgreementRecord,)),),
    ),
    Directory(
        "Published numbers: `charlm reproduce --out DIR`",
        (
            File(
                "report.json",
                "Published numbers beside ours; `charlm reproduce --json` prints it.",
                (reproduction.ReproductionReport,),
            ),
        ),
    ),
    Directory(
        "The cache: `$CHARLM_CACHE`, else `~/.cache/charlm`",
        (
            File("*.json", "Facts about an encoded text.", (text.EncodingMetadata,)),
            File("*.json", "Notes on a text and its splits.", (text.TextNotes,)),
            File(
                "baselines/baselines-*.json",
                "Scores of baselines that `charlm eval` shows.",
                (baselines.BaselineCache,),
            ),
            File(
                "corpora/*/corpus.json",
                "A standard corpus that was downloaded.",
                (corpora.StoredCorpus,),
            ),
        ),
    ),
)

# Results that commands print with --json, where they are no file above.
PRINTED: dict[str, StructClass] = {
    "every command that fails": program.ErrorReport,
    "charlm --version": program.VersionReport,
    "charlm exit-codes": program.ExitCodeList,
    "charlm eval": run.EvaluationReport,
    "charlm compress": compression.CompressionReport,
    "charlm decompress": compression.DecompressionReport,
    "charlm export": export.ExportReport,
    "charlm sample": samples.GeneratedSample,
    "charlm cells": cells.CellList,
    "charlm cells show": cells.CellListing,
    "charlm cells check": cells.CellCheckReport,
    "charlm cells bibtex": report_text.Bibliography,
    "charlm compare-cells --dry-run": comparison_plan.CostEstimate,
    "charlm tasks compare --dry-run": comparison_plan.CostEstimate,
    "charlm probe --dry-run": probe_plan.ProbeEstimate,
    "charlm reproduce --list": reproduction.AnchorList,
    "charlm report": report_text.ReportText,
    "charlm report --out": report_text.ReportFiles,
    "charlm diff": difference.RunDifference,
    "charlm inspect": inspection.InspectionReport,
    "charlm config show": settings.ResolvedSettings,
    "charlm corpora list": corpora.CorpusList,
    "charlm corpora get": corpora.FetchedCorpus,
    "charlm corpora verify": corpora.CorpusVerification,
    "charlm runs": run_list.RunList,
    "charlm metrics": metrics.RunsMetrics,
    "charlm metrics --tensorboard": metrics.EventFiles,
    "charlm verify": verification.Verification,
    "charlm clean": cleanup.CleanupReport,
    "charlm doctor": doctor.Diagnosis,
    "charlm tasks list": tasks.TaskList,
    "charlm tasks show": tasks.TaskExample,
    "charlm tasks train": tasks.CurriculumReport,
    "python scripts/grammar.py measure": text.AgreementGap,
}

# Values that functions hand each other; they are never written.
IN_MEMORY: frozenset[StructClass] = frozenset(
    {
        baselines.BaselineDetails,
        comparison_plan.ComparisonOverview,
        comparison.ComparisonResult,
        comparison.ValidationPoint,
        costs.DynamicSettings,
        run.RunSummary,
        run.ThreadTiming,
        tasks.TaskComparisonOverview,
        tasks.TaskComparisonResult,
        text.VocabularyRule,
        training.BranchStep,
        training.CheckpointSaved,
    }
)
