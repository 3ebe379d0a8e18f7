"""Kernel, device and recipe of a run in words."""

from collections.abc import Sequence

from charlm.cells.names import cell_label
from charlm.config import Config
from charlm.reporting.formatting import pluralize
from charlm.results.run import DeviceReason, KernelReason, RunRecord, ThreadTiming

DEVICE_REASONS: dict[DeviceReason, str] = {
    "requested": "as requested",
    "gpu_available": "a GPU is available",
    "no_gpu": "no GPU is available",
}


BF16_NOTE = (
    "bf16: products outside of the recurrence in bfloat16; the recurrence, weights, gradients and "
    "all scores in float32"
)


def describe_thread_timings(timings: Sequence[ThreadTiming]) -> str:
    """Return the measurement that chose the number of threads; empty if there was none."""
    if not timings:
        return ""
    each = ", ".join(f"{1000 * t.seconds_per_step:.3g} ms with {t.threads}" for t in timings)
    return f" (measured: a step takes {each})"


def describe_recipe(config: Config) -> str:
    """Return the training settings of a run, which the recipe of its cell or the user chose."""
    schedule = {
        "wsd": "constant, then 1 - sqrt to 2 % in the last 30 %",
        "linear": "linear to 2 %",
        "cosine": "cosine to 2 %",
    }[config.lr_schedule]
    matrices = {
        "orthogonal": "orthogonal recurrent matrices",
        "default": "recurrent matrices by the cell",
        "recipe": "orthogonal recurrent matrices, if the cell has any",
    }[config.recurrent_init]
    return (
        f"lr {config.learning_rate:g} ({schedule}), batch {config.batch_size}, "
        f"clip {config.grad_clip:g}, {matrices}"
    )


def describe_start(record: RunRecord) -> str:
    """Return what a run starts from if not from new weights, and what is redone; else empty."""
    if extends := record.extends:
        redone = f": {pluralize(extends.redone_steps, 'decayed step')} of it are redone"
        return (
            f"goes on from step {extends.start_step:,} of {extends.run}, before its learning rate "
            f"decayed{redone if extends.redone_steps else ''}; the rate stays "
            f"{_describe_kept_rate(record.config.learning_rate, extends.recipe_rate)}, and decays "
            f"after step {extends.decay_start:,}"
        )
    if initial := record.initial_weights:
        return (
            f"weights of {initial.run}, step {initial.step:,} "
            f"(SHA-256 {initial.weights_sha256[:12]}…): {initial.shared_tokens:,} tokens shared, "
            f"{initial.new_tokens:,} new, {initial.kept_tokens:,} that the text lacks are kept; "
            "optimizer, step counter, learning rate and warmup start again"
        )
    return ""


def _describe_kept_rate(rate: float, recipe: float) -> str:
    """Return the learning rate of a longer run, and that of the recipe if it is another one."""
    return f"{rate:g}{f' (recipe for this budget: {recipe:g})' if recipe != rate else ''}"


def describe_kernel_reason(reason: KernelReason, threads: int) -> str:
    """Return why a kernel was chosen for a run with this number of threads."""
    if reason.kind == "requested":
        return "requested"
    if reason.kind == "threads":
        return f"uses all {threads} threads, compiled kernels only 1"
    skipped = (f"{name} does not fit, since {why}" for name, why in reason.skipped.items())
    return "; ".join(["the fastest here", *skipped])


def describe_cell_options(config: Config) -> str:
    """Return the cell with its sizes, and with its options where they are not the defaults."""
    parts = [cell_label(config.cell), f"{config.num_layers} × {config.hidden_size} units"]
    if config.num_heads != Config().num_heads:
        parts.append(f"{config.num_heads} heads")
    if config.eigenvalues != Config().eigenvalues:
        parts.append(f"{config.eigenvalues} eigenvalues")
    return ", ".join(parts)


def describe_windows(config: Config) -> list[tuple[str, str]]:
    """Return where the state starts anew, and what is computed again, as labels and sentences."""
    found = []
    if config.documents in ("file", "line"):
        found.append(("documents", f"each {config.documents} starts from the initial state"))
    elif config.documents != "none":
        ended = "what follows the text " + repr(config.documents)
        found.append(("documents", f"{ended} starts from the initial state"))
    if config.reset_prob:
        chance = f"{100 * config.reset_prob:g} %"
        found.append(("resets", f"a stream starts a step afresh with a chance of {chance}"))
    if config.recompute:
        found.append(("recompute", f"{config.recompute} steps are kept for the gradient at a time"))
    return found
