"""Hosts that did not answer in time are asked less and less often, so that they do not hold up those that do."""

from collections.abc import Sequence
from dataclasses import dataclass

from godwit.domain.clock import Clock
from godwit.domain.errors import ProviderUnavailable
from godwit.providers.ssh_hosts.hosts import Host

LONGEST = 20
"""The longest pause, in time-outs: a dead host then costs a twentieth of the time at the most (5 min of 15 s)."""


class Silent(ProviderUnavailable):
    """The host did not answer in time: asking it once more may cost as long again."""


@dataclass(frozen=True)
class Silence:
    """How often in a row a host did not answer, when that was last seen, and in which words."""

    times: int
    at: float
    said: str


class Silences:
    """Who is silent, and for how long each is left alone: one time-out after the first, then twice as long each time.

    While all are silent it is we, the network or the switch: then none is left alone for more than one time-out, so
    that the pool is there again as soon as its network is. Used from one thread.
    """

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self._clock, self._timeout_s = clock, timeout_s
        self._silent: dict[Host, Silence] = {}

    def note(self, host: Host, error: ProviderUnavailable) -> None:
        """It did not answer. Somebody who asks within the pause, as a person may, makes the next one no longer."""
        now, before = self._clock.now(), self._silent.get(host)
        early = before is not None and now < before.at + self._timeout_s * pause(before.times)
        times = (0 if before is None else before.times) + (not early)
        self._silent[host] = Silence(times, now, error.message)

    def over(self, host: Host) -> None:
        """It was heard."""
        self._silent.pop(host, None)

    def left_alone(self, hosts: Sequence[Host]) -> dict[Host, Silent]:
        """Those of `hosts` that are not to be asked now, and what to say instead of their answers."""
        longest = 1 if all(host in self._silent for host in hosts) else LONGEST
        now = self._clock.now()
        found = {}
        for host, silence in self._silent.items():
            left_s = silence.at + self._timeout_s * pause(silence.times, longest) - now
            # A clock that was set back asks too early rather than never.
            if host in hosts and left_s > 0 and silence.at <= now:
                found[host] = Silent(f"{silence.said}; it is asked again in {left_s:.0f} s")
        return found


def pause(times: int, longest: int = LONGEST) -> int:
    """The pause after so many silences in a row, in time-outs: 1, 2, 4, 8, 16, then `longest`. Pure."""
    return min(longest, 1 << min(times - 1, 16))
