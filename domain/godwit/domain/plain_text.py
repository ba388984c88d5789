"""Text of strangers, made fit for a terminal and a log: what would steer it is shown instead of obeyed. Pure.

A name, a reason or a line of output may hold escape sequences that retitle a terminal, move its cursor over what godwit
said, fill its clipboard or make it answer. Sequences: ECMA-48; what terminals do with them: xterm's ctlseqs.
"""

import re
from typing import Any

_CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"} | {0x7F: "\u2421"}
_LATE_CONTROLS = dict.fromkeys(range(0x80, 0xA0), "\ufffd")
_TURNING = dict.fromkeys((0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
"""Separators of lines, and what turns the direction of writing: text reads otherwise than it is (CVE-2021-42574)."""

_MEANT = {**_CONTROLS, **_LATE_CONTROLS, **_TURNING}
_ONE_LINE = {**_MEANT, 9: " ", 10: "\u240a"}

_SAFE = re.compile(r"\x1b\[(?:[0-9;:]{0,64}m|[0-2]?K)")
"""Colours, and clearing the rest of a line, as bars of progress do."""

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]"  # CSI
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[\x20-\x2f]*[\x30-\x4f\x51-\x57\x59\x5a\x5c\x60-\x7e]"  # of two or three characters
)
_BEGUN = re.compile(
    r"(?:\x1b(?:[\x20-\x2f]*|\[[\x30-\x3f]*[\x20-\x2f]*)|\x9b[\x30-\x3f]*[\x20-\x2f]*"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*\x1b?)\Z"
)
_SINGLE = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # but for backspace, tab, line feed, carriage return

BEGUN_MAX = 4_096
"""A sequence that has not ended by then is none: links and titles are shorter, and nothing is held back for ever."""


def visible(text: str, *, one_line: bool = False) -> str:
    """The text with every control character shown as a picture of itself; lines and tabs stay unless `one_line`."""
    return text if text.isascii() and text.isprintable() else text.translate(_ONE_LINE if one_line else _MEANT)


def visible_within(value: Any) -> Any:
    """The same for every text within a JSON value."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, list):
        return [visible_within(item) for item in value]
    if isinstance(value, dict):
        return {visible(key): visible_within(item) for key, item in value.items()}
    return value


class Output:
    """A program's output on its way to a terminal, piece by piece: colours pass, all that would do more is left out."""

    def __init__(self) -> None:
        self._begun = ""

    def pass_on(self, piece: str) -> str:
        """What of it may be shown now; a sequence that is not whole yet is held back."""
        text = self._begun + piece
        begun = _BEGUN.search(text)
        cut = len(text) if begun is None or len(text) - begun.start() > BEGUN_MAX else begun.start()
        self._begun = text[cut:]
        return _without(text[:cut])

    def rest(self) -> str:
        """What was held back, at the end."""
        text, self._begun = self._begun, ""
        return _without(text)


def _without(text: str) -> str:
    kept = _SEQUENCE.sub(lambda found: found[0] if _SAFE.fullmatch(found[0]) else "", text)
    return "".join(part if index % 2 else _SINGLE.sub("", part) for index, part in enumerate(_SPLIT.split(kept)))


_SPLIT = re.compile(f"({_SAFE.pattern})")
