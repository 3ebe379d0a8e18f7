"""Types of values in JSON files, which may come from a stranger: bounded numbers, names, hashes.

msgspec checks them while it decodes, so that no other code meets what they exclude.
"""

from typing import Annotated

from msgspec import Meta

LARGEST_INTEGER = 2**63 - 1
LARGEST_NUMBER = 1e100  # its square is still finite

Integer = Annotated[int, Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
Count = Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]
PositiveCount = Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)]
Number = Annotated[float, Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
OptionalSha256 = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]  # may be empty
# Name of a file or directory in another one: no path, neither "." nor "..".
FileName = Annotated[str, Meta(pattern=r"\A(?!\.{1,2}\Z)[^/\x00]{1,255}\Z")]
RecordedSetting = bool | Integer | Number | str  # value of a field of `Config`
