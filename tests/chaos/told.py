"""What a run says while it goes on, and the tables at its end. Lines have at most 80 characters."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from statistics import median

from tests.chaos.gateways import User
from tests.chaos.judge import Verdict
from tests.chaos.killing import Wound
from tests.chaos.schedule import Victim
from tests.chaos.work import Job

WIDTH = 80


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60:3}:{int(seconds) % 60:02}"


def line(at_s: float, text: str) -> str:
    """A line of the progress."""
    return f"{clock(at_s)}  {text}"[:WIDTH]


def wounds(healed: Sequence[tuple[Wound, float]], missed: Set[Victim]) -> list[str]:
    """Kills by kind, and the seconds until all that they broke worked again."""
    by_kind: dict[Victim, list[float]] = defaultdict(list)
    for wound, took_s in healed:
        by_kind[wound.victim].append(took_s)
    rows = [f"{'killed':<26}{'times':>6}{'never there':>13}{'well after s: median':>22}{'max':>8}"]
    for victim in Victim:
        took, never = by_kind[victim], victim in missed
        if took or never:
            middle, most = (f"{median(took):.1f}", f"{max(took):.1f}") if took else ("-", "-")
            rows.append(f"{victim:<26}{len(took):>6}{'never' if never and not took else '':>13}{middle:>22}{most:>8}")
    return [*rows, f"{'all':<26}{len(healed):>6}"]


def work(jobs: Sequence[Job], tries: Mapping[str, tuple[int, int]]) -> list[str]:
    """Jobs by sort, and how often they were placed."""
    rows = [f"{'jobs':<26}{'ended':>6}{'as they should':>17}{'placed':>8}{'interrupted':>13}{'most':>6}"]
    for name in dict.fromkeys(job.sort.name for job in jobs):
        of = [job for job in jobs if job.sort.name == name]
        placed, interrupted = zip(*(tries[job.name] for job in of), strict=True)
        right = f"{sum(job.state == job.sort.ends for job in of)} {of[0].sort.ends}"
        rows.append(f"{name:<26}{len(of):>6}{right:>17}{sum(placed):>8}{sum(interrupted):>13}{max(interrupted):>6}")
    return rows


def user(of: User) -> list[str]:
    """What somebody was told who asked gateways all the time."""
    why = ", ".join(f"{count} {reason}" for reason, count in of.refused.most_common())
    return [
        f"{'requests':<26}{of.answered:>6} answered, {of.went_on} after another gateway did not",
        f"{'refused, to ask again':<26}{of.refused.total():>6} {why}"[:WIDTH],
    ]


def verdict(found: Verdict) -> list[str]:
    """The ledger, and what is wrong."""
    books = found.books
    rows = [
        f"{'the ledger':<26}{books.ledger_s:>14.1f} s {books.ledger_usd:>11.4f} USD",
        f"{'the clouds: meters':<26}{books.metered_s:>14.1f} s {books.metered_usd:>11.4f} USD"
        f"   {books.machines} machines",
        f"{'difference':<26}{books.ledger_s - books.metered_s:>14.1f} s "
        f"{books.ledger_usd - books.metered_usd:>11.4f} USD",
        f"{'audit log':<26}{found.audited:>14} rows, whole",
    ]
    return [*rows, *(f"WRONG: {what}" for what in found.wrong), "" if found.wrong else "all is as it must be"]
