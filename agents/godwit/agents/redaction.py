"""Covers secrets in what leaves a node. Pure; the same number of bytes comes out, so that offsets stay true.

What is covered is each value of `CHARACTERS_MIN` characters or more, as it is and as programs write it: in base 64
(inside a longer text too), percent-encoded, in JSON and Python strings, in hexadecimal digits, and line by line where
it has several. What a program turns into something else passes; so do shorter values, of which any text is full.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from godwit.domain.secrets import CHARACTERS_MIN

COVER = b"*"


class Mask:
    """What is to be covered. `reach` is the length of the longest form: who reads less of a text may miss it."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values if len(value) >= CHARACTERS_MIN for form in _forms(value)}
        self._forms = sorted(forms)
        self.reach = max(map(len, forms), default=0)

    def covered(self, raw: bytes) -> bytes:
        """The same bytes with every secret in them replaced by as many stars."""
        spans = [span for form in self._forms for span in _found(form, raw)]
        if not spans:
            return raw
        told = bytearray(raw)
        for start, end in spans:
            told[start:end] = COVER * (end - start)
        return bytes(told)

    def undecided(self, raw: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret whose rest has not come yet."""
        return max((_beginning(form, raw) for form in self._forms), default=0)

    def line(self, text: str) -> str:
        """A text with every secret in it covered."""
        return self.covered(text.encode("utf-8", "replace")).decode("utf-8", "replace") if self._forms else text


class Withheld(Mask):
    """Covers everything but line ends: for output of which nobody knows any more what is secret in it."""

    def covered(self, raw: bytes) -> bytes:
        """As many stars, line by line."""
        return b"\n".join(COVER * len(line) for line in raw.split(b"\n"))

    def line(self, text: str) -> str:
        """Nothing of the text."""
        return "*" * len(text)


def _forms(value: str) -> Iterator[bytes]:
    lines = [line.strip() for line in value.splitlines()]
    for text in {value, *(line for line in lines if len(line) >= CHARACTERS_MIN)}:
        raw = text.encode()
        yield raw
        yield raw.hex().encode()
        yield from _in_base64(raw)
        for quoted in (quote(text, safe=""), quote(text), quote_plus(text)):
            yield from (quoted.encode(), _small_digits(quoted).encode())
        written = (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text))
        yield from (one[1:-1].encode() for one in written)


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """Whole, and what is the same whatever comes before and after it: a password in `user:password`."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw)
        for before in range(3):
            # Of 6 bits each: those that hold bits of the value only.
            first, end = -(-8 * before // 6), 8 * (before + len(raw)) // 6
            yield encode(bytes(before) + raw)[first:end]


def _small_digits(quoted: str) -> str:
    parts = quoted.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


def _found(form: bytes, raw: bytes) -> Iterator[tuple[int, int]]:
    start = raw.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = raw.find(form, start + 1)


def _beginning(form: bytes, raw: bytes) -> int:
    """The longest end of `raw` with which `form` begins, without all of it."""
    start = raw.find(form[:1], max(0, len(raw) - len(form) + 1))
    while start >= 0:
        if form.startswith(raw[start:]):
            return len(raw) - start
        start = raw.find(form[:1], start + 1)
    return 0
