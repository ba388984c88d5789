"""Trust is learned from what happened, and a price counts by the work that it buys."""

from godwit.scheduler import planner
from godwit.scheduler.plan import BuyNode
from godwit.scheduler.trust import UNKNOWN, Record
from hypothesis import given
from hypothesis import strategies as st

from tests.scheduler.fleets import NOW, job, offer, world

counts = st.integers(0, 10_000)
hours = st.floats(0, 1e6)


def records() -> st.SearchStrategy[Record]:
    return st.builds(Record, refusals=counts, failures=counts, ready=counts, losses=counts, hours=hours)


def test_an_offer_that_was_never_tried_scores_nine_tenths() -> None:
    assert round(UNKNOWN.score, 3) == 0.9


@given(records())
def test_a_score_is_a_share(record: Record) -> None:
    assert 0 < record.score < 1


@given(records())
def test_what_goes_well_adds_trust_and_what_goes_wrong_takes_some(record: Record) -> None:
    fields = vars(record)
    assert Record(**{**fields, "ready": record.ready + 1}).score > record.score
    for bad in ("refusals", "failures", "losses"):
        assert Record(**{**fields, bad: fields[bad] + 1}).score < record.score


def test_a_dearer_offer_that_works_is_bought_before_a_cheaper_one_that_refuses() -> None:
    cheap, sound = offer(price=20.0), offer(provider="nebius", price=22.0)
    market = world(jobs=[job("a")], offers=[cheap, sound], records={cheap.key: Record(refusals=5)})
    (bought,) = (a for a in planner.plan(market, NOW, 1).actions if isinstance(a, BuyNode))
    assert bought.offer == sound
