"""charlm corpora: list the standard corpora, download them, check them."""

from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import CommandLine, app
from charlm.cli.completion import complete_corpus
from charlm.cli.help import HOUSE
from charlm.cli.options import JSON, QUIET, make_progress
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.execution.signals import raise_pending

corpora = CommandLine()
app.add_typer(corpora, name="corpora", rich_help_panel=HOUSE)


@corpora.callback(invoke_without_command=True)
def corpora_callback(context: typer.Context, json: JSON = False) -> None:
    """List, download and check standard corpora.

    Examples:
        $ charlm corpora                        # list them
        $ charlm corpora get tiny-shakespeare   # download one
        $ charlm train tiny-shakespeare         # use it
    """
    if context.invoked_subcommand is None:
        list_corpora(json)
    elif json:
        command = context.invoked_subcommand
        raise ConfigError(
            f"cannot use --json before {command}. Try it after charlm corpora {command}"
        )


@corpora.command(name="list")
def list_corpora(json: JSON = False) -> None:
    """List the corpora that can be named instead of a file.

    Examples:
        $ charlm corpora list
        $ charlm corpora list --json   # with URLs, hashes, licences and citations
    """
    from charlm.data import corpus_cache
    from charlm.reporting.terminal.corpora import print_corpora

    raise_pending()
    listing = corpus_cache.list_corpora()
    if json:
        console.print_json(msgspec.to_builtins(listing))
    else:
        print_corpora(listing)


@corpora.command(name="get")
def get_corpus(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of a corpus.", autocompletion=complete_corpus),
    ],
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Download a corpus into the cache and check its hash.

    Without a network, save the file where the error says, and run the command again.

    Examples:
        $ charlm corpora get tiny-shakespeare
    """
    from charlm.data.catalog import BUILT_IN

    if name in BUILT_IN:
        raise ConfigError(f"cannot download {name}: it is part of Python. Try charlm train {name}")
    from charlm.data.downloads import fetch_corpus
    from charlm.reporting.terminal.corpora import print_fetched

    raise_pending()
    fetched = fetch_corpus(name, make_progress())
    if json:
        console.print_json(msgspec.to_builtins(fetched))
    else:
        print_fetched(fetched)


@corpora.command(name="verify")
def verify_corpora(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Name of a downloaded corpus. [default: all]",
            show_default=False,
        ),
    ] = None,
    json: JSON = False,
) -> None:
    """Check that downloaded corpora are unchanged, by SHA-256.

    The exit code is 65 if a file is not.

    Examples:
        $ charlm corpora verify
        $ charlm corpora verify text8
    """
    from charlm.data.catalog import catalog, find_corpus
    from charlm.data.corpus_cache import load_stored, verify_corpus
    from charlm.reporting.terminal.corpora import print_check
    from charlm.results.corpora import CorpusVerification

    raise_pending()
    if name is not None:
        find_corpus(name)
    checks = []
    for corpus in [name] if name else catalog():
        stored = load_stored(corpus)
        if stored is None and name:
            raise InputNotFoundError(
                f"cannot verify {name}: it is not downloaded. Try charlm corpora get {name}"
            )
        for check in verify_corpus(corpus, stored) if stored else ():
            checks.append(check)
            if not json:
                print_check(check)
            raise_pending()
    if json:
        console.print_json(msgspec.to_builtins(CorpusVerification(texts=tuple(checks))))
    elif not checks:
        console.print_message("no corpus is downloaded. Try charlm corpora list")
    damaged = sorted({check.corpus for check in checks if check.problem})
    if damaged:
        names = ", ".join(damaged)
        raise DataError(
            f"cannot use {names}: its files are not those that were downloaded. "
            f"Try charlm corpora get {damaged[0]}"
        )
