"""What others do in the same world: hourly saves and people; requeue; reboot on any Xid; and one who knows everything.

All get the same spares and the same times. Where a person decides, the person is always right.
"""

from collections.abc import Sequence
from itertools import islice

from godwit.domain.cadence import SaveCost
from godwit.domain.health import Remedy
from godwit.scheduler import cadence

from benchmarks.goodput.faults import Effect, Nature
from benchmarks.goodput.inputs import DAY_S
from benchmarks.goodput.machines import Fault, Machine
from benchmarks.goodput.program import Job
from benchmarks.goodput.responder import Responder
from benchmarks.goodput.world import World


class Keeper(Responder):
    """Keeps one job on a gang of machines, with spares beside it; subclasses say when to act and on whom.

    `out` are machines that are taken out of use by id: under repair, or distrusted.
    """

    name = "keeper"
    takes_s: float | None = None

    def begin(self, world: World) -> None:
        """The first machines in order of place are the gang, the others its spares."""
        self.world, self.out, self.wants_start = world, set[str](), True
        self.gang = list(world.machines.values())[: world.fleet.nodes]
        self.place()

    @property
    def interval_s(self) -> float:
        """Young and Daly with the true rate."""
        world = self.world
        cost = SaveCost(world.saving.stall_s, world.saving.commit_s)
        rate = world.fleet.interruptions / (world.fleet.days * DAY_S)
        return cadence.choose(cost, rate).interval_s

    def place(self) -> None:
        """Start on the gang, with spares in place of what is out; later, when there are too few."""
        if self.world.program.job is not Job.IDLE or not self.wants_start:
            return
        usable = [one for one in self.gang if one.id not in self.out and one.id in self.world.machines]
        taken = self.out.union(one.id for one in usable)
        spares = (one for one in self.world.machines.values() if one.id not in taken and one.alive)
        usable += islice(spares, self.world.fleet.nodes - len(usable))
        if len(usable) == self.world.fleet.nodes:
            self.gang, self.wants_start = usable, False
            self.world.program.start(usable, self.interval_s, takes_s=self.takes_s)

    def restart(self, bad: Sequence[Machine] = (), *, saves: bool = False) -> None:
        """Stop, leave `bad`, and start again."""
        mine = [one for one in bad if one.id not in self.out]
        self.out |= {one.id for one in mine}
        self.world.notices([one for one in mine if one in self.gang], evicted=True)
        self.world.program.stop(saves=saves)
        self.wants_start = True
        self.place()

    def stopped(self) -> None:
        """Start again."""
        self.place()

    def exchange(self, machine: Machine) -> None:
        """Give it back and buy another."""
        if machine.id in self.world.machines:
            self.world.give_back(machine)
            self.world.buy()

    def arrived(self, machine: Machine) -> None:  # noqa: ARG002 - the protocol's signature
        """One more."""
        self.place()

    def back(self, machine: Machine) -> None:
        """It may be used again."""
        self.out.discard(machine.id)
        self.place()


class Hourly(Keeper):
    """A checkpoint an hour; somebody notices after 10 min and has the job restarted on good machines in 30."""

    name = "hourly checkpoints, 10 min to detect, 30 min to restart"
    detects_s, restarts_s = 600.0, 1_800.0
    _waits = False

    @property
    def interval_s(self) -> float:
        """An hour."""
        return 3_600.0

    def _noticed(self) -> None:
        self._waits, self.takes_s = False, self.restarts_s
        bad = [one for one in self.world.program.odd if one.stops_starts or _must_go(one)]
        self.restart(bad)
        for machine in bad:
            self.exchange(machine)

    def _in_time(self) -> None:
        if not self._waits:
            self._waits = True
            self.world.after(self.detects_s, self._noticed)

    def crashed(self, machine: Machine) -> None:  # noqa: ARG002 - the protocol's signature
        """Noticed in time."""
        self._in_time()

    def unheard(self, machine: Machine) -> None:
        """Noticed in time, when the job was on it."""
        if self.world.program.holds(machine):
            self._in_time()

    def stuck(self, odd: Machine | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Noticed in time."""
        self._in_time()

    def spoilt(self) -> None:
        """Noticed in time."""
        self._in_time()


class Requeue(Keeper):
    """A program that ends is started again at once, on the same machines if they answer.

    After three starts without an hour's run a person looks, and takes the right machines out.
    """

    name = "requeue only"
    tries = 3
    _failed, _ran_since, _called = 0, 0.0, False

    def crashed(self, machine: Machine) -> None:  # noqa: ARG002 - the protocol's signature
        """Again."""
        self._failed = 1 if self.world.now - self._ran_since > 3_600 else self._failed + 1
        self._ran_since = self.world.now
        if self._failed > self.tries and not self._called:
            self._called = True
            self.world.after(self.world.times.person_s, self._looked)
        elif not self._called:
            self.restart()

    def unheard(self, machine: Machine) -> None:
        """The scheduler's own ping fails after a minute."""
        self.world.after(60.0, self._down, machine)

    def _down(self, machine: Machine) -> None:
        if machine.id not in self.out:
            is_mine = machine in self.gang
            self.restart([machine]) if is_mine else self.out.add(machine.id)
            self.exchange(machine)

    def _looked(self) -> None:
        self._called, self._failed = False, 0
        bad = [one for one in self.world.program.odd if one.stops_starts or _must_go(one)]
        self.restart(bad)
        for machine in bad:
            self.exchange(machine)


class RebootOnXid(Requeue):
    """Requeue; and a machine whose kernel says Xid is taken out, rebooted, and used again."""

    name = "reboot on any Xid"

    def lines(self, machine: Machine, lines: Sequence[str]) -> None:
        """Any Xid will do."""
        if not any("Xid" in line for line in lines) or machine.id in self.out:
            return
        if machine in self.gang and not self._called:
            self.restart([machine])
        self.out.add(machine.id)
        self.world.repair(machine, Remedy.REBOOT)

    def repaired(self, machine: Machine, worked: bool) -> None:  # noqa: ARG002 - the protocol's signature
        """Back, untested."""
        if machine.alive:
            self.back(machine)


class Oracle(Keeper):
    """Knows what is wrong the moment that it is, takes out what must go and nothing else, and repairs it rightly."""

    name = "oracle"

    def onset(self, fault: Fault, machines: Sequence[Machine]) -> None:
        """Act on it."""
        if fault.kind.nature is Nature.PROGRAM and self.world.program.job in {Job.BROKEN, Job.STARTING}:
            self.restart()
        if fault.kind.nature is not Nature.HARDWARE or fault.kind.effect is Effect.NONE:
            return
        self.restart([one for one in machines if one in self.gang], saves=fault.kind.effect is Effect.SLOW)
        for machine in machines:
            self.out.add(machine.id)
            self._repair(machine, fault)

    def crashed(self, machine: Machine) -> None:  # noqa: ARG002 - the protocol's signature
        """What it could not prevent: a program's own fault that comes back."""
        self.restart([one for one in self.world.program.odd if _must_go(one)])

    def passed(self, fault: Fault, machine: Machine) -> None:  # noqa: ARG002 - the protocol's signature
        """Usable again, unless more is wrong."""
        if not machine.is_sick:
            self.back(machine)

    def repaired(self, machine: Machine, worked: bool) -> None:  # noqa: ARG002 - the protocol's signature
        """Usable again, unless more is wrong."""
        if machine.is_sick:
            self._repair(machine, machine.faults[-1])
        else:
            self.back(machine)

    def arrived(self, machine: Machine) -> None:
        """A sick one goes back at once."""
        if machine.is_sick:
            self.out.add(machine.id)
            self.exchange(machine)
        else:
            self.place()

    def _repair(self, machine: Machine, fault: Fault) -> None:
        if fault.kind.lasts_s is not None and fault.kind.lasts_s <= self.world.times.buy_s:
            return  # it passes sooner than anything helps
        if fault.remedy in {Remedy.RESET_GPU, Remedy.REBOOT} and machine.alive:
            self.world.repair(machine, fault.remedy, (fault.gpu,))
        else:
            self.exchange(machine)


def _must_go(machine: Machine) -> bool:
    """Whether a person who knows everything would take it out of a job that is down."""
    return not machine.alive or any(
        fault.is_hardware and fault.kind.effect not in {Effect.NONE, Effect.SLOW} for fault in machine.faults
    )
