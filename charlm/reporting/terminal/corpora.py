"""Corpora on a terminal: the list, what was downloaded, and its check."""

from charlm.console import print_message, print_result
from charlm.reporting.terminal.tables import make_table, print_paragraphs, print_table
from charlm.results.corpora import CorpusEntry, CorpusList, FetchedCorpus, TextCheck

STATES = {"built_in": "part of Python", "downloaded": "here"}


def print_corpora(corpora: CorpusList) -> None:
    """Print one line per corpus, and what its columns mean."""
    table = make_table()
    for name in ("corpus", "download", "splits", "content"):
        table.add_column(name, justify="right" if name == "download" else "left")
    for corpus in corpora.corpora:
        table.add_row(corpus.name, _describe_download(corpus), corpus.splits, corpus.title)
    print_table(table)
    print_paragraphs(
        [
            "splits: of train, valid and test, where the corpus is used alone. Licences, sources "
            f"and hashes: --json. Downloaded corpora lie in {corpora.directory}. "
            "Next: charlm corpora get NAME"
        ]
    )


def print_fetched(fetched: FetchedCorpus) -> None:
    """Print the texts of a downloaded corpus, and whether its hash was known."""
    for text in fetched.texts:
        split = f", {text.split}" if text.split else ""
        print_result(f"{fetched.path}/{text.file}: {text.bytes:,} bytes{split}")
    for download in fetched.downloads:
        if not download.is_verified:
            print_message(
                f"note: nobody publishes a hash of {download.url}. What was downloaded has the "
                f"SHA-256 {download.sha256}, which is checked from now on"
            )
    print_message(f"next: charlm train {fetched.name}", verbatim=True)


def print_check(check: TextCheck) -> None:
    """Print whether a text is what was downloaded, in one line."""
    if check.problem:
        print_result(f"damaged  {check.corpus}: {check.file} {check.problem}")
    else:
        print_result(f"ok       {check.corpus}: {check.file}, SHA-256 {check.sha256}")


def _describe_download(corpus: CorpusEntry) -> str:
    """Return the size of a download, or that there is none to be made."""
    return STATES.get(corpus.state) or f"{corpus.download_bytes / 1e6:,.1f} MB"
