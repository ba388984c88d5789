"""The Philly replay holds the window that it says it holds, and its quick mode prints every row."""

from benchmarks import philly
from benchmarks.philly import measurement


def test_the_window_of_28_days_holds_46_070_jobs() -> None:
    jobs = measurement.submitted(28.0, 28.0)
    assert len(jobs) == 46_070
    assert sum(job.gpus > 8 for job in jobs) == sum(job.nodes > 1 for job in jobs)
    load = sum(job.gpus * job.duration_s for job in jobs) / (28 * measurement.DAY_S)
    assert round(load / (72 * 8), 2) == 1.04


def test_a_quick_look_has_all_rows() -> None:
    figures = list(philly.measure(days=0.5))
    assert len(figures) == 12
    assert sum(figure.goal is not None for figure in figures) == 6
    assert all(figure.verdict in ("yes", "") for figure in figures)
