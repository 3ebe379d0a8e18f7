"""Files that a lossless compressor must restore: languages, code, line ends and arbitrary bytes."""

import random

from conftest import prose

PYTHON = '''def add(a: int, b: int) -> int:
    """Return the sum."""
    return a + b  # été
'''
FILES: dict[str, bytes] = {
    "empty": b"",
    "one character": b"T",
    "one line end": b"\n",
    "one symbol repeated": b"e" * 600,
    "the training text": prose(1200).encode(),
    "German": "Die Wolken stehen am Himmel, größer als Häuser; süß übt Öl.\n".encode() * 3,
    "French": "Où est l'été ? Là-bas, près de la forêt où l'œil s'égare.\n".encode() * 3,
    "Russian": "Облака плывут по небу, и никто не помнит откуда.\n".encode() * 3,
    "Greek": "Τα σύννεφα είναι στον ουρανό.\n".encode() * 3,
    "Chinese": "雲在天上,而門記得它所讀過的字。\n".encode() * 4,
    "Japanese": "雲は空にある。カタカナとひらがな。\n".encode() * 4,
    "Korean": "구름은 하늘에 있다. 문은 기억한다.\n".encode() * 4,
    "Arabic": "الغيوم في السماء، والباب يتذكر.\n".encode() * 3,
    "Hebrew": "העננים בשמיים והשער זוכר.\n".encode() * 3,
    "Hindi": "बादल आसमान में हैं।\n".encode() * 3,
    "Thai": "เมฆอยู่บนท้องฟ้า\n".encode() * 3,
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \U0010ffff\n".encode() * 6,
    "Python": PYTHON.encode() * 4,
    "C": b'#include <stdio.h>\nint main(void) {\n\tputs("a\\tb");\n\treturn 0;\n}\n' * 3,
    "JSON": b'{"key": [1, 2.5e-3, null, true], "text": "\\u00e9"}\n' * 5,
    "CRLF": b"The cat sees\r\na dog.\r\n\r\n" * 6,
    "CR alone": b"The cat\rsees a dog\r" * 6,
    "byte order mark": b"\xef\xbb\xbfThe cat sees a dog.\n",
    "NUL": b"The\0cat\0\0\n" * 9,
    "all bytes": bytes(range(256)),
    "random bytes": random.Random(0).randbytes(500),
    "Latin-1": "süß, été".encode("latin-1") * 20,
    "UTF-16": "The cat sees".encode("utf-16") * 9,
    "lone surrogates": "\ud800 \udc80 \udfff".encode("utf-8", "surrogatepass") * 9,
    "surrogate pairs in UTF-8": "\ud83c\udf88".encode("utf-8", "surrogatepass") * 9,
    "character cut off": "The cat 雲".encode()[:-1],
    "too long encodings": b"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf\xf8\x88\x80\x80\x80 \xff\xfe" * 4,
}
