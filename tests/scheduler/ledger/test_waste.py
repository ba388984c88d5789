"""Money that bought no work, and budgets."""

import pytest
from godwit.scheduler.ledger.budgets import STOP, STOP_NEW, WARN, Budget, month_of, to_tell
from godwit.scheduler.ledger.uses import How, Use
from godwit.scheduler.ledger.waste import SHOWN, Habits, Spent, lost

HABITS = Habits(idle_after_s=300.0, kept_nodes=2)


def test_each_kind_of_loss_says_what_would_have_avoided_it() -> None:
    spent = [
        Spent(Use.BUSY, How.PLAIN, "aws", "train", 9_000.0, 90.0),
        Spent(Use.IDLE, How.PLAIN, "aws", "", 3_600.0, 30.0),
        Spent(Use.IDLE, How.PLAIN, "aws", "", 3_600.0, 10.0),
        Spent(Use.IDLE, How.BESIDE, "aws", "", 1_800.0, 20.0),
        Spent(Use.BROKEN, How.LOST, "lambda", "train", 60.0, 5.0),
        Spent(Use.RECOVERING, How.BOOT, "lambda", "train", 60.0, 4.0),
        Spent(Use.HELD, How.UNUSED, "aws", "desk", 60.0, 3.0),
    ]
    found = lost(spent, HABITS)
    assert [(row.kind, row.subject, row.usd) for row in found] == [
        ("idle", "aws", 40.0), ("fragmentation", "aws", 20.0), ("broken", "lambda", 5.0), ("recovering", "train", 4.0),
        ("held", "desk", 3.0),
    ]  # fmt: skip
    assert "300 s" in found[0].would_avoid
    assert "2 nodes" in found[0].would_avoid
    assert "idle_after" in found[-1].would_avoid


def test_no_loss_is_left_out_and_none_counts_twice() -> None:
    spent = [Spent(Use.RECOVERING, How.PLAIN, "aws", f"job{n}", 1.0, float(n)) for n in range(1, 31)]
    found = lost(spent, HABITS)
    assert len(found) == SHOWN + 1
    assert sum(row.usd for row in found) == sum(one.usd for one in spent)


def test_a_budget_is_told_of_once_at_each_share() -> None:
    budget = Budget("project", "ml", 100.0, 85.0, 0.0)
    assert to_tell(budget, []) == [0.5, 0.8]
    assert to_tell(budget, [0.5, 0.8]) == []
    assert budget.told(0.8) == "80% of the budget of project ml, this month is spent: $85.00 of $100.00"


@pytest.mark.parametrize(
    ("on_spent", "new", "running"), [(WARN, False, False), (STOP_NEW, True, False), (STOP, True, True)]
)
def test_what_a_spent_budget_stops_is_its_owners_choice(on_spent: str, new: bool, running: bool) -> None:
    budget = Budget("project", "ml", 100.0, 100.0, 0.0, on_spent)
    assert (budget.stops_new, budget.stops_all) == (new, running)
    assert not Budget("project", "ml", 100.0, 99.0, 0.0, on_spent).stops_new


def test_when_a_budget_is_spent_is_told_by_the_pace_of_now() -> None:
    assert Budget("job", "j", 100.0, 40.0, 0.0, usd_per_hour=20.0).ends_at(1_000.0) == 1_000.0 + 3 * 3_600
    assert Budget("job", "j", 100.0, 40.0, 0.0).ends_at(1_000.0) is None


def test_a_month_begins_on_its_first_day_in_utc() -> None:
    assert month_of(1_763_740_800.0) == 1_761_955_200.0  # 2025-11-21 16:00 -> 2025-11-01 00:00
