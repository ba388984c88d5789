"""What the registers of NVLink errors say: Xid 74 up to Hopper, Xids 144 to 150 on NVLink 5.

The tables are those of NVIDIA's Xid catalogue (its sheets on Xid 74 and on Xids 144 to 150). Sub-units are told apart
by the unit's name in the line, since their numbers changed with driver R575.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from godwit.domain.health import Finding, Remedy
from godwit.scheduler.health import signs

NONE, RESTART, RESET = Remedy.NONE, Remedy.RESTART_JOB, Remedy.RESET_GPU

WORDS_74 = 7
"""An Xid 74 line has seven registers; r1, r3, r4 and r5 count."""


@dataclass(frozen=True)
class Decoded:
    """What the line means; `follows` are the Xids that tell more, and which go before it where they are there."""

    remedy: Remedy
    meaning: str
    follows: tuple[int, ...] = ()


Bits = frozenset[tuple[int, int]]


def _bits(register: int, *bits: int) -> Bits:
    return frozenset((register, bit) for bit in bits)


IGNORED = _bits(1, 0, 23, 30)
SECONDARY = _bits(1, 1, 20) | _bits(4, 16, 17)
CORRECTED = _bits(5, 20, 23, 26, 29)

MEANINGS: tuple[tuple[Bits, Decoded], ...] = (
    (_bits(4, 18), Decoded(RESET, "secondary to another error, but the fabric needs a reset")),
    (
        _bits(1, 4, 5) | _bits(3, 0, 1, 2, 6) | _bits(5, 18, 19, 21, 22, 24, 25, 27, 28),
        Decoded(RESET, "ECC or parity error of the link"),
    ),
    (_bits(1, 8, 9, 12, 16, 17, 24, 28), Decoded(RESET, "possibly hardware: reseat and diagnose if it returns")),
    (_bits(1, 21, 22), Decoded(RESET, "marginal signal: check the mechanics if it returns")),
    (
        _bits(1, 27, 29) | _bits(3, 13, 16, 17, 18, 19),
        Decoded(RESET, "an error of the link that counts when it repeats"),
    ),
    (CORRECTED, Decoded(NONE, "more corrected errors than usual: work may go on")),
    (SECONDARY, Decoded(NONE, "secondary: the accompanying error counts")),
    (IGNORED, Decoded(NONE, "safe to ignore")),
)
"""Of the bits that are set, the first row that has one of them counts: worse before better."""

_FOLLOWED = (48, 94, 95)

UNITS: tuple[tuple[int, str, frozenset[int], Decoded], ...] = (
    (144, "SAW", frozenset({0x2, 0x10}), Decoded(RESET, "NVLink SAW error")),
    (144, "SAW", frozenset({0x1, 0x8}), Decoded(NONE, "a memory error, which its own Xid tells", _FOLLOWED)),
    (145, "RLW_RSPCOL", frozenset({0x2}), Decoded(RESET, "NVLink response collector")),
    (145, "RLW_REMAP", frozenset({0x40, 0x80}), Decoded(RESET, "NVLink address remapper")),
    (
        145, "RLW_REMAP", frozenset({0x1, 0x2, 0x4, 0x8, 0x10, 0x20}),
        Decoded(RESTART, "an address that the program may not use"),
    ),
    (145, "RLW_SRC_TRACK", frozenset({0x1, 0x10, 0x20}), Decoded(RESET, "NVLink source tracker")),
    (145, "RLW_SRC_TRACK", frozenset({0x4, 0x8}), Decoded(RESTART, "a request that the program lost")),
    (145, "RLW_CTRL", frozenset(), Decoded(NONE, "NVLink control")),
    (145, "RLW_RXPIPE", frozenset({0x1, 0x2, 0x4}), Decoded(RESET, "NVLink receive pipe")),
    (145, "RLW_TAGSTATE", frozenset({0x2, 0x20000, 0x100000}), Decoded(RESET, "NVLink tag state")),
    (146, "TLW", frozenset({0x4}), Decoded(RESET, "NVLink TLW error")),
    (146, "TLW", frozenset({0x2}), Decoded(NONE, "a memory error, which its own Xid tells", _FOLLOWED)),
    (149, "NETIR_BER", frozenset(), Decoded(NONE, "many bit errors: have the cable looked at")),
    (149, "NETIR_MFDE", frozenset({0x1, 0x4, 0x5, 0x7}), Decoded(RESET, "firmware that manages the link")),
)  # fmt: skip
"""Xid, how the unit's name begins, its error status, and what that means. A unit with rows, but not this one: none."""

WHOLE = {
    147: Decoded(NONE, "nothing to be done, though it is not expected"),
    148: Decoded(NONE, "nothing to be done; a case for the vendor if it repeats"),
    150: Decoded(RESET, "the engine that manages NVLink is degraded, or its watchdog fired"),
}
"""Xids whose registers change nothing."""

REASONS = {
    "cable or signal": (0x02, 0x04, 0x0A, 0x2A, 0x2B),
    "software or its user": (0x0F, 0x11, 0x16),
    "software or its user, and signal": (0x10, 0x12),
    "the device at the other end": (0x15, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25),
}
"""Why a link went down: bits 25 to 20 of the first word of NETIR_LINK_EVT."""

HARMLESS_REASONS = frozenset({0x26, 0x28})


def decoded(finding: Finding) -> Decoded | None:
    """What an NVLink line means by its registers; None for what is none of the above, or cannot be read."""
    number = signs.xid(finding)
    if number == 74:
        return xid_74(signs.registers(finding))
    if number is not None and 144 <= number <= 150:
        words = signs.registers(finding)
        return nvlink5(number, signs.unit(finding), words) or _by_word(signs.is_fatal(finding))
    return None


def xid_74(registers: Sequence[int]) -> Decoded | None:
    """What seven registers say; None when none of their known bits is set."""
    if len(registers) < WORDS_74:
        return None
    is_set = {(index + 1, bit) for index, word in enumerate(registers) for bit in range(32) if word >> bit & 1}
    return next((meaning for bits, meaning in MEANINGS if bits & is_set), None)


def nvlink5(number: int, unit: str, words: Sequence[int]) -> Decoded | None:
    """What a unit and its words (intrinfo, error status, ...) say; None when the unit has no table."""
    if number in WHOLE:
        return WHOLE[number]
    if len(words) < 2 or not unit:
        return None
    intrinfo, status = words[0], words[1]
    if number == 149 and unit.startswith("NETIR_LINK"):
        return _link_event(intrinfo >> 20 & 0x3F)
    if number == 145 and unit.startswith("RLW_RXPIPE") and not intrinfo & (1 << 10 | 1 << 7):
        # Bit 10 before driver R575, bit 7 since; either is believed, as a reset too many is the smaller harm.
        return Decoded(NONE, "NVLink receive pipe, harmless")
    rows = [row for row in UNITS if row[0] == number and unit.startswith(row[1])]
    harmless = Decoded(NONE, "a status that needs nothing") if rows else None
    return next((row[3] for row in rows if status in row[2]), harmless)


def _link_event(reason: int) -> Decoded:
    if reason in HARMLESS_REASONS:
        return Decoded(NONE, f"link down for a harmless reason ({reason:#x})")
    why = next((name for name, codes in REASONS.items() if reason in codes), "unknown")
    return Decoded(RESET, f"link down; reason {reason:#x}: {why}")


def _by_word(is_fatal: bool | None) -> Decoded | None:
    """A line whose registers cannot be read is as bad as it says of itself."""
    if is_fatal is None:
        return None
    return Decoded(RESET if is_fatal else NONE, "the line says fatal" if is_fatal else "the line says nonfatal")
