"""One run: kill by the schedule while people work, let everything end, judge."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.chaos import clouds, gateways, judge, rows, told
from tests.chaos import fleet as fleets
from tests.chaos.fleet import Fleet
from tests.chaos.gateways import User
from tests.chaos.judge import Verdict
from tests.chaos.killing import Killer, Wound
from tests.chaos.schedule import Kill, Victim
from tests.chaos.work import Client, People, Sort

LOOK_S, TELL_S = 0.2, 10.0
START_S, END_S = 300.0, 600.0
"""Very long on purpose: nothing is measured by them but what must never be."""


@dataclass
class Run:
    """What happened in one run so far."""

    fleet: Fleet
    people: People
    user: User
    began: float = field(default_factory=time.monotonic)
    open: list[Wound] = field(default_factory=list)
    healed: list[tuple[Wound, float]] = field(default_factory=list)
    missed: set[Victim] = field(default_factory=set)
    most_nodes: int = 0
    _told_at: float = 0.0

    def say(self, text: str) -> None:
        """Print a line of the progress."""
        print(told.line(time.monotonic() - self.began, text), flush=True)

    def go_through(self, kills: Sequence[Kill]) -> None:
        """Strike when it is time, and look how long it takes until all is well.

        Where there is nothing of a kind, one of it is owed from then on: a real Ray is there for a part of a run only.
        """
        killer, owed = Killer(self.fleet), dict[Victim, Kill]()
        for kill in kills:
            self._watch(lambda at=kill.at_s: time.monotonic() - self.began >= at, killer)  # type: ignore[misc]
            owed = {one.victim: one for one in (*owed.values(), kill) if not self._struck(killer, one)}
        self.missed = set(owed)
        for cloud in clouds.NAMES:
            self.fleet.clouds.faults(cloud)

    def _struck(self, killer: Killer, kill: Kill) -> bool:
        wound = killer.strike(kill)
        if wound is not None:
            self.open.append(wound)
            self.say(f"kill {wound.victim} {wound.whom}")
        return wound is not None

    def end(self) -> None:
        """Wait until every job has ended, every machine is given back, and every wound is healed."""
        self.people.stop()
        self.say("no more kills: waiting for all jobs to end")
        self._in_time("the end of all jobs", lambda: self.people.is_over)
        self.say("all jobs have ended: waiting for gateways to know the replicas")
        self._in_time("the same routes at all gateways", self.user.is_converged)
        self.user.stop()
        self.people.client.ask("DELETE", f"/v1/services/{gateways.SERVICE}")
        self._in_time("the end of the service", self.user.is_forgotten)
        self.say("the service has ended: waiting for all machines to be given back")
        self._in_time("the end of all machines", lambda: judge.is_quiet(self.fleet))
        self._in_time("all to be well", lambda: not self.open)

    def _in_time(self, what: str, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + END_S

        def is_over() -> bool:
            assert time.monotonic() < deadline, (
                f"{what} did not come within {END_S:g} s: {rows.unsettled(self.fleet.db)}"
            )
            return look()

        self._watch(is_over, None)

    def _watch(self, until: Callable[[], bool], killer: Killer | None) -> None:
        while not until():
            if killer is not None:
                killer.tend()
            for wound in [wound for wound in self.open if wound.is_well()]:
                self.open.remove(wound)
                self.healed.append((wound, time.monotonic() - wound.at))
            if time.monotonic() - self._told_at > TELL_S:
                self._told_at = time.monotonic()
                counts = ", ".join(f"{count} {state}" for state, count in self.people.counts().items())
                nodes = rows.living_nodes(self.fleet.db)
                self.most_nodes = max(self.most_nodes, nodes or 0)
                self.say(f"  nodes {nodes}, open wounds {len(self.open)}; jobs: {counts}")
            assert not self.people.is_over or killer is None, "everybody went home early"
            time.sleep(LOOK_S)


def live_through(folder: Path, kills: Sequence[Kill], sorts: Sequence[Sort], seed: int) -> Verdict:
    """A fleet lives through the kills; returns what a judge finds at its end, and prints all of it."""
    with fleets.running(folder) as fleet:
        try:
            _wait_until_it_serves(fleet)
            client = Client(fleet.url, fleet.token)
            user = User(fleet.gateway_ports, Client(fleet.url, fleet.token))
            _wait_for_the_service(fleet, client, user)
            people = People(Client(fleet.url, fleet.token), fleet.diaries, sorts, random.Random(seed))
            run = Run(fleet, people, user)
            user.start()
            run.go_through(kills)
            run.end()
            verdict = judge.judged(fleet, client, people.jobs)
            verdict = replace(verdict, wrong=(*verdict.wrong, *user.wrong))
            for row in (
                "",
                *told.wounds(run.healed, run.missed),
                "",
                f"nodes at once, at most {run.most_nodes}",
                "",
                *told.work(people.jobs, rows.tries(fleet.db)),
                "",
                *told.user(user),
                "",
            ):
                print(row)
            print("\n".join(told.verdict(verdict)), flush=True)
            if verdict.wrong:
                print(fleet.log())
        except BaseException as exc:
            print(fleet.log())
            exc.add_note(f"logs and diaries: {folder}")
            raise
    return verdict


def _wait_for_the_service(fleet: Fleet, client: Client, user: User) -> None:
    client.ask("POST", "/v1/services", json=gateways.service(fleet.home.parent))
    deadline = time.monotonic() + START_S
    while not user.is_served():
        assert time.monotonic() < deadline, f"the service was not served within {START_S} s"
        time.sleep(LOOK_S)


def _wait_until_it_serves(fleet: Fleet) -> None:
    deadline = time.monotonic() + START_S
    units = [*fleet.replicas.values(), *fleet.workers.values()]
    while not all(unit.is_up() for unit in units) or fleet.leader() is None:
        assert time.monotonic() < deadline, f"the fleet did not serve within {START_S} s"
        time.sleep(LOOK_S)
