"""Generated texts on a terminal: notes on options, overlaps with the training text, interaction."""

from collections.abc import Sequence

from charlm.console import print_error, print_message, print_result
from charlm.reporting.wording.samples import describe_novelty
from charlm.results.samples import Novelty


def print_sampling_notes(stop: Sequence[str], temperature: float, num_samples: int) -> None:
    """Print notes on options that may not do what their user expects."""
    for string in stop:
        for escape, name in (("\\n", "a line end"), ("\\t", "a tab")):
            if escape in string:
                print_message(
                    f"note: --stop {string} has a backslash and a letter; in bash, {name} is "
                    f"$'{escape}'"
                )
    if temperature == 0 and num_samples > 1:
        print_message(
            f"note: at --temperature 0 there is no chance: all {num_samples} samples are the same"
        )


def print_step_kernel(kernel: str, reason: str) -> None:
    """Print which kernel writes the text, and why it is not a compiled one."""
    print_message(f"note: the text is written by kernel {kernel}: {reason}")


def print_novelty(novelty: Novelty, vocabulary_kind: str) -> None:
    """Print the overlap of a sample with the training text."""
    print_result("\n".join(describe_novelty(novelty, vocabulary_kind)))


def print_session_start() -> None:
    """Print what an interactive session does."""
    print_message("The model goes on with what you type, and remembers it. Try /help. Ctrl-D ends.")


def print_session_help(length: int, temperature: float) -> None:
    """Print the commands of an interactive session, with the values that they set."""
    for command, meaning in (
        ("TEXT", "is read after all that was written; an empty line lets the model go on"),
        ("/reset", "forget all but the prompt"),
        ("/length N", f"write N tokens at a turn (now {length:,})"),
        ("/temperature T", f"divide the logits by T (now {temperature:g})"),
        ("//TEXT", "a text that begins with a slash"),
        ("Ctrl-C", "stops a text that is being written"),
        ("Ctrl-D", "ends"),
    ):
        print_error(f"{command:<16}{meaning}")
