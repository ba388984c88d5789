"""An hour of work is bought where it is expected to cost least, and the next best is known if that is refused."""

from dataclasses import replace

import pytest
from godwit.domain.jobs import Data, JobKind
from godwit.domain.offers import Offer
from godwit.domain.resources import GpuAsk, Infra
from godwit.scheduler import planner
from godwit.scheduler.market import expected, speeds
from godwit.scheduler.market.expected import Work
from godwit.scheduler.market.purchase import REASON_MAX, Purchase
from godwit.scheduler.plan import BuyNode, Plan
from godwit.scheduler.snapshot import Hold, Snapshot
from godwit.scheduler.trust import UNKNOWN, Record
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, job, offer, world

ON_DEMAND = offer("steady", price=20.0)
SPOT = offer("spotty", price=8.0, spot=True)


def buys(snapshot: Snapshot) -> list[BuyNode]:
    return [action for action in planner.plan(snapshot, NOW, 1).actions if isinstance(action, BuyNode)]


def bought(snapshot: Snapshot) -> list[str]:
    return [action.offer.instance_type for action in buys(snapshot)]


def micros(sold: Offer, record: Record = UNKNOWN, work: Work | None = None) -> int:
    return expected.of(sold, record, work or Work()).usd_micros


counts = st.integers(0, 1_000)
records = st.builds(
    Record, counts, counts, st.integers(1, 1_000), st.floats(0, 1e6), counts, st.floats(0, 1e6, allow_subnormal=False)
)
works = st.builds(Work, st.floats(1, 1e9), st.integers(1, 4_096), saves_every_s=st.floats(1, 1e6))


class TestArithmetic:
    """Dollars for an hour of work."""

    @pytest.mark.parametrize(
        ("nodes", "steady", "spotty"), [(1, 22.59, 9.82), (4, 22.60, 12.68), (8, 22.61, 18.19), (16, 22.62, 39.78)]
    )
    def test_the_example_of_the_page(self, nodes: int, steady: float, spotty: float) -> None:
        work = Work(nodes=nodes)
        assert [round(micros(one, UNKNOWN, work) / 1e6, 2) for one in (ON_DEMAND, SPOT)] == [steady, spotty]

    def test_what_was_seen_of_an_offer_counts_beside_what_was_thought_before(self) -> None:
        known = Record(ready=9, ready_s=9 * 240.0, hours=960.0 - 480.0, losses=0)
        one = expected.of(ON_DEMAND, known, Work(run_s=4 * 3600.0))
        assert (one.ready_s, round(one.launches, 3)) == (240.0, 0.947)
        assert one.losses_per_hour == pytest.approx(0.13 / 960)
        assert one.usd_micros == pytest.approx(20e6 * (4 * 1.00005 + 240 / 3600) / (4 * 18 / 19), rel=1e-4)

    def test_few_losses_cost_a_restart_and_half_a_checkpoint_interval_each(self) -> None:
        work = Work(run_s=100 * 3600.0)
        one = expected.of(ON_DEMAND, UNKNOWN, work)
        each_h = (one.ready_s + expected.RESTART_S + work.saves_every_s / 2) / 3600
        assert one.slowdown == pytest.approx(1 + one.losses_per_hour * each_h, rel=1e-6)

    @given(records, works, st.booleans())
    def test_it_is_a_whole_number_and_grows_with_the_price_and_the_egress(
        self, record: Record, work: Work, spot: bool
    ) -> None:
        cheap, dear = replace(ON_DEMAND, spot=spot), replace(ON_DEMAND, spot=spot, price_usd_per_hour=40.0)
        assert 20_000_000 <= micros(cheap, record, work) <= micros(dear, record, work) <= expected.MOST_MICROS
        assert micros(cheap, record, replace(work, data=(Data(Infra("aws"), 1_000.0),))) >= micros(cheap, record, work)

    @given(records, works)
    def test_what_goes_wrong_makes_it_dearer(self, record: Record, work: Work) -> None:
        for bad in ("refusals", "failures", "losses"):
            worse = replace(record, **{bad: getattr(record, bad) + 1})
            assert micros(ON_DEMAND, worse, work) >= micros(ON_DEMAND, record, work)
        assert micros(ON_DEMAND, replace(record, ready_s=record.ready_s + 1e5), work) >= micros(ON_DEMAND, record, work)

    def test_a_price_of_nothing_costs_nothing_and_an_absurd_one_stays_a_number(self) -> None:
        assert micros(replace(ON_DEMAND, price_usd_per_hour=0.0)) == 0
        assert micros(replace(ON_DEMAND, price_usd_per_hour=1e300)) == expected.MOST_MICROS

    def test_a_model_without_a_figure_is_as_slow_as_the_slowest_that_is_wanted(self) -> None:
        assert speeds.relative("RTXPRO6000", ("H100", "L4")) == pytest.approx(121 / 989)
        assert speeds.relative("RTXPRO6000", ("RTXPRO6000",)) == 1.0
        assert speeds.relative("T4", ()) == 1.0


class TestChoice:
    """What is bought."""

    def test_one_node_is_bought_on_spot_and_a_large_gang_on_demand(self) -> None:
        both = [ON_DEMAND, SPOT]
        assert bought(world(jobs=[job("a")], offers=both)) == ["spotty"]
        assert set(bought(world(jobs=[job("a", nodes=16)], offers=both))) == {"steady"}

    def test_spot_machines_that_were_never_lost_in_weeks_are_good_enough_for_a_gang(self) -> None:
        calm = {SPOT.key: Record(ready=50, ready_s=50 * 240.0, hours=5_000.0)}
        both = world(jobs=[job("a", nodes=16)], offers=[ON_DEMAND, SPOT], records=calm)
        assert set(bought(both)) == {"spotty"}

    def test_a_machine_that_takes_an_hour_to_come_is_not_bought_for_a_job_of_minutes(self) -> None:
        slow, quick = offer("slow", price=18.0), offer("quick", price=20.0)
        seen = {
            slow.key: Record(ready=99, ready_s=99 * 3600.0, hours=1e4),
            quick.key: Record(ready=99, ready_s=99 * 60.0, hours=1e4),
        }

        def for_a_run_of(run_time_s: float) -> list[str]:
            asks = job("a")
            asks = replace(asks, spec=replace(asks.spec, run_time_s=run_time_s))
            return bought(world(jobs=[asks], offers=[slow, quick], records=seen))

        assert for_a_run_of(600.0) == ["quick"]
        assert for_a_run_of(100 * 3600.0) == ["slow"]

    @pytest.mark.parametrize(
        ("kind", "price", "choice"),
        [(JobKind.TRAIN, 59.0, "h100"), (JobKind.TRAIN, 70.0, "a100"), (JobKind.DEV, 59.0, "a100")],
    )
    def test_among_models_work_is_bought_where_it_is_cheapest_and_idle_time_by_the_hour(
        self, kind: JobKind, price: float, choice: str
    ) -> None:
        a100 = offer("a100", gpu_model="A100-80GB-SXM", price=20.0)
        h100 = offer("h100", gpu_model="H100-SXM", price=price)
        asks = job("a", gpus=8)
        gpus = GpuAsk(8, ("A100", "H100"))
        spec = replace(asks.spec, kind=kind, resources=replace(asks.spec.resources, gpus=gpus))
        assert bought(world(jobs=[replace(asks, spec=spec)], offers=[a100, h100])) == [choice]

    def test_equal_offers_are_told_apart_by_name(self) -> None:
        assert bought(world(jobs=[job("a")], offers=[offer("y"), offer("x")])) == ["x"]


class TestFailover:
    """The order in which others are tried."""

    MARKET = (offer("a", price=20.0), offer("b", price=30.0), offer("c", price=25.0, provider="nebius"),
              offer("d", price=22.0, fabric_domain="f2"), offer("e", price=90.0))  # fmt: skip

    @pytest.mark.parametrize("nodes", [1, 2])
    def test_each_alternative_is_bought_when_the_ones_before_it_are_refused(self, nodes: int) -> None:
        snapshot = world(jobs=[job("j", nodes=nodes)], offers=self.MARKET)
        order: list[str] = []
        while found := buys(snapshot):
            order.append(found[0].offer.key)
            snapshot = replace(snapshot, holds=(*snapshot.holds, Hold(found[0].offer.key, NOW + 30, "refused")))
        assert [key.split("/")[3] for key in order] == ["a", "d", "c", "b", "e"]

    def test_the_reason_says_the_arithmetic_and_the_order(self) -> None:
        (one,) = buys(world(jobs=[job("j")], offers=self.MARKET))
        assert one.reason == "cheapest that completes the gang: 1 to buy at $20.00/h in all, $22.59 per hour of work"
        assert one.arithmetic == (
            "lambda/east/-/a/on-demand $22.59 per hour of work "
            "($20.00/h, ready in 4 min, 90% of launches come); if it is refused, in this order: "
            "lambda/east/-/d/on-demand $24.85 per hour of work ($22.00/h, ready in 4 min, 90% of launches come), "
            "nebius/east/-/c/on-demand $28.24 per hour of work ($25.00/h, ready in 4 min, 90% of launches come), "
            "lambda/east/-/b/on-demand $33.89 per hour of work ($30.00/h, ready in 4 min, 90% of launches come)"
        )

    def test_what_spot_costs_a_gang_is_told(self) -> None:
        (one, *_) = buys(world(jobs=[job("j", nodes=2)], offers=[SPOT]))
        assert "0.5 losses/h of the gang make it 18% longer" in one.arithmetic

    def test_a_reason_is_a_line_or_two_however_much_there_is_to_say(self) -> None:
        dear = expected.of(offer("a" * 200, price=9_999.99), UNKNOWN, Work())
        many = Purchase(("p",), (), (dear,) * 4096, recently_lost=True, saved_micros=10**9)
        assert len(many.because(many.buy[0])) <= REASON_MAX
        assert "its provider lost a node lately" in many.because(many.buy[0])


class TestTogether:
    """Several jobs at once."""

    SMALL, LARGE = offer("small", gpu_count=1, cpus=25, price=3.0), offer("large", price=20.0)

    def plan(self, count: int, *sold: Offer, gpus: int = 1) -> Plan:
        queue = [job(f"j{i}", gpus=gpus) for i in range(count)]
        return planner.plan(world(jobs=queue, offers=list(sold)), NOW, 1)

    def names(self, made: Plan) -> list[str]:
        return [action.offer.instance_type for action in made.actions if isinstance(action, BuyNode)]

    def test_eight_small_jobs_get_one_large_node_where_that_is_cheaper(self) -> None:
        made = self.plan(8, self.SMALL, self.LARGE)
        assert self.names(made) == ["large"]
        (buy,) = (action for action in made.actions if isinstance(action, BuyNode))
        assert "room for others saves $3.39/h" in buy.reason
        assert all("beside job j0" in made.refusals[f"j{i}"][0].message for i in range(1, 8))  # type: ignore[index]

    def test_few_small_jobs_get_small_nodes(self) -> None:
        assert self.names(self.plan(6, self.SMALL, self.LARGE)) == ["small"] * 6

    def test_a_queue_of_ten_gets_a_large_node_and_two_small_ones(self) -> None:
        assert sorted(self.names(self.plan(10, self.SMALL, self.LARGE))) == ["large", "small", "small"]

    def test_what_a_large_node_cannot_be_had_for_is_bought_small(self) -> None:
        assert self.names(self.plan(8, self.SMALL, replace(self.LARGE, capacity=0))) == ["small"] * 8
