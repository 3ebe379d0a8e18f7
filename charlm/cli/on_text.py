"""charlm compare-cells, on a text."""

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from charlm import show, tuning
from charlm.cli.asked import Asked, Done, refuse_cells
from charlm.cli.given import Work, do, load_own, probes_of
from charlm.config import checked, label
from charlm.errors import BadConfig

if TYPE_CHECKING:
    from charlm.compare import Planned
    from charlm.corpus import Corpus
    from charlm.match import Footing


KIND = "text"


def refuse(asked: Asked) -> None:
    """What times this machine, of others."""
    if asked.in_cluster and (asked.plan or asked.match == "seconds"):
        timed = "--plan" if asked.plan else "--match seconds"
        raise BadConfig(f"{timed} times the cells on this machine: leave --engine ray out of it")
    refuse_cells(asked)


def prepare(asked: Asked) -> None:
    """Loads the cells."""
    load_own(asked.names, compared=True)


class Made(NamedTuple):
    """The text, what is equal on it, and what is done there."""

    texts: list[str]  # by name
    text: "Corpus"
    footing: "Footing"
    updates: int
    planned: "list[Planned]"  # the run of every cell and seed, as it is without its trials
    small: "list[Planned]"  # the Transformer's
    every: "dict[str, list[Planned]]"  # all that will be done, by what it is for

    @property
    def tuned(self) -> "dict[str, Planned]":
        """What it is called -> one of its runs, whose settings are searched."""
        from charlm.transformer import NAME

        names = {label(one.config.cell): one for one in self.planned}
        return {**names, NAME: self.small[0]} if self.small else names


def made(work: Work, asked: Asked) -> Made:
    """Reads the text and finds sizes that are equal; begins nothing."""
    from charlm import match, pace, transformer
    from charlm.compare import kept_standard_input, plan
    from charlm.corpus import load
    from charlm.model import resolve_kernel
    from charlm.show import progress
    from charlm.train import updates_of
    from charlm.verdict import edges, lacking
    from charlm.workers import Local

    texts = kept_standard_input(asked.corpus or ["python-docs"], work.place)
    with progress.reading("reading the text", work.log_every) as tick:
        text = load(checked(asked.settings), texts, tick)
    read, symbols, ids = text.text, text.alphabet.size, text.split("train")
    of = asked.settings, asked.names, asked.parameters, symbols
    if asked.match == "seconds":
        with progress.reading("timing each cell", work.log_every) as tick:
            footing = pace.equal(*of, ids, work.engine.where, work.place, tick)
    else:
        footing = match.equal(*of, asked.match)
    planned = plan(asked.settings, asked.seeds, footing, read, symbols, work.place)
    small = []
    if asked.transformer:
        small = transformer.planned(
            *(asked.settings, asked.seeds, asked.parameters, read, symbols, work.place), show.say
        )
    if why := lacking(asked.seeds, len(edges(len(text.split("test")))) - 1):
        show.say(f"note: there can be no verdict: {why}")
    if isinstance(work.engine, Local) and planned[0].config.kernel != "auto":
        for one in planned[: len(asked.names)]:  # of each cell: a kernel that cannot walk it
            resolve_kernel(one.config, work.engine.where)
    updates = updates_of(planned[0].config, ids)
    found = Made(texts, text, footing, updates, planned, small, {})
    return found._replace(every=every(found, asked.search))


def every(made: Made, search: tuning.Search | None) -> "dict[str, list[Planned]]":
    """All that will be done, by what it is for."""
    from charlm import compare_tuning, transformer

    name, read = transformer.NAME, made.text.text
    if not search:
        return {"run": made.planned, name: transformer.apart(made.small, made.planned)}
    cells = {of: one for of, one in made.tuned.items() if of != name}
    beside = {of: one for of, one in made.tuned.items() if of == name}
    trials, chosen = compare_tuning.foreseen(cells, search, made.updates, read)
    more, also = compare_tuning.foreseen(beside, search, made.updates, read)
    planned, small = settled(made, {**chosen, **also})
    apart = [*transformer.apart(more, trials), *transformer.apart(small, planned)]
    return {"trial": trials, "run": planned, name: apart}


def settled(
    made: Made, chosen: dict[str, dict[str, Any] | None]
) -> "tuple[list[Planned], list[Planned]]":
    """The cells' runs and the Transformer's with what was chosen for each."""
    from charlm import compare_tuning, transformer

    read = made.text.text
    planned = [
        run
        for one in made.planned
        for run in compare_tuning.settled([one], chosen[label(one.config.cell)], read)
    ]
    return planned, compare_tuning.settled(made.small, chosen.get(transformer.NAME), read)


def compare(work: Work, asked: Asked) -> Done:
    """The runs, or only the plan of them."""
    from charlm.compare import begin

    of = made(work, asked)
    begin(work.place, KIND)
    return forecast(work, of) if asked.plan else compared(work, asked, of)


def forecast(work: Work, made: Made) -> Done:
    """What the runs will take."""
    from charlm.forecast import forecast
    from charlm.show import forecast as plans
    from charlm.show import progress
    from charlm.workers import Local

    assert isinstance(work.engine, Local)  # a plan for a cluster was refused
    with progress.reading("timing each cell", work.log_every) as tick:
        plan = forecast(made.every, made.footing, made.text, work.place, work.engine, tick)
    return Done(plan, lambda: plans.forecast(plan), "")


def compared(work: Work, asked: Asked, made: Made) -> Done:
    """Does the runs, tuned and probed if so told."""
    from charlm import baselines, compare_tuning, conclusion, transformer
    from charlm.compare import by_cell, ended
    from charlm.show import comparison
    from charlm.show import tuning as tunings
    from charlm.verdict import MARGIN

    text, planned, small = made.text, made.planned, made.small
    work, where = fitting(work, made)
    comparison.planned(planned, text, made.footing, where, work.place, tuned=bool(asked.search))
    comparison.beside(small)
    beside = baselines.kept(text, work.place, lambda name: show.say(f"measuring {name}"))
    tried = None
    if asked.search:
        tunings.planned(tuning.asked(asked.search, made.updates))
        tried = compare_tuning.tune(
            *(made.tuned, asked.search, made.updates, text.text, text.alphabet.size),
            lambda one: one.job(made.texts),
            lambda jobs: do(jobs, work),
        )
        planned, small = settled(
            made, {name: one["chosen"]["settings"] for name, one in tried["cells"].items()}
        )
    jobs = [one.job(made.texts) for one in planned]
    do([*jobs, *transformer.jobs(small, planned, made.texts)], work)
    if asked.transformer:
        beside.append(transformer.baseline(small, tuned=bool(asked.search)))
    runs = ended(planned)
    answers = probes_of(runs, work) if asked.probe and runs else None
    footing = made.footing
    of = conclusion.Compared(
        by_cell(planned),
        {**footing.facts, "updates": made.updates},
        {label(cell): residual for cell, residual in footing.residual.items()},
    )
    judge = conclusion.Judge(label(asked.baseline or asked.names[0]), asked.margin or MARGIN)
    report = conclusion.concluded(of, judge, beside, tried)
    times = conclusion.timing(of.runs, ["charlm", *sys.argv[1:]])
    conclusion.keep(work.place, of.runs, report, times, answers, show.say)

    def draw() -> None:
        comparison.table(report, times)
        if tried:
            tunings.chosen(tried)

    return Done(report, draw, "report.html, report.json and every run")


def fitting(work: Work, made: Made) -> tuple[Work, str]:
    """So many side by side as fit into memory, and that in words; a disk that is too small ends
    here."""
    from charlm import forecast
    from charlm.workers import Local, told

    every = [one for some in made.every.values() for one in some]
    whole = [one for one in every if not one.look().ended] or every
    forecast.refuse_full(work.place, sum(forecast.disk_left(one, made.text) for one in whole))
    if not isinstance(work.engine, Local):  # in a cluster each machine has what it has
        return work, told(work.engine)
    symbols = made.text.alphabet.size
    needs = [forecast.memory_of(one.config, symbols, work.engine.where) for one in whole]
    engine, where = forecast.packed(work.engine, needs)
    return work._replace(engine=engine), where
