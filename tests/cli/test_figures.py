"""Numbers as people read them."""

import pytest
from godwit.cli import figures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (4.21, "4.2s"), (42, "42s"), (60, "1m"), (185, "3m 5s"), (7440, "2h 4m"), (266_400, "3d 2h")],
)
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "now"), (3, "3s ago"), (200, "3m ago"), (90_000, "1d ago")])
def test_ago_has_one_unit(seconds: float, text: str) -> None:
    assert figures.ago(1000.0, 1000.0 + seconds) == text


def test_an_age_leaves_the_word_to_the_title_of_its_column() -> None:
    assert [figures.age(at, 1000.0) for at in (None, 1000.0, 800.0)] == ["-", "now", "3m"]


def test_what_never_happened_is_never() -> None:
    assert figures.ago(None, 1000.0) == "never"


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (0.0042, "$0.0042"), (-0.18, "-$0.18"), (1234, "$1,234.00")]
)
def test_small_amounts_keep_the_digits_that_matter(amount: float, text: str) -> None:
    assert figures.usd(amount) == text


def test_prices_are_per_hour() -> None:
    assert figures.usd_per_hour(2.1) == "$2.10/h"


@pytest.mark.parametrize(("size_bytes", "text"), [(512, "512 B"), (3_565_158, "3.4 MiB"), (2 << 30, "2.0 GiB")])
def test_sizes_are_binary(size_bytes: int, text: str) -> None:
    assert figures.size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "told"), [(None, "-"), (0.0, "0ms"), (0.0354, "35ms"), (0.9996, "1.0s"), (1.25, "1.2s"), (185, "3m 5s")]
)
def test_a_latency_is_in_the_unit_that_one_thinks_in(seconds: float | None, told: str) -> None:
    assert figures.latency(seconds) == told
