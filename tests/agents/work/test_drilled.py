"""Fire drills of programs: what befalls the processes of an attempt, and whom it spares."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from godwit.agents.accelerators import faults
from godwit.agents.accelerators.faults import WorkFault
from godwit.agents.checks.work.drilled import STOPPED_OF, Drilled
from godwit.agents.checks.work.losses import LossWatch
from godwit.agents.checks.work.reports import Reader
from godwit.agents.progress import ProgressReader
from godwit.domain.drills import OF_THE_WORK

from tests.agents.conftest import eventually

LATER = time.time() + 3_600.0


@pytest.fixture
def ranks(tmp_path: Path) -> Iterator[list[psutil.Process]]:
    """Three ranks of a program on this node; the run folder of their attempt is `tmp_path`."""
    started = [_rank(tmp_path, rank) for rank in range(3)]
    yield [psutil.Process(one.pid) for one in started]
    for one in started:
        one.kill()
        one.wait()


def _rank(run: Path, rank: int) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "GODWIT_RUN_DIR": str(run), "RANK": str(rank)}
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], env=environment)


def stopped(ranks: list[psutil.Process]) -> list[int]:
    return [number for number, one in enumerate(ranks) if one.status() == psutil.STATUS_STOPPED]


def test_a_hang_stops_the_last_rank_or_the_one_that_is_named_until_it_is_mended(
    ranks: list[psutil.Process], tmp_path: Path
) -> None:
    now = [WorkFault("hang", None, LATER)]
    drilled = Drilled(tmp_path, None, lambda: now)
    drilled.look()
    eventually(lambda: stopped(ranks) == [2], 120)
    now[:] = [WorkFault("hang", 0, LATER)]
    drilled.look()
    eventually(lambda: stopped(ranks) == [0], 120)
    now.clear()
    drilled.look()
    eventually(lambda: stopped(ranks) == [], 120)


def test_a_straggler_stands_still_most_of_the_time_and_not_all_of_it(
    ranks: list[psutil.Process], tmp_path: Path
) -> None:
    drilled = Drilled(tmp_path, None, lambda: [WorkFault("straggler", 1, LATER)])
    still, of = STOPPED_OF
    seen = []
    for _ in range(of):
        drilled.look()
        wanted = [1] if len(drilled._stopped) else []
        eventually(lambda wanted=wanted: stopped(ranks) == wanted, 120)  # type: ignore[misc]
        seen.append(bool(wanted))
    assert seen.count(True) == still


def test_who_starts_after_a_drill_is_spared(ranks: list[psutil.Process], tmp_path: Path) -> None:
    earlier = min(one.create_time() for one in ranks) - 60.0
    drilled = Drilled(tmp_path, None, lambda: [WorkFault("hang", None, earlier)])
    drilled.look()
    assert stopped(ranks) == []


def test_a_process_that_has_ended_meanwhile_is_no_trouble(ranks: list[psutil.Process], tmp_path: Path) -> None:
    now = [WorkFault("hang", 2, LATER)]
    drilled = Drilled(tmp_path, None, lambda: now)
    drilled.look()
    ranks[2].kill()
    eventually(lambda: not ranks[2].is_running() or ranks[2].status() == psutil.STATUS_ZOMBIE, 120)
    now.clear()
    drilled.look()


def test_a_loss_that_is_no_number_is_reported_once_as_the_program_would(tmp_path: Path) -> None:
    helper = tmp_path / "progress.jsonl"
    drilled = Drilled(tmp_path, None, lambda: [WorkFault("loss-nan", None, LATER)])
    drilled.look()
    assert not helper.exists()
    helper.write_text(json.dumps({"at": 1.0, "step": 7, "total_steps": 9, "metrics": {"loss": 0.5}, "rank": 0}) + "\n")
    drilled.look()
    drilled.look()
    told, watch = list(Reader(tmp_path, None).new()), LossWatch()
    assert [one.step for one in told] == [7, 7]
    assert [watch.saw(one.loss) for one in told] == [None, "loss:nan"]
    progress = ProgressReader(tmp_path, "att-1").newest()
    assert progress is not None
    assert (progress.step, progress.metrics) == (7, {})


def test_a_program_that_only_prints_its_steps_is_drilled_in_its_output(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text("")
    reader = Reader(tmp_path, output)
    output.write_text("step=4 loss=0.5\n")
    drilled = Drilled(tmp_path, output, lambda: [WorkFault("loss-nan", None, LATER)])
    drilled.look()
    first, second = reader.new()
    assert (first.step, second.step, str(second.loss)) == (4, 4, "nan")


def test_an_agent_that_starts_again_does_not_repeat_what_it_has_said(tmp_path: Path) -> None:
    (tmp_path / "progress.jsonl").write_text('{"at": 1.0, "step": 7}\n')
    Drilled(tmp_path, None, lambda: [WorkFault("loss-nan", None, time.time() - 60.0)]).look()
    assert (tmp_path / "progress.jsonl").read_text() == '{"at": 1.0, "step": 7}\n'


def test_what_is_dropped_for_a_program_is_kept_until_it_is_mended_and_touches_no_gpu(tmp_path: Path) -> None:
    faults.lay_out(tmp_path)
    for kind in OF_THE_WORK:
        (tmp_path / "faults" / f"{kind}.json").write_text(json.dumps({"fault": kind, "gpu": 1}))
    faults.take_dropped(tmp_path)
    assert {(one.kind, one.process) for one in faults.of_work(tmp_path)} == {(kind, 1) for kind in OF_THE_WORK}
    assert set(faults.active(tmp_path)) == {faults.WORK}
    assert not any(faults.overlays(tmp_path).values())
    faults.boot(tmp_path)
    assert len(faults.of_work(tmp_path)) == len(OF_THE_WORK)
    faults.mend(tmp_path)
    assert faults.of_work(tmp_path) == []
