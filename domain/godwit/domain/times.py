"""Durations and instants as people write them: 90s, 15m, 6h, 2d; 2026-12-01T18:00Z, or +48h from now."""

import re
from datetime import UTC, datetime

from godwit.domain.errors import InvalidRequest, Problem

DURATION_PATTERN = r"^[1-9][0-9]{0,8}(s|m|h|d)$"
"""Whole numbers of one unit, never nothing; what is longer than `LONGEST_S` is refused when it is read."""

LONGEST_S = 3_650 * 86_400
"""Ten years: longer than any job runs, and short enough that sums of such times stay exact."""

DURATIONS = ("90s", "15m", "6h", "2d")
INSTANTS = ("2026-12-01T18:00Z", "+48h")

_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(DURATION_PATTERN)


def duration_s(text: str, path: tuple[str | int, ...] = ()) -> float:
    """Seconds of a duration such as `6h`. Raises `InvalidRequest` with what would be accepted."""
    match = _DURATION.match(text)
    if match is None:
        raise InvalidRequest(problems=[Problem(path, f"cannot read {text!r} as a duration", DURATIONS)])
    seconds = float(int(text[:-1]) * _UNITS_S[match[1]])
    if seconds > LONGEST_S:
        raise InvalidRequest(problems=[Problem(path, f"{text} is longer than ten years", DURATIONS)])
    return seconds


def duration_text(seconds: float) -> str:
    """A duration in the largest unit that leaves nothing over; the inverse of `duration_s`."""
    whole = max(1, round(seconds))
    unit = next(unit for unit, size in _UNITS_S.items() if whole % size == 0)
    return f"{whole // _UNITS_S[unit]}{unit}"


def instant(text: str, now: float, path: tuple[str | int, ...] = ()) -> float:
    """Seconds since the epoch of `2026-12-01T18:00Z`, or of `+48h` counted from `now`.

    Raises `InvalidRequest` when it cannot be read, names no time zone, or is not in the future.
    """
    if text.startswith("+"):
        return now + duration_s(text[1:], path)
    try:
        read = datetime.fromisoformat(text)
        at = read.timestamp() if read.tzinfo is not None else None
    except (ValueError, OverflowError):
        raise InvalidRequest(problems=[Problem(path, f"cannot read {text!r} as an instant", INSTANTS)]) from None
    if at is None:
        meant = f"{text}Z" if "T" in text else None
        message = f"{text} names no time zone; add Z for UTC, or +01:00"
        raise InvalidRequest(problems=[Problem(path, message, INSTANTS, meant)])
    if not now < at <= now + LONGEST_S:
        what = "is in the past" if at <= now else "is more than ten years away"
        raise InvalidRequest(problems=[Problem(path, f"{text} {what}", INSTANTS)])
    return at


def instant_text(at: float) -> str:
    """An instant in UTC to the second, as `instant` reads it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
