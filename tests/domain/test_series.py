"""Series stay small and keep their shape, however long something tells of itself."""

from godwit.domain.series import FIELDS_MAX, Bounds, Series, appended
from hypothesis import given
from hypothesis import strategies as st

SMALL = Bounds(8, 1.0)


def grown(instants: list[float], bounds: Bounds = SMALL) -> Series:
    series = Series()
    for at in instants:
        series = appended(series, at, {"x": at}, bounds)
    return series


@given(st.lists(st.floats(0, 1e6), max_size=200).map(sorted))
def test_it_never_holds_more_than_its_bound_and_its_points_are_apart(instants: list[float]) -> None:
    series = grown(instants)
    assert len(series.at) <= SMALL.points_max
    assert all(len(column) == len(series.at) for column in series.fields.values())
    assert all(later - earlier >= 1.0 for earlier, later in zip(series.at, series.at[1:], strict=False))
    assert series.fields.get("x", ()) == series.at


@given(st.integers(1, 3_000))
def test_it_covers_all_of_the_time_with_even_steps(count: int) -> None:
    series = grown([float(n) for n in range(count)])
    assert series.at[0] < series.gap_s
    assert count - 1 - series.at[-1] < 2 * series.gap_s
    assert {later - earlier for earlier, later in zip(series.at, series.at[1:], strict=False)} <= {series.gap_s}
    assert series.gap_s <= max(1.0, count / SMALL.points_max * 4)


def test_a_point_that_comes_too_soon_changes_nothing() -> None:
    series = grown([0.0, 5.0])
    assert appended(series, 5.5, {"x": 1.0}, SMALL) == series


def test_what_is_older_than_its_span_is_forgotten() -> None:
    series = grown([0.0, 10.0, 20.0, 31.0], Bounds(100, 1.0, 20.0))
    assert series.at == (20.0, 31.0)


def test_a_figure_that_comes_later_or_is_left_out_is_none_elsewhere() -> None:
    series = appended(appended(Series(), 0.0, {"a": 1.0}, SMALL), 1.0, {"b": 2.0}, SMALL)
    assert series.fields == {"a": (1.0, None), "b": (None, 2.0)}


def test_names_that_a_program_makes_up_are_bounded() -> None:
    series = Series()
    for n in range(100):
        series = appended(series, float(n), {f"m{n}": 0.0}, Bounds(200, 1.0))
    assert len(series.fields) == FIELDS_MAX
