"""Whether the machine's clock is kept right, as far as the kernel knows."""

import ctypes
import os

from godwit.agents.checks.host.reading import Host, HostCheck, Values
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

UNSYNCHRONISED, OFFSET_MS = 0x40, 50.0
"""STA_UNSYNC of <linux/timex.h>; logs of one job must be comparable, for which 50 ms is plenty."""

LOOSE = Rule(
    "clock:loose",
    "the kernel's clock is not synchronised, in 10 of 10 polls",
    Grade.DEGRADED,
    Remedy.NONE,
    "gpud os",
    10,
    10,
)
OFF = Rule(
    "clock:off", f"off by more than {OFFSET_MS:g} ms, in 3 of 3 polls", Grade.DEGRADED, Remedy.NONE, "GCM; imbue", 3, 3
)

_NANO, _STATUS, _OFFSET = 0x2000, 5, 1
"""STA_NANO: the offset is in nanoseconds; places of long words in struct timex on 64-bit Linux."""


def _read(host: Host) -> Values | None:
    if not host.is_real or not hasattr(os, "uname") or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    words = (ctypes.c_long * 64)()  # struct timex is 208 bytes; modes 0 changes nothing
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "adjtimex") or libc.adjtimex(ctypes.byref(words)) < 0:
        return None
    status = words[_STATUS] & 0xFFFFFFFF
    offset_ms = words[_OFFSET] / (1e6 if status & _NANO else 1e3)
    return {"synchronised": not status & UNSYNCHRONISED, "offset_ms": offset_ms}


def _judge(now: Values, _before: Values | None, _took_s: float) -> list[Sign]:
    if not now["synchronised"]:
        return [Sign(LOOSE, "nothing keeps the machine's clock right (no NTP or chrony)")]
    if abs(now["offset_ms"]) > OFFSET_MS:
        return [Sign(OFF, f"the clock is off by {now['offset_ms']:.0f} ms", evidence={"ms": now["offset_ms"]})]
    return []


CHECK = HostCheck("host-clock", "adjtimex: status and offset", (LOOSE, OFF), _read, _judge)
