"""Writes the page about the health policy, so that it cannot say anything else than the code.

`python -m godwit.scheduler.health.page > docs/health-policy.md` writes it; a test compares them.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields

from godwit.domain.health import Remedy
from godwit.scheduler.health import decode, verdicts, xids
from godwit.scheduler.health.policy import HealthPolicy
from godwit.scheduler.health.verdicts import RULES

_HEAD = """\
# What is done about a finding

Written by `python -m godwit.scheduler.health.page` from `scheduler/godwit/scheduler/health/`; do not edit by hand.
What the checks find is in [health](health.md), what an operator does about incidents in [incidents](incidents.md).

```
finding ──▶ what it calls for ──▶ what repeats ──▶ what the device went through before ──▶ incident
            recovery flag,        (same part, same  (each rung of the ladder once,            │
            registers,            GPU, in bursts)    a lemon is retired)                      ▼
            what came with it,                       held by: the breaker, a common cause  taken out, evicted,
            the table, the check                                                           repaired, tested, back
```

**The ladder**, from the cheapest: nothing, restart the job, drain and reset, reset the GPU, reboot, replace the
machine, contact the vendor. A rung that fails, takes too long, or does not pass the test after it, is followed by the
next. What is pending absorbs what is equal or weaker; something stronger raises it.

- **Marked at once**: a GPU is *suspect* (drains, tests) or *faulty*, and nothing starts on it. The node is cordoned
  where the remedy is the machine's; else the other GPUs work on.
- **Who leaves**: what holds these GPUs, at once; what holds other GPUs of the node, 15 min later, if the machine must
  go. Where the remedy can wait, present work ends first, within `drain_s`. A straggler waits for the next checkpoint,
  and for a spare.
- **Who may save**: everybody but those whose results are wrong (uncorrected memory, silent corruption), whose GPU is
  gone, or whose program hangs or has crashed.
- **Back**: repaired, nothing else wrong, tests passed. Before that the record says *quarantined*.
- **Replaced**: the machine is given back, and its GPUs are remembered by UUID. A machine that brings one of them is
  refused. A machine that costs nothing is one's own: a person is asked instead.
- **Whose fault**: a program that fails within `attribution_s` of an incident under it was interrupted, not failed.
- **Last choice**: work goes to doubtful nodes (an incident that is held, a sick GPU beside, one that heat slows down)
  only when no other will do.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_rules(), *_table(), *_nvlink(), *_settings()])


def _rules() -> Iterator[str]:
    yield "## Rules\n\nIn this order; the first that answers decides, and what repeats makes it stronger.\n"
    yield from _rows(("rule", "what it says", "source"), ((rule, *RULES[rule]) for rule in verdicts.Rule))


def _table() -> Iterator[str]:
    yield "## Xids and SXids\n"
    yield f"{(xids.__doc__ or '').strip()}\n"
    yield (
        "Application faults, which evict nobody: "
        + _numbers(xids.APPLICATION)
        + ". Sticky until a reset or a boot is seen: "
        f"{_numbers(xids.STICKY)}. Nothing is saved after: {_numbers(xids.WRONG | xids.LOST)}.\n"
    )
    groups: dict[tuple[str, str], list[str]] = {}
    for answer in xids.answers().values():
        kind = "Xid" if answer.code.startswith("xid") else "SXid"
        groups.setdefault((kind, _done(answer)), []).append(answer.code)
    yield from _rows(
        ("kind", "what is done", "numbers"), ((kind, what, _numbers(codes)) for (kind, what), codes in groups.items())
    )


def _done(answer: xids.Answer) -> str:
    if answer.remedy is None:
        return "recorded; a person is asked"
    if answer.remedy is Remedy.CONTACT_SUPPORT and not answer.evicts:
        return "recorded: not used on data-centre GPUs since A100"
    if answer.code in xids.CONTAINED:
        return "the program that met it is ended, then reset"
    if answer.remedy is Remedy.RESTART_JOB:
        return "recorded: the job's own retries restart it"
    return "recorded" if answer.remedy is Remedy.NONE else str(answer.remedy)


def _nvlink() -> Iterator[str]:
    yield "## Registers of NVLink errors\n"
    yield f"{(decode.__doc__ or '').strip()}\n"
    bits = (
        ("74", ", ".join(f"r{register} bit {bit}" for register, bit in sorted(row)), meaning)
        for row, meaning in decode.MEANINGS
    )
    units = (
        (str(number), f"{unit}: {', '.join(f'{status:#x}' for status in sorted(statuses)) or 'any'}", meaning)
        for number, unit, statuses, meaning in decode.UNITS
    )
    whole = ((str(number), "any", meaning) for number, meaning in decode.WHOLE.items())
    rows = ((number, where, one.meaning, str(one.remedy)) for number, where, one in (*bits, *units, *whole))
    yield from _rows(("Xid", "registers", "meaning", "what is done"), rows)


def _settings() -> Iterator[str]:
    yield "## Settings\n\nUnder `health:` in config.yaml; times in seconds, shares of 1.\n"
    rows = (
        (f"`{one.name}`", _value(one.default), one.metadata["says"], one.metadata["source"])
        for one in fields(HealthPolicy)
    )
    yield from _rows(("name", "default", "what it says", "source"), rows)


def _value(default: object) -> str:
    if default is None:
        return "off"
    return (
        str(default).lower()
        if isinstance(default, bool)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )


def _numbers(codes: Iterable[str]) -> str:
    return ", ".join(str(number) for number in sorted(int(code.split(":")[1]) for code in codes))


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(markdown())
