"""Numbers for people: durations, instants, money and sizes."""

import time


def duration(seconds: float) -> str:
    """Two units at most: 4.2s, 3m 5s, 2h 4m, 3d 2h."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s"
    whole = int(seconds)
    for unit_s, unit, below_s, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit_s:
            rest = whole % unit_s // below_s
            return f"{whole // unit_s}{unit} {rest}{below}" if rest else f"{whole // unit_s}{unit}"
    return f"{whole}s"


def latency(seconds: float | None) -> str:
    """How long a call takes: 35ms, 1.2s, 3m 5s. A dash for None."""
    if seconds is None:
        return "-"
    return f"{1000 * max(0.0, seconds):.0f}ms" if seconds < 0.9995 else duration(seconds)


def ago(at: float | None, now: float) -> str:
    """How long since `at` (seconds since the epoch), in one unit: 3m ago. Never for None."""
    if at is None:
        return "never"
    seconds = now - at
    if seconds < 2:
        return "now"
    return f"{duration(float(int(seconds))).split(' ')[0].replace('.0s', 's')} ago"


def age(at: float | None, now: float) -> str:
    """As `ago`, under a title that says what it is: 3m. A dash for None."""
    return "-" if at is None else ago(at, now).removesuffix(" ago")


def until(at: float, now: float) -> str:
    """How long until `at`: in 12s, or now."""
    return "now" if at <= now else f"in {duration(at - now)}"


def clock(at: float) -> str:
    """The local time of day of an instant: 14:03:09."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def usd(amount: float) -> str:
    """Dollars; small amounts keep the digits that matter: $12.30, $0.0042, -$0.18."""
    if amount < 0:
        return f"-{usd(-amount)}"
    return f"${amount:,.2f}" if amount >= 0.1 or amount == 0 else f"${amount:.4f}"


def usd_per_hour(price: float) -> str:
    """An hourly price: $2.10/h."""
    return f"${price:,.2f}/h"


def size(size_bytes: float) -> str:
    """Binary units: 512 B, 3.4 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"
