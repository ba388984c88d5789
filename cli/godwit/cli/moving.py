"""Migrations in words: one as it stands, the story of one, and what was predicted beside what was measured."""

from collections.abc import Callable, Iterator

from godwit.cli import figures
from godwit.cli.client import ControlPlane, Unreachable
from godwit.domain.wire.migrations import MigrationView
from godwit.domain.wire.pages import Page

POLL_S = 1.0
PATIENCE = 300
"""Looks in a row that may find no control plane: five minutes, as when a job is followed."""

FINAL_STATES = ("done", "failed", "cancelled")


def line(of: MigrationView) -> str:
    """A migration as it stands, in one line."""
    return f"{of.id} {of.state}: {of.detail or of.reason}"


def told(of: MigrationView) -> Iterator[str]:
    """A migration with its arithmetic, and what came of it."""
    where = of.to or "where it costs least"
    yield f"migration {of.id} to {where}, by {of.actor}: {of.state}"
    if of.detail and of.state not in {"planned", "preparing"}:
        yield f"  {of.detail}"
    if of.sum is not None:
        yield f"  predicted: {of.sum.text}"
    if of.moved_bytes:
        yield f"  copied ahead: {figures.size(of.moved_bytes)}"
    if of.downtime_s is not None:
        yield f"  downtime: {of.downtime_s:.1f} s from the last step there to the first one here"
    if of.measured is not None:
        it = of.measured
        yield (
            f"  measured: {figures.usd(it.saving_usd)} saved in {it.hours:.2f} h, less {figures.usd(it.overlap_usd)} "
            f"paid twice + {figures.usd(it.standstill_usd)} standing still + {figures.usd(it.egress_usd)} egress = "
            f"{figures.usd(it.net_usd)}"
        )


def to_the_end(
    connect: Callable[[], ControlPlane],
    path: str,
    begun: MigrationView,
    say: Callable[[str], None],
    pause: Callable[[float], None],
) -> MigrationView:
    """Tell each step of a migration until it is over; returns it as it is then. Raises `Unreachable` after a while."""
    seen, now, misses, client = "", begun, 0, connect()
    while True:
        if line(now) != seen:
            seen = line(now)
            say(seen)
        if now.state in FINAL_STATES:
            for text in list(told(now))[2:]:
                say(text.strip())
            return now
        pause(POLL_S)
        try:
            page = client.get(path, Page[MigrationView])
            misses = 0
        except Unreachable:
            misses += 1
            if misses >= PATIENCE:
                raise
            continue
        now = next((one for one in page.items if one.id == begun.id), now)
