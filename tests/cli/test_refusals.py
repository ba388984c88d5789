"""A person reads each reason once, however many offers share it."""

from godwit.cli import refusals
from godwit.domain.wire.views import RefusalView

NOW = 1000.0


def _refusal(subject: str, message: str = "has no H100 left", retry_at: float | None = None) -> RefusalView:
    return RefusalView(code="no-capacity", subject=subject, message=message, would_help="wait", retry_at=retry_at)


def test_offers_that_share_a_reason_share_a_line_with_the_earliest_next_try() -> None:
    said = [_refusal("sim-a/x/-/h100/spot", retry_at=1030), _refusal("sim-a/y/-/h100/spot", retry_at=1012)]
    said.append(_refusal("sim-b/z/-/h100/spot"))
    assert refusals.told(said, NOW) == [
        "sim-a (2 offers), sim-b: has no H100 left (asked again in 12s); would help: wait"
    ]


def test_a_reason_of_one_offer_names_it_whole() -> None:
    assert refusals.told([_refusal("sim-a/x/-/h100/spot")], NOW)[0].startswith("sim-a/x/-/h100/spot: has no")


def test_reasons_keep_the_planners_order_and_have_a_bound() -> None:
    told = refusals.told([_refusal("sim-a", f"reason {number}") for number in range(20)], NOW)
    assert told[0].startswith("sim-a: reason 0")
    assert len(told) == refusals.REASONS_SHOWN_MAX + 1
    assert told[-1].startswith("... and 8 more reasons")
