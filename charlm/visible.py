"""Foreign text made safe to show: no character that a terminal would obey gets through."""

import re

# C0 and C1 controls, DEL, soft hyphen, bidirectional and zero-width formatting, line and paragraph
# separators, byte order mark, interlinear annotations, lone surrogates, tag characters.
CONTROL_CHARACTERS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def escape_control_characters(text: str, keep: str = "") -> str:
    """The text with every control character but those in `keep` written out, as in \\x1b."""
    return CONTROL_CHARACTERS.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(),
        text,
    )
