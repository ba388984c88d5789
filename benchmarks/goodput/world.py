"""The world: machines, what strikes them, what they show of it, and what orders to them come to."""

import random
from collections.abc import Iterable, Sequence

from godwit.domain.health import Remedy

from benchmarks.goodput import scenario
from benchmarks.goodput.faults import Effect, Nature
from benchmarks.goodput.inputs import DAY_S, Saving, Times, Trouble, Watching
from benchmarks.goodput.loop import Loop
from benchmarks.goodput.machines import Fault, Machine
from benchmarks.goodput.program import Program
from benchmarks.goodput.responder import Responder
from benchmarks.goodput.scenario import Fleet, Happening
from benchmarks.goodput.tally import Tally

TROUBLE = Trouble()


class World(Loop):
    """One run of one fleet with one seed under one responder; use once."""

    def __init__(
        self,
        fleet: Fleet,
        seed: int,
        responder: Responder,
        *,
        trouble: Trouble = TROUBLE,
    ) -> None:
        super().__init__()
        self.fleet, self.seed, self.responder, self.trouble = fleet, seed, responder, trouble
        self.times, self.saving, self.watching = Times(), Saving(), Watching()
        self.end_s, self.tally, self.program = fleet.days * DAY_S, Tally(), Program(self)
        self.machines: dict[str, Machine] = {}
        self.odd: dict[str, Machine] = {}
        self._paid_at = 0.0
        self._made = fleet.nodes + fleet.spares
        self._given_back: list[Machine] = []
        self._readings: dict[str, int] = {}
        sour = scenario.lemons(fleet, trouble)
        places = random.Random(f"lemons {fleet.name} {seed}").sample(range(fleet.nodes), sour)
        lemons = {place: number for number, place in enumerate(places)}
        for place in range(fleet.nodes + fleet.spares):
            self._join(Machine(f"node-{place:05}", f"{place:05}", place, self._domain(place), lemons.get(place)))

    def live(self) -> Tally:
        """Live to the end; the figures of this run."""
        for happening in scenario.happenings(self.fleet, self.trouble, self.seed):
            self.at(happening.at, self._happen, happening)
        self.responder.begin(self)
        self.run(self.end_s)
        self._pay()
        training = self.program.training
        self.tally.close(training.done_s(self.now), training.lost_s, self.end_s, self.fleet)
        return self.tally

    def rng(self, fault: Fault, what: str) -> random.Random:
        """Chance that is the same for the same fault, whoever answers."""
        return random.Random(f"{self.seed} {fault.happening.number} {fault.struck} {what}")

    # --- what a responder may order ---

    def repair(self, machine: Machine, remedy: Remedy, gpus: tuple[int, ...] = ()) -> None:
        """Reset GPUs or reboot; `repaired` follows."""
        takes_s = self.times.reboot_s if remedy is Remedy.REBOOT else self.times.reset_s
        self.after(takes_s, self._repaired, machine, remedy, gpus)

    def test(self, machine: Machine) -> None:
        """Run the active checks; `tested` follows."""
        self.after(self.times.test_s, self._tested, machine)

    def give_back(self, machine: Machine) -> None:
        """The machine is the provider's again."""
        if machine.id in self.machines:
            self._pay()
            del self.machines[machine.id]
            self.odd.pop(machine.id, None)
            self._given_back.append(machine)
            self.tally.returned += 1

    def buy(self, domain: str | None = None) -> str:
        """Buy a machine (None: in any fabric domain), and say what it will be called; `arrived` follows."""
        self._made += 1
        self.tally.bought += 1
        name = f"node-{self._made:05}"
        self.after(self.times.buy_s / 2, self._boots, name)
        self.after(self.times.buy_s, self._arrived, name, domain)
        return name

    def notices(self, machines: Sequence[Machine], *, evicted: bool) -> None:
        """For the figures: these are taken out of the job or of the fleet, as not well."""
        for machine in machines:
            self.tally.took_out(machine, evicted=evicted)

    def told(self, faults: Iterable[Fault]) -> None:
        """For the figures: the control plane was told of these."""
        for fault in faults:
            fault.told_at = self.now if fault.told_at is None else fault.told_at

    # --- what happens ---

    def strike(self, machine: Machine, happening: Happening) -> Fault:
        """It begins on this machine."""
        kind = happening.kind
        fault = Fault(happening, happening.gpu, self.now, kind.remedy(happening.draw))
        if kind.nature is not Nature.PROGRAM:
            machine.faults.append(fault)
            self.odd[machine.id] = machine
        self.show(machine, fault)
        return fault

    def show(self, machine: Machine, fault: Fault) -> None:
        """It writes its lines, changes its values, and does to the job what it does."""
        kind = fault.kind
        if kind.lines and machine.alive:
            places = {"pci": machine.pci(fault.gpu), "nic": "0000:3b:00.0"}
            spot = {"gpc": fault.happening.number % 7, "tpc": fault.happening.number % 9}
            lines = [line.format(**places, **spot) for line in kind.lines]
            self.after(self.times.wire_s, self._read, machine, fault, lines)
        self._read_values(machine, kind.readings)
        if kind.effect is Effect.DEAD:
            machine.alive = False
            self.odd[machine.id] = machine
            self.responder.unheard(machine)
        if self.program.holds(machine):
            self.program.suffer(machine, fault)

    def _happen(self, happening: Happening) -> None:
        kind = happening.kind
        if happening.repeats:
            self.program.bug(happening)
        struck = self._victims(happening)
        faults = [self.strike(machine, happening) for machine in struck]
        if faults:
            self.responder.onset(faults[0], struck)
        if kind.lasts_s is not None:
            for machine, fault in zip(struck, faults, strict=True):
                self.after(kind.lasts_s, self._passes, machine, fault)

    def _victims(self, happening: Happening) -> list[Machine]:
        if happening.lemon is not None:
            return [one for one in self.machines.values() if one.lemon == happening.lemon and one.alive][:1]
        if happening.width == 1:
            holders = self.program.gang or list(self.machines.values())
            victim = holders[int(happening.rank * len(holders))]
            return [victim] if victim.alive and victim.id in self.machines else []
        first = int(happening.rank * self.fleet.nodes)
        within = [one for one in self.machines.values() if one.alive and one.domain == self._domain(first)]
        within.sort(key=lambda one: (one.place, one.id))
        begin = next((index for index, one in enumerate(within) if one.place >= first), 0)
        begin = max(0, min(begin, len(within) - happening.width))
        return within[begin : begin + happening.width]

    def _read(self, machine: Machine, fault: Fault, lines: list[str]) -> None:
        if machine.alive and machine.id in self.machines:
            self.told([fault])
            self.responder.lines(machine, lines)

    def _passes(self, machine: Machine, fault: Fault) -> None:
        if fault in machine.faults:
            machine.faults.remove(fault)
            self._changed(machine)
            self._read_values(machine, fault.kind.readings)  # its end is judged over as long a time as its begin
            self.program.set_pace()
            self.responder.passed(fault, machine)

    def _repaired(self, machine: Machine, remedy: Remedy, gpus: tuple[int, ...]) -> None:
        if machine.id in self.machines:
            worked = machine.repaired(remedy, gpus)
            if worked:
                machine.forget()
            self._changed(machine)
            self.responder.repaired(machine, worked)

    def _tested(self, machine: Machine) -> None:
        if machine.id in self.machines:
            found = machine.alive and any(
                fault.is_hardware and self.rng(fault, f"test {self.now:.0f}").random() < fault.kind.tested
                for fault in machine.faults
            )
            if machine.alive and not found:
                machine.forget()
            self.responder.tested(machine, machine.alive and not found)

    def _boots(self, name: str) -> None:
        self.responder.booted(name)

    def _arrived(self, name: str, domain: str | None) -> None:
        rng = random.Random(f"sold {self.seed} {name}")
        old = [one for one in self._given_back if one.faults]
        if old and rng.random() < self.trouble.sold_again_share:
            machine = old[-1].again(name)
            self._given_back.remove(old[-1])
        else:
            place = self._given_back[-1].place if self._given_back else 0
            machine = Machine(name, name.removeprefix("node-"), place, domain or self._domain(place))
        self._join(machine)
        self.responder.arrived(machine)
        self._changed(machine)

    def _join(self, machine: Machine) -> None:
        self._pay()
        self.machines[machine.id] = machine
        if machine.is_odd:
            self.odd[machine.id] = machine

    def _pay(self) -> None:
        self.tally.paid(len(self.machines), self.fleet.nodes, self.now - self._paid_at)
        self._paid_at = self.now

    def _changed(self, machine: Machine) -> None:
        """What is wrong with it is not what it was."""
        if not machine.is_odd:
            self.odd.pop(machine.id, None)
        self._read_values(machine, 2)

    def _read_values(self, machine: Machine, readings: int) -> None:
        """Its values are read as always; only readings that may differ from the last ones are simulated."""
        if machine.id not in self._readings and readings:
            self.after(self.times.poll_s - (self.now + machine.place) % self.times.poll_s, self._poll, machine)
        if readings:
            self._readings[machine.id] = max(readings, self._readings.get(machine.id, 0))

    def _poll(self, machine: Machine) -> None:
        left = self._readings.pop(machine.id) - 1
        if machine.alive and machine.id in self.machines:
            self.responder.polled(machine)
            if left > 0:
                self._read_values(machine, left)

    def _domain(self, place: int) -> str:
        return f"pod-{min(place, self.fleet.nodes - 1) // self.fleet.domain_nodes}"
