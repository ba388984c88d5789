"""Arrays as people see them: a name that may be a job's or an array's, counts by state, and following to the end."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from godwit.cli import following, watch
from godwit.cli.client import ControlPlane, Refused, Unreachable
from godwit.cli.exits import ExitCode
from godwit.domain.jobs import JobState
from godwit.domain.wire.arrays import ArrayView

OfJob = TypeVar("OfJob")
OfArray = TypeVar("OfArray")

POLL_S = 2.0
"""How often the counts are read; a job of an array that ends is seen no later."""


def either(of_job: Callable[[], OfJob], of_array: Callable[[], OfArray]) -> OfJob | OfArray:
    """What a name means: a job, or else an array. Raises what the second raises when it is neither."""
    try:
        return of_job()
    except Refused as refused:
        if refused.status != 404:
            raise
    return of_array()


def told(states: Mapping[str, int]) -> str:
    """Counts by state, in the order of a job's life: 38 queued, 10 running, 2 failed."""
    return ", ".join(f"{states[state]} {state}" for state in JobState if states.get(state))


def is_over(array: ArrayView) -> bool:
    """Whether all its jobs have ended."""
    return not set(array.states) - set(watch.FINAL_STATES)


def exit_code_of(array: ArrayView) -> int:
    """What `godwit run` exits with: the code of the first failed job, 130 when one was cancelled, else 0."""
    if array.states.get(JobState.FAILED):
        return array.exit_code or int(ExitCode.FAILED)
    return int(ExitCode.CANCELLED if array.states.get(JobState.CANCELLED) else ExitCode.OK)


@dataclass
class Teller:
    """Tells how an array stands: a line that is redrawn on a terminal, elsewhere a line whenever the counts change."""

    status: watch.StatusLine
    say: Callable[[str], None]
    width: Callable[[], int]
    _before: str = ""

    def counts(self, array: ArrayView) -> None:
        """The newest counts."""
        line = f"{array.name}: {told(array.states)}"
        if self.status.enabled:
            self.status.show(line, self.width())
        elif line != self._before:
            self.say(f"[godwit] {line}")
        self._before = line

    def news(self, heard: following.Away | following.Back) -> None:
        """The control plane went away, or came back."""
        self.status.clear()
        if isinstance(heard, following.Away):
            self.say(f"[godwit] {heard.message}; the jobs go on")
        else:
            self.say("[godwit] the control plane answers again")


def to_the_end(
    connect: Callable[[], ControlPlane],
    array_id: str,
    teller: Teller,
    monotonic: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> ArrayView:
    """Follow an array until all its jobs have ended. Raises `Failure` when the control plane stays away."""
    outage = following.Outage(monotonic)
    client: ControlPlane | None = None
    while True:
        try:
            client = client or connect()
            array = client.get(f"/v1/arrays/{array_id}", ArrayView)
            for back in outage.ended():
                teller.news(back)
            teller.counts(array)
            if is_over(array):
                teller.status.clear()
                return array
        except (Unreachable, Refused) as failure:
            client = None  # one that was started anew may answer elsewhere
            for away in outage.goes_on(failure):
                teller.news(away)
            pause(outage.backoff_s())
            continue
        pause(POLL_S)
