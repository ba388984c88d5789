"""Whatever happens in whatever order, a simulated cloud's books stay right."""

import json
import math
import random
from typing import Any

import pytest
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.vendor import Refused
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from tests.providers.clouds import LARGE, SMALL, make, order


class Trade(RuleBasedStateMachine):
    """Anything may happen in any order; the books stay right."""

    rented = Bundle("rented")

    def __init__(self) -> None:
        super().__init__()
        self.cloud, self.clock, self.machines = make(known_max=3)
        self.by_token: dict[str, str] = {}
        self.bill_usd = 0.0

    @rule(target=rented, token=st.sampled_from("abcdef"), large=st.booleans(), spot=st.booleans())
    def launch(self, token: str, large: bool, spot: bool) -> Any:
        known = {r["token"]: r["id"] for r in self.cloud.to_json()["rentals"]}
        try:
            instance_id = self.cloud.launch(order(token, LARGE if large else SMALL, spot=spot))["id"]
        except Refused as refused:
            _expect(refused, "no_capacity", "no_such_type", "token_mismatch")
            return multiple()
        if token in known:
            assert instance_id == known[token], "a known token answers its own machine"
        return instance_id

    @rule(seconds=st.floats(min_value=0, max_value=500))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.cloud.tick()

    @rule(instance_id=rented)
    def terminate(self, instance_id: str) -> None:
        self._tolerantly(lambda: self.cloud.terminate(instance_id))

    @rule(instance_id=rented)
    def lose(self, instance_id: str) -> None:
        self._tolerantly(lambda: self.cloud.lose(instance_id))

    @rule(instance_id=rented)
    def crash(self, instance_id: str) -> None:
        if instance_id in self.machines.up:
            self.machines.crash(instance_id)

    @rule(instance_id=rented, after_s=st.floats(min_value=0, max_value=200))
    def notice(self, instance_id: str, after_s: float) -> None:
        self._tolerantly(lambda: self.cloud.give_notice(instance_id, after_s))

    @rule()
    def restart(self) -> None:
        stored = json.loads(json.dumps(self.cloud.to_json()))
        self.cloud = Cloud(self.cloud.settings, self.clock, random.Random(3), self.machines)
        self.cloud.load(stored)

    def _tolerantly(self, act: Any) -> None:
        try:
            act()
        except Refused as refused:
            _expect(refused, "no_such_instance", "not_spot")

    @invariant()
    def capacity_is_never_negative_nor_exceeded(self) -> None:
        for offer in self.cloud.offers():
            shape = SMALL if offer["instance_type"] == SMALL.instance_type else LARGE
            assert 0 <= offer["available"] <= shape.capacity

    @invariant()
    def the_bill_is_the_sum_of_the_meters_and_never_shrinks(self) -> None:
        bill = self.cloud.billing()
        meters = math.fsum(m["usd"] for m in bill["meters"])
        forgotten = self.cloud.to_json()["forgotten_usd"]
        assert bill["total_usd"] == pytest.approx(meters + forgotten)
        assert bill["total_usd"] >= self.bill_usd - 1e-9
        self.bill_usd = bill["total_usd"]

    @invariant()
    def a_machine_is_up_exactly_while_it_is_said_to_run_or_power_was_not_yet_taken(self) -> None:
        self.cloud.tick()
        assert set(self.machines.up) == set(self.cloud.running())

    @invariant()
    def live_machines_have_addresses_of_their_own(self) -> None:
        live = [r for r in self.cloud.to_json()["rentals"] if r["ended_at"] is None]
        assert len({r["number"] for r in live}) == len(live)

    @invariant()
    def no_machine_boots_twice(self) -> None:
        assert len(set(self.machines.boots)) == len(self.machines.boots)


def _expect(refused: Refused, *codes: str) -> None:
    if refused.code not in codes:
        raise refused


TestTrade = Trade.TestCase
TestTrade.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
