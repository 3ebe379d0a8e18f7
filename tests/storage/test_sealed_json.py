"""Sealed JSON files: their last key is the SHA-256 of the rest."""

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from charlm.errors import DataError
from charlm.storage.json_files import encode_json, read_sealed_json, seal_json, unseal_json


class Report(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    bits: float
    rows: tuple[int, ...] = ()


REPORT = Report("a\n}\n", 3.4552)
PATH = Path("out", "report.json")


def test_sealed_json_is_read_back_and_verifiable_without_charlm(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(seal_json(REPORT))
    assert read_sealed_json(path, Report) == REPORT
    content = json.loads(path.read_text())
    assert list(content)[-1] == "sha256"
    digest = content.pop("sha256")
    plain = json.dumps(content, indent=2).encode() + b"\n"
    assert plain == encode_json(REPORT) and hashlib.sha256(plain).hexdigest() == digest


def test_every_flipped_bit_and_every_truncation_is_found() -> None:
    data = seal_json(REPORT)
    flipped = (
        data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        for at in range(len(data))
        for bit in range(8)
    )
    cut = (data[:length] for length in range(len(data)))
    for damaged in (*flipped, *cut, data + b"\n", data.replace(b"3.4552", b"1.0000"), b"{}\n"):
        with pytest.raises(
            DataError, match=r"cannot read out: report.json is damaged: .*Restore it"
        ):
            unseal_json(damaged, PATH)
