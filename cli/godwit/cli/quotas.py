"""Quotas as people write them on the command line: `H100=16,any=32`, a number for all, or `none`."""

from collections.abc import Mapping

from godwit.cli.exits import ExitCode, Failure
from godwit.domain.errors import InvalidRequest
from godwit.domain.projects import CPUS, MEMORY_GIB
from godwit.domain.wire.projects import LimitIn, UsageView, resource_named

NOTHING = "none"
"""What to write for "without": no limit on a resource, on borrowing or lending, or no cohort."""

ALL = "*"
DIGITS_MAX = 9

Amounts = dict[str, int | None]
"""By resource, or `ALL`: an amount, or None where it said `none`."""


def amounts(text: str | None, option: str, only: str | None = None) -> Amounts:
    """Read an option; `only` is the resource that a number without a name is of, else it is of all.

    Raises `Failure` with the option that is wrong.
    """
    found: Amounts = {}
    for part in () if text is None else text.split(","):
        name, equals, amount = part.strip().rpartition("=")
        found[_resource(name, option) if equals else only or ALL] = _amount(amount, option)
    return found


def limits(before: Mapping[str, UsageView], nominal: Amounts, borrow: Amounts, lend: Amounts) -> dict[str, LimitIn]:
    """The limits that a project should have; what is not named stays. Raises `Failure` for what makes no sense."""
    own: Amounts = {name: limit.nominal for name, limit in before.items()}
    if ALL in nominal:
        if nominal[ALL] is not None:
            raise Failure(f"--gpus {nominal[ALL]}: say of what, such as H100={nominal[ALL]}", ExitCode.USAGE)
        own = {name: amount for name, amount in own.items() if name in (CPUS, MEMORY_GIB)}
    own |= {name: amount for name, amount in nominal.items() if name != ALL}
    for option, others in (("--borrow", borrow), ("--lend", lend)):
        for name in others:
            if name != ALL and own.get(name) is None:
                raise Failure(f"{option} {name}: the project has no quota of {name} to begin with", ExitCode.USAGE)
    return {
        name: LimitIn(
            nominal=amount,
            borrow=_changed(name, borrow, before[name].borrow if name in before else None),
            lend=_changed(name, lend, before[name].lend if name in before else None),
        )
        for name, amount in own.items()
        if amount is not None
    }


def _changed(name: str, others: Amounts, before: int | None) -> int | None:
    return others.get(name, others.get(ALL, before))


def _resource(name: str, option: str) -> str:
    try:
        return resource_named(name, (option,))
    except InvalidRequest as exc:
        problem = exc.problems[0]
        meant = f"; did you mean {problem.did_you_mean}?" if problem.did_you_mean else ""
        raise Failure(f"{option}: {problem.message}{meant}", ExitCode.USAGE) from exc


def _amount(text: str, option: str) -> int | None:
    if text == NOTHING:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > DIGITS_MAX:
        raise Failure(f"{option}: {text!r} is neither a whole number nor `{NOTHING}`", ExitCode.USAGE)
    return int(text)
