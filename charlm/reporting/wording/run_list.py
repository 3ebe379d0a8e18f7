"""State of a run in words."""

from charlm.results.run_list import ListedRun


def describe_state(run: ListedRun) -> str:
    """Return the state of a run, such as "stopped, 300/2,000": its last checkpoint.

    A run that did not begin with new weights is marked.
    """
    mark = {"new": "", "init_from": ", init-from", "longer": ", longer"}[run.start]
    return f"{_describe_progress(run)}{mark}"


def _describe_progress(run: ListedRun) -> str:
    reached = f"{run.step:,}/{run.max_steps:,}"
    match run.state:
        case "locked":
            return f"running, {reached}"
        case "unfinished":
            return f"stopped, {reached}"
        case "incompatible":
            return run.problem
        case "link":
            return "has a link"
    return run.state
