"""Problems of an installation in sentences: cause, and what to try."""

from charlm.results.doctor import Problem, ProblemKind

SENTENCES: dict[ProblemKind, str] = {
    "torch_missing": "PyTorch cannot be imported: {detail}. "
    "Try pip install --force-reinstall torch",
    "library_missing": "the library {detail} is missing. Try pip install {detail}",
    "compiler_missing": "no C compiler was found, so that most cells train slower. "
    "Try to install gcc or clang, or name one in the environment variable CC",
    "kernel_fails": "no kernel can be compiled: {detail}. Try another compiler in the environment "
    "variable CC",
    "cache_not_used": "the cache {detail}",
    "disk_full": "less than 1 GB is free on the disk of {detail}. "
    "Try charlm clean runs, or charlm clean --cache",
    "encoding": "the locale has the encoding {detail}, so that a terminal may show other "
    "characters. Try a locale with UTF-8, such as LC_ALL=C.UTF-8",
}


def describe_problem(problem: Problem) -> str:
    """Return cause and remedy of a problem in one line."""
    return SENTENCES[problem.kind].format(detail=problem.detail)
