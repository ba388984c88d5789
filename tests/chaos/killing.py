"""Carries kills out, and says what has to happen until the system is well again."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import psutil

from tests.chaos import census, redis_server, rows
from tests.chaos.census import Found
from tests.chaos.clouds import NAMES
from tests.chaos.fleet import Fleet
from tests.chaos.schedule import Kill, Victim
from tests.chaos.units import RESTART_S, Unit
from tests.network import diaries

CLOUD_AWAY_S = 6.0

OUTAGE_S = 8.0
"""Long enough for every node to be missed, were its silence held against it; shorter than a lease."""

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Wound:
    """What a kill did. `is_well` asks whether all that it broke works again."""

    victim: Victim
    whom: str
    at: float
    is_well: Callable[[], bool]


@dataclass
class Killer:
    """Strikes at a fleet. What lasts for a while (a cloud's API that is away) is ended by `tend`."""

    fleet: Fleet
    _healing: list[tuple[float, str]] = field(default_factory=list)

    def strike(self, kill: Kill) -> Wound | None:
        """Carry it out; None when there is nothing of the kind now."""
        return _STRIKES[kill.victim](self, kill)

    def tend(self) -> None:
        """End what has lasted long enough."""
        now = time.monotonic()
        for at, cloud in [one for one in self._healing if one[0] <= now]:
            self._healing.remove((at, cloud))
            self.fleet.clouds.faults(cloud)

    def control_plane(self, kill: Kill) -> Wound | None:
        """Any of them: well again once it serves again."""
        return _units(kill, [_chosen(list(self.fleet.replicas.values()), kill.pick)])

    def leader(self, kill: Kill) -> Wound | None:
        """The one that runs the loops: well again once another, or it again, does."""
        before = self.fleet.leader()
        if before is None or before[0] not in self.fleet.replicas or not self.fleet.replicas[before[0]].kill():
            return None

        def is_well() -> bool:
            now = self.fleet.leader()
            return now is not None and now[1] > before[1] and now[2] > 0

        return Wound(kill.victim, before[0], time.monotonic(), is_well)

    def all_control_planes(self, kill: Kill) -> Wound | None:
        """All at once."""
        return _units(kill, list(self.fleet.replicas.values()))

    def worker(self, kill: Kill) -> Wound | None:
        """Any of them."""
        return _units(kill, [_chosen(list(self.fleet.workers.values()), kill.pick)])

    def all_workers(self, kill: Kill) -> Wound | None:
        """All at once."""
        return _units(kill, list(self.fleet.workers.values()))

    def redis(self, kill: Kill) -> Wound | None:
        """The server, with all messages in it."""
        return _units(kill, [self.fleet.redis])

    def messages(self, kill: Kill) -> Wound | None:
        """All messages; nobody is told, so nothing is there to look at but the end."""
        gone = redis_server.empty(self.fleet.redis_port)
        return Wound(kill.victim, "", time.monotonic(), lambda: True) if gone else None

    def postgres(self, kill: Kill) -> Wound | None:
        """The server: well again once it is, and somebody runs the loops."""
        starts, was = self.fleet.postgres.starts, self.fleet.leader()
        if not self.fleet.postgres.kill(OUTAGE_S if kill.victim is Victim.OUTAGE else RESTART_S):
            return None
        unit = self.fleet.postgres

        def is_well() -> bool:
            now = self.fleet.leader() if unit.starts > starts else None
            return now is not None and now != was and now[2] > 0

        return Wound(kill.victim, "", time.monotonic(), is_well)

    def hang(self, kill: Kill) -> Wound | None:
        """The server stands still with all its processes, and goes on: well again once somebody runs the loops."""
        was, process = self.fleet.leader(), self.fleet.postgres.process
        if was is None or process is None:
            return None
        with suppress(psutil.Error):
            server = psutil.Process(process.pid)
            stopped = [server, *server.children()]
            for one in stopped:
                one.suspend()
            # By a thread of its own: whoever looks meanwhile may have to wait for an answer.
            goes_on = threading.Timer(OUTAGE_S, _resume, [stopped])
            goes_on.start()

            def is_well() -> bool:
                now = None if goes_on.is_alive() else self.fleet.leader()
                return now is not None and now != was

            return Wound(kill.victim, "", time.monotonic(), is_well)
        return None

    def backend(self, kill: Kill) -> Wound | None:
        """A process of one connection: the server then ends all others and recovers."""
        unit, was = self.fleet.postgres, self.fleet.leader()
        with suppress(psutil.Error):
            assert unit.process is not None
            children = psutil.Process(unit.process.pid).children()
            serving = [child for child in children if " postgres [local]" in " ".join(child.cmdline())]
            if serving:
                _chosen(serving, kill.pick).kill()
                return Wound(kill.victim, "", time.monotonic(), lambda: self.fleet.leader() not in (None, was))
        return None

    def gateway(self, kill: Kill) -> Wound | None:
        """One of them, never the last: who asks has to find the other."""
        units = list(self.fleet.gateways.values())
        return _units(kill, [_chosen(units, kill.pick)]) if all(unit.is_up() for unit in units) else None

    def agent(self, kill: Kill) -> Wound | None:
        """The agent of a machine: well again once it is heard, or its machine is no node any more."""
        found = self._find(census.AGENT, kill.pick)
        if found is None:
            return None
        at = time.time()
        return self._killed(kill, [found], lambda: rows.is_heard(self.fleet.db, found.instance_id, at))

    def machine(self, kill: Kill) -> Wound | None:
        """A machine with all that is on it: well again once each job that ran there goes on elsewhere."""
        machines = self.fleet.clouds.machines()
        if not machines:
            return None
        instance_id = _chosen(machines, kill.pick)
        jobs = {found.job for found in census.of(self.fleet.clouds.mark) if found.instance_id == instance_id}
        self.fleet.clouds.lose(instance_id)
        return Wound(kill.victim, instance_id, time.monotonic(), self._goes_on(jobs))

    def part(self, kill: Kill) -> Wound | None:
        """A process of a job: well again once the job goes on."""
        found = self._find(_PARTS[kill.victim], kill.pick)
        return None if found is None else self._killed(kill, [found], self._goes_on({found.job}))

    def cloud(self, kill: Kill) -> Wound | None:
        """A cloud answers nothing but 503 for a while."""
        cloud = _chosen(NAMES, kill.pick)
        self.fleet.clouds.faults(cloud, unavailable=True)
        until = time.monotonic() + CLOUD_AWAY_S
        self._healing.append((until, cloud))
        return Wound(kill.victim, cloud, time.monotonic(), lambda: time.monotonic() > until)

    def answer(self, kill: Kill) -> Wound | None:
        """The next launch at a cloud takes effect, and nobody is told."""
        cloud = _chosen(NAMES, kill.pick)
        self.fleet.clouds.faults(cloud, lose_answers=1)
        return Wound(kill.victim, cloud, time.monotonic(), lambda: True)

    def _find(self, part: str, pick: float) -> Found | None:
        found = [one for one in census.of(self.fleet.clouds.mark) if one.part == part]
        return _chosen(sorted(found, key=lambda one: one.process.pid), pick) if found else None

    def _killed(self, kill: Kill, found: Sequence[Found], is_well: Callable[[], bool]) -> Wound | None:
        for one in found:
            try:
                one.process.kill()
            except psutil.NoSuchProcess:
                return None
        whom = f"{found[0].job or found[0].instance_id}"
        return Wound(kill.victim, whom, time.monotonic(), is_well)

    def _goes_on(self, jobs: set[str]) -> Callable[[], bool]:
        # A replica of a service keeps no diary: whether it is missed shows in what its users are told.
        at, waiting = time.monotonic(), {job for job in jobs if job and (self.fleet.diaries / job).exists()}

        def is_well() -> bool:
            for job in sorted(waiting):
                if diaries.stepped_anew(self.fleet.diaries / job, at) or rows.has_ended(self.fleet.db, job):
                    waiting.discard(job)
            return not waiting

        return is_well


def _units(kill: Kill, units: Sequence[Unit]) -> Wound | None:
    starts = {unit.name: unit.starts for unit in units}
    killed = [unit.name for unit in units if unit.kill()]
    if not killed:
        return None

    def is_well() -> bool:
        return all(unit.starts > starts[unit.name] and unit.is_up() for unit in units)

    whom = " ".join(name.removeprefix(kill.victim).strip() for name in killed)
    return Wound(kill.victim, whom, time.monotonic(), is_well)


def _resume(stopped: Sequence[psutil.Process]) -> None:
    for one in stopped:
        with suppress(psutil.Error):
            one.resume()


def _chosen(things: Sequence[Thing], pick: float) -> Thing:
    return things[int(pick * len(things))]


_PARTS = {
    Victim.GUARD: census.GUARD,
    Victim.PROGRAM: census.PROGRAM,
    Victim.RAY: census.RAY,
    Victim.RAY_WORKER: census.RAY_WORKER,
}

_STRIKES: dict[Victim, Callable[[Killer, Kill], Wound | None]] = {
    Victim.CONTROL_PLANE: Killer.control_plane,
    Victim.LEADER: Killer.leader,
    Victim.ALL_CONTROL_PLANES: Killer.all_control_planes,
    Victim.POSTGRES: Killer.postgres,
    Victim.OUTAGE: Killer.postgres,
    Victim.HANG: Killer.hang,
    Victim.BACKEND: Killer.backend,
    Victim.WORKER: Killer.worker,
    Victim.ALL_WORKERS: Killer.all_workers,
    Victim.REDIS: Killer.redis,
    Victim.MESSAGES: Killer.messages,
    Victim.GATEWAY: Killer.gateway,
    Victim.AGENT: Killer.agent,
    Victim.MACHINE: Killer.machine,
    Victim.CLOUD: Killer.cloud,
    Victim.ANSWER: Killer.answer,
    **dict.fromkeys(_PARTS, Killer.part),
}
