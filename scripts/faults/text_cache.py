"""Damage of cached texts: flipped bits and cuts of records, ids and notes must be found."""

import os
import random
from collections.abc import Callable
from pathlib import Path

from charlm.data.corpus import load_corpus
from charlm.data.encoded_text import encode, load_cached
from charlm.data.sources import resolve_sources
from charlm.data.text_notes import inspect_text
from charlm.errors import DataError
from charlm.results.text import TextNotes, VocabularyRule
from charlm.storage.json_files import read_sealed_json
from faults.hazard import Hazard
from faults.places import memory_directory
from faults.processes import cpu_seconds, write_prose

IDS_FLIPS = 10_000
RULE = VocabularyRule("1", 0.01)


def run(scale: float) -> Hazard:
    """Flip every bit of the records and sampled bits of the ids, and cut all three files."""
    started, failures, trials = cpu_seconds(), [], 0
    draw = random.Random(2)
    before = os.environ.get("CHARLM_CACHE")
    with memory_directory() as directory:
        os.environ["CHARLM_CACHE"] = str(directory / "cache")
        try:
            path = write_prose(directory / "text", 20_000)
            path.write_text(path.read_text() + "é€")
            digest = encode([resolve_sources([str(path)]).sources], RULE).metadata.digest
            (record,) = (directory / "cache").glob("*.json")
            (ids,) = (directory / "cache").glob("*.ids")
            corpus = load_corpus(path)
            known = {*(directory / "cache").glob("*.json")}
            inspect_text(corpus)
            (notes,) = {*(directory / "cache").glob("*.json")} - known

            def is_text_taken() -> bool:
                return load_cached(digest, RULE) is not None

            for file, is_taken in (
                (record, is_text_taken),
                (ids, is_text_taken),
                (notes, lambda: _is_read(notes)),
            ):
                bits = range(8 * file.stat().st_size)
                flips = round((IDS_FLIPS if file == ids else len(bits)) * scale)
                chosen = draw.sample(bits, min(len(bits), max(20, flips)))
                lengths = range(file.stat().st_size)
                cuts = draw.sample(lengths, max(10, round(min(len(lengths), 2000) * scale)))
                failures += _damage(file, chosen, cuts, is_taken)
                trials += len(chosen) + len(cuts) + 1
        finally:
            del os.environ["CHARLM_CACHE"]
            if before:
                os.environ["CHARLM_CACHE"] = before
    return Hazard(
        "damaged cache of texts",
        "every bit of the records and 10,000 of the ids flipped, and files cut: a damaged encoding "
        "is never taken",
        trials,
        tuple(failures[:50]),
        cpu_seconds() - started,
    )


def _damage(
    file: Path, bits: list[int], lengths: list[int], is_taken: Callable[[], bool]
) -> list[str]:
    """Return what was taken although a bit was flipped or the end was cut off."""
    sound, failures = file.read_bytes(), []
    for bit in bits:
        data = bytearray(sound)
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        if is_taken():
            failures.append(f"bit {bit} of {file.suffix}: taken")
    for length in lengths:
        file.write_bytes(sound[:length])
        if is_taken():
            failures.append(f"{file.suffix} cut to {length} bytes: taken")
    file.write_bytes(sound)
    if not is_taken():
        failures.append(f"{file.suffix}: the sound file is not taken")
    return failures


def _is_read(notes: Path) -> bool:
    try:
        read_sealed_json(notes, TextNotes)
    except DataError:
        return False
    return True
