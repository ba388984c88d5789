"""Whatever goes wrong between godwit and a cloud, nothing is paid for that the database does not know, and no row
claims a machine that is not there.

The real executor, watch and store drive each real adapter on its emulator through seeded faults: refusals, 5xx before
and after creating, answers that never come, lists that lag, calls repeated, and the death of the process between any
two of its steps. Each fault that was injected is counted.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from math import ceil
from pathlib import Path

import pytest
from godwit.control_plane.context import Context
from godwit.control_plane.executors import launching
from godwit.control_plane.executors.launching import Executor
from godwit.control_plane.hints import Hints
from godwit.control_plane.keyring import Keyring
from godwit.control_plane.reconcilers import apply
from godwit.control_plane.reconcilers.instances import InstanceWatch
from godwit.control_plane.services import nodes
from godwit.control_plane.store import queries
from godwit.domain.clock import ManualClock
from godwit.domain.errors import InvalidTransition
from godwit.domain.ids import IdSource, JobId
from godwit.domain.intents import FOR_PROVIDERS
from godwit.domain.nodes import NodeState
from godwit.domain.offers import Offer
from godwit.providers.simulated.faults import Faults
from godwit.scheduler.plan import BuyNode, Plan
from godwit.scheduler.snapshot import Snapshot

from tests import databases
from tests.contract.rigs import FINAL, Rig
from tests.control_plane.faulty import Fatal, Killed, MortalDatabase, MortalProvider
from tests.emulators import rigs

EMULATED = sorted(path.parent.name for path in (Path(__file__).parents[1] / "emulators").glob("*/rig.py"))
FAULTS = int(os.environ.get("GODWIT_LEAK_FAULTS", "2500"))
"""`make nightly` tries 10,000."""

SEEDS = range(2 if FAULTS < 10_000 else 4)
FAULTS_PER_RUN = ceil(FAULTS / (len(EMULATED) * len(SEEDS)))
"""So that all clouds and seeds together see at least so many, however many clouds there are."""

PATIENCE_S = 0.08
"""How long a call waits here; the emulators answer in milliseconds, and one that is late is one fault more."""


class Leaky:
    """One adapter, one seed: a control plane without a planner, that is told what to buy and to end."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig, self.rng, self.clock = rig, random.Random(seed), ManualClock()
        self.db = databases.in_memory()
        self.offers = self._offers()
        self.injected = 0
        ids = IdSource(self.clock.now, random.Random(seed + 1))
        self.plain = Context(
            db=self.db, hints=Hints(), clock=self.clock, ids=ids, keyring=Keyring(b"k"),
            providers={rig.impatient.name: rig.impatient}, identity="godwit-leaks", url="http://127.0.0.1:1",
            store_url="file:///nowhere", serving_since=self.clock.now(),
        )  # fmt: skip

    def _offers(self) -> list[Offer]:
        return [offer for offer in self.rig.provider.offers() if offer.capacity is None or offer.capacity > 0]

    def step(self) -> None:
        """Decide something, break something, and let a control plane that may die work on it."""
        if self.rng.random() < 0.6:
            self._buy()
        else:
            self._end_one()
        self._break()
        fatal = Fatal(self.rng.randint(1, 14))
        self._work(fatal)
        if fatal.left <= 0:
            self.injected += 1
        self._pass(self.rng.choice([0.5, 1.0, 5.0]))

    def settle(self) -> None:
        """Mend everything and work until nothing is owed."""
        assert self.rig.set_faults is not None
        self.rig.set_faults(Faults())
        executor, watch = Executor(self.plain), InstanceWatch(self.plain, self.rig.provider)
        executor.resume()
        for _ in range(80):
            for intent_id in executor.due():
                executor.carry_out(intent_id)
            watch.step()
            if self._is_settled():
                return
            self._pass(5.0)

    def _is_settled(self) -> bool:
        with self.db.read() as conn:
            owed = queries.pending_intents(conn, FOR_PROVIDERS)
            ending = [n for n in queries.nodes(conn) if n.state is NodeState.TERMINATING or n.gone]
        return not owed and not ending and self._ours() == set(self._claimed())

    def check(self) -> None:
        """What lives at the cloud is what the rows claim, one to one."""
        claimed = self._claimed()
        assert len(claimed) == len(set(claimed))
        assert self._ours() == set(claimed)

    def _ours(self) -> set[str | None]:
        listed = self.rig.provider.instances()
        return {i.id for i in listed if i.owner == "godwit-leaks" and i.state not in FINAL}

    def _claimed(self) -> list[str | None]:
        with self.db.read() as conn:
            return [node.instance_id for node in queries.nodes(conn) if not node.gone]

    def end_all(self) -> None:
        """Give everything back."""
        with self.db.read() as conn:
            living = [node.id for node in queries.nodes(conn)]
        for node_id in living:
            with suppress(InvalidTransition):
                nodes.terminate(self.plain, node_id, "test")
        self.settle()

    def _buy(self) -> None:
        action = BuyNode(self.rng.choice(self.offers), JobId("job-1"), "test")
        with self.db.write() as tx:
            apply.apply(tx, Plan((action,)), Snapshot(), self.plain.ids, self.clock.now())

    def _end_one(self) -> None:
        with self.db.read() as conn:
            living = [n for n in queries.nodes(conn) if n.state is not NodeState.TERMINATING]
        if living:
            nodes.terminate(self.plain, self.rng.choice(living).id, "test")

    def _break(self) -> None:
        assert self.rig.set_faults is not None
        self.rig.set_faults(
            self.rng.choice(
                [
                    Faults(lose_answers=1),
                    Faults(fail_launches=self.rng.randint(1, 2)),
                    Faults(refuse_capacity={"*": 1}),
                    Faults(rate_limit=self.rng.randint(1, 3)),
                    Faults(unavailable=True),
                    Faults(list_lag_s=self.rng.uniform(1, 5)),
                    Faults(list_lag_s=3.0, lose_answers=1),
                ]
            )
        )
        self.injected += 1

    def _work(self, fatal: Fatal) -> None:
        mortal = MortalProvider(self.rig.impatient, fatal)
        context = replace(self.plain, db=MortalDatabase(self.db, fatal), providers={mortal.name: mortal})
        with suppress(Killed):
            executor = Executor(context)
            if self.rng.random() < 0.2:
                executor.resume()
            for intent_id in executor.due():
                executor.carry_out(intent_id)
            InstanceWatch(context, mortal).step()

    def _pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.rig.pass_time(seconds)


@pytest.fixture
def emulated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Leaky]]:
    """A run on the adapter that the test names."""
    monkeypatch.setattr(rigs, "IMPATIENT_S", PATIENCE_S)
    made: list[Leaky] = []
    for rig in import_module(f"tests.emulators.{request.param}.rig").rig():

        def make(seed: int, rig: Rig = rig) -> Leaky:
            made.append(Leaky(rig, seed))
            return made[-1]

        yield make
        for leaky in made:
            leaky.db.close()
        rig.end_all()


@pytest.mark.parametrize("emulated", EMULATED, indirect=True)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_machine_is_paid_for_unknown_and_none_is_claimed_that_is_not_there(
    emulated: Callable[[int], Leaky], seed: int
) -> None:
    leaky = emulated(seed)
    while leaky.injected < FAULTS_PER_RUN:
        leaky.step()
    leaky.settle()
    leaky.check()
    leaky.end_all()
    leaky.check()


@pytest.mark.parametrize("emulated", ["lambdalabs"], indirect=True)
def test_launching_again_without_looking_first_is_noticed(
    emulated: Callable[[int], Leaky], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test can fail: one that does not look for its token, and does not sweep, leaves machines that it pays for."""
    monkeypatch.setattr(Executor, "_find", lambda _self, _provider, _token: None)
    monkeypatch.setattr(launching, "_may_turn_up", lambda _launch, _now: False)
    monkeypatch.setattr(InstanceWatch, "_sweep", lambda _self, _listed: None)
    leaky = emulated(1)
    while leaky.injected < 220:
        leaky.step()
    leaky.settle()
    with pytest.raises(AssertionError):
        leaky.check()
