"""A world in which also disks fill up, clocks are set, processes sleep, queues repeat themselves and backups come back.

Each seed has some of these kinds of faults, not all: what hides a bug in one run is absent in another (swarm testing,
Groce and others, ISSTA 2012).
"""

import random
from collections import Counter
from dataclasses import replace

from godwit.control_plane.context import Context
from godwit.control_plane.executors.brokers import BrokerAway
from godwit.control_plane.executors.claims import Claims
from godwit.control_plane.executors.launching import Executor
from godwit.control_plane.leading import Lease
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.store import schema
from godwit.control_plane.store.database import Database
from godwit.domain import lifecycle
from godwit.domain.clock import Clock, SteadyClock
from godwit.domain.errors import NotFound
from godwit.domain.health import IncidentState
from godwit.domain.ids import IdSource, IntentId
from godwit.domain.wire import agents as wire
from godwit.domain.wire.specs import JobSpecIn
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from tests.databases import driver_connection
from tests.simulation import storage
from tests.simulation.crashing import Crash
from tests.simulation.looping import Loops, each
from tests.simulation.machines import SimMachine
from tests.simulation.world import World

KINDS = ("sleeps", "full disk", "full disks of nodes", "clocks", "queue", "restore", "one-way cuts")

SLEEP_SHARE = 0.008
"""Of the places at which a process can sleep; there are some dozens in a run."""

SLEEPS_S, CLOCK_S = (3, 40), (1.0, 300.0)
FULL_S, LATE_S = (1.0, 15.0), (0.0, 12.0)


class HarshWorld(World):
    """One run of one seed, with the kinds of faults that the seed chose, or those that are given."""

    def __init__(self, seed: int, database: Database, shelf: Shelf, kinds: frozenset[str] | None = None) -> None:
        self._dice = random.Random(seed + 3)
        chosen = {kind for kind in KINDS if self._dice.random() < 0.4}
        self.kinds = frozenset(chosen) if kinds is None else kinds
        self.seen = Counter[str]()
        self.database = database
        self._wall_off_s, self._processes = 0.0, 0
        self._may_sleep, self._works_as_leader, self._someone_sleeps = False, True, False
        self._full_until, self._commits_fail_until = 0.0, 0.0
        self._deaf_until: dict[str, float] = {}
        self._backup: storage.Backup | None = None
        self._restore_at = self._dice.uniform(12, 40)
        self._backup_at = self._dice.uniform(3, self._restore_at) if "restore" in self.kinds else float("inf")
        self._accepted: list[JobSpecIn] = []
        self._queue: list[tuple[float, int, IntentId]] = []
        super().__init__(seed, database, shelf)

    def close(self) -> None:
        """Forget what was kept."""
        if self._backup is not None:
            self._backup.close()

    # Processes of the control plane.

    def _boot_control_plane(self) -> None:
        super()._boot_control_plane()
        self._processes += 1
        holder = f"godwit-{self._processes}"
        alone = "sleeps" not in self.kinds
        self._lease = Lease(self.context.db, holder, alone=alone, clock=self.clock.now)

    def _process_clock(self) -> Clock:
        return SteadyClock(self.wall, self.clock.now)

    def wall(self) -> float:
        """What the wall clock of the control plane's machine says."""
        return self.clock.now() + self._wall_off_s

    def _control_plane(self) -> None:
        process = self._processes
        if not self._lease.step():
            return
        self._may_sleep = True
        try:
            super()._control_plane()
        except Crash:
            if process == self._processes:
                raise
        finally:
            self._may_sleep = False

    def _make_loops(self, context: Context) -> Loops:
        fenced = replace(context, db=context.db.fenced(self._lease.fence()))
        return Loops(replace(fenced, courier=self if "queue" in self.kinds else None))

    def _maybe_crash(self, where: str) -> None:
        super()._maybe_crash(where)
        if where == "before a commit":
            if self.clock.now() < self._commits_fail_until:
                self.seen["full disk"] += 1
                raise OperationalError("COMMIT", None, Exception("database or disk is full"))
        elif self._may_sleep and "sleeps" in self.kinds and self.faulty and self._dice.random() < SLEEP_SHARE:
            self._sleep(where)

    def _sleep(self, where: str) -> None:
        """Whoever works now is stopped in the middle, and everybody else goes on; then it wakes and goes on too."""
        with self.database.engine.connect() as conn:
            assert not driver_connection(conn).in_transaction, where
        seconds = self._dice.randint(*SLEEPS_S)
        self.seen["sleeps"] += 1
        self._tell(f"a process sleeps for {seconds} s {where}")
        leads, self._may_sleep, self._works_as_leader, self._someone_sleeps = self._works_as_leader, False, True, True
        if leads:
            self._boot_control_plane()
        for _ in range(seconds):
            self.second()
        self._someone_sleeps = False
        self._tell("it wakes")

    # What goes wrong.

    def _break_something(self) -> None:
        super()._break_something()
        now, dice = self.clock.now(), self._dice
        machines = [machine for machine in self.machines.by_id.values() if machine.powered]
        if "full disk" in self.kinds and dice.random() < 0.04:
            self._fill(now + dice.uniform(*FULL_S))
        if "full disks of nodes" in self.kinds and machines and dice.random() < 0.06:
            victim = dice.choice(machines)
            victim.full_until = now + dice.uniform(*FULL_S)
            self.seen["full disks of nodes"] += 1
            self._tell(f"the disk of {victim.id} is full")
        if "clocks" in self.kinds and dice.random() < 0.05:
            self._set_clock(machines)
        if "clocks" in self.kinds and machines and dice.random() < 0.05:
            dice.choice(machines).skew_s = dice.choice([-1, 1]) * dice.uniform(*CLOCK_S)
        if "one-way cuts" in self.kinds and machines and dice.random() < 0.05:
            victim = dice.choice(machines)
            self._deaf_until[victim.id] = now + dice.uniform(2, 40)
            self._tell(f"no answer reaches {victim.id}")
        self._go_back()
        if 0 < self._full_until <= now:
            self._free()

    def _set_clock(self, machines: list[SimMachine]) -> None:
        self.seen["clocks"] += 1
        self._wall_off_s = self._dice.choice([-1, 1]) * self._dice.uniform(*CLOCK_S)
        self._tell(f"the control plane's wall clock is off by {self._wall_off_s:.0f} s")
        if machines and self._dice.random() < 0.5:  # a computer that is moved or stopped is cut off as well
            victim = self._dice.choice(machines)
            self._cut_off_until[victim.id] = self.clock.now() + self._dice.uniform(5, 30)
            self._tell(f"{victim.id} is cut off")

    def _mend_everything(self) -> None:
        super()._mend_everything()
        self._wall_off_s, self._commits_fail_until = 0.0, 0.0
        self._deaf_until.clear()
        self._free()
        for machine in self.machines.by_id.values():
            machine.full_until = machine.skew_s = 0.0

    def _fill(self, until: float) -> None:
        if self._dice.random() < 0.5:
            self._commits_fail_until = until
            self._tell("no transaction of the control plane can be committed")
        elif not self._someone_sleeps:
            storage.fill(self.database)
            self._full_until = until
            self.seen["full disk"] += 1
            self._tell("the disk of the control plane is full")

    def _free(self) -> None:
        if self._full_until:
            storage.free(self.database)
            self._full_until = 0.0

    @property
    def quiet_by_s(self) -> float:
        """After a restore a repair may have been told of in the lost time; it is over when its deadlines are."""
        waits = (
            lifecycle.DEADLINES[state].after_s or 0.0 for state in (IncidentState.REPAIRING, IncidentState.TESTING)
        )
        return super().quiet_by_s + (sum(waits) if self.seen["restore"] else 0.0)

    def _go_back(self) -> None:
        """A backup is taken; later its database is put back, and users who miss their jobs send them again."""
        now = self.elapsed_s
        if self._backup is None and now >= self._backup_at:
            self._backup = storage.Backup(self.database, self.wall())
            self._backup_at = float("inf")
        if self._backup is None or now < self._restore_at or self._someone_sleeps:
            return
        self._free()
        lost_s = self.wall() - self._backup.at
        self._backup.restore(self.database, IdSource(self.wall, self._ids_rng), self.wall())
        self._backup.close()
        self._backup = None
        self.seen["restore"] += 1
        self._die(f"the control plane's database is what it was {lost_s:.0f} s ago")
        with self.database.read() as conn:
            known = {str(name) for name in conn.execute(select(schema.jobs.c.name)).scalars()}
        lost = [spec for spec in self._accepted if spec.name not in known]
        self._accepted = [spec for spec in self._accepted if spec.name in known]
        self._submissions += [(self.clock.now(), spec) for spec in lost]

    def _users(self) -> None:
        before = list(self._submissions)
        try:
            super()._users()
        finally:
            self._accepted += [spec for at, spec in before if (at, spec) not in self._submissions]

    def _heartbeat(self, machine: SimMachine, credential: str, beat: wire.HeartbeatRequest) -> wire.HeartbeatReply:
        answer = super()._heartbeat(machine, credential, beat)
        self._lose_if_deaf(machine)
        return answer

    def _commands(self, machine: SimMachine, credential: str, known: set[str]) -> list[wire.Command]:
        owed = super()._commands(machine, credential, known)
        self._lose_if_deaf(machine)
        return owed

    def _join(self, machine: SimMachine, token: str, request: wire.JoinRequest) -> wire.JoinReply:
        answer = super()._join(machine, token, request)
        self._lose_if_deaf(machine)
        return answer

    def _lose_if_deaf(self, machine: SimMachine) -> None:
        if self.clock.now() < self._deaf_until.get(machine.id, 0.0):
            self.seen["one-way cuts"] += 1
            raise ConnectionError("the answer is lost")

    # Workers, and the queue that tells them.

    def second(self) -> None:
        """One second; then what the queue delivers."""
        super().second()
        self._deliver()

    where = "a broker on paper"

    def waiting(self) -> int:
        """How many messages no worker has taken yet. Raises `BrokerAway`."""
        if self.faulty and self._dice.random() < 0.05:
            raise BrokerAway("nobody answers")
        return len(self._queue)

    def send(self, intent_id: IntentId) -> None:
        """Put a message into the queue, from which it comes never, once or more often, at once or late."""
        now = self.clock.now()
        copies = self._dice.choice([0, 1, 1, 1, 2, 3]) if self.faulty else 1
        self.seen["queue"] += copies > 1
        for _ in range(copies):
            at = now + (self._dice.uniform(*LATE_S) if self.faulty and self._dice.random() < 0.3 else 0.0)
            self._queue.append((at, self._dice.randint(1, 2), intent_id))

    def _deliver(self) -> None:
        now = self.clock.now()
        due = [one for one in self._queue if one[0] <= now]
        self._queue = [one for one in self._queue if one[0] > now]
        self._dice.shuffle(due)
        for _, worker, intent_id in due:
            self._work(f"worker-{worker}", intent_id)

    def _work(self, name: str, intent_id: IntentId) -> None:
        context = self.context  # a worker outlives control planes, but not the rows
        executor = Executor(context, Claims(context.db, name, self.clock.now))
        self._may_sleep, self._works_as_leader = True, False
        try:
            each([intent_id], executor.carry_out)
        except NotFound:
            self.seen["unknown intents"] += 1  # a message of before a restore
        except Crash as crash:
            self._tell(f"{name} dies {crash}")
        finally:
            self._may_sleep, self._works_as_leader = False, True
