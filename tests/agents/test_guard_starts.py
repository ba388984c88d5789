"""How a step starts: in its turn among those of its machine, and again if it was only late."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.runtime import guard
from godwit.agents.runtime.custody import Custody
from godwit.agents.runtime.folder import AttemptFolder, ExitRecord
from godwit.agents.runtime.turns import Turn

LATE = "the node timed out during startup"


@pytest.fixture(name="begin")
def _begin(tmp_path: Path) -> Iterator[Callable[..., Custody]]:
    begun: list[Custody] = []

    def begin(name: str, *scripts: str, **starts: Any) -> Custody:
        folder = AttemptFolder(tmp_path, name)
        folder.make()
        (tmp_path / name).touch()
        guard.write_whole(tmp_path / "lease", f"{guard.boottime_s() + 120.0} boot")
        steps: list[dict[str, Any]] = [
            {"name": f"step-{i}", "argv": ["sh", "-c", script], "cwd": str(tmp_path), "log": str(tmp_path / name)}
            for i, script in enumerate(scripts)
        ]
        steps[-1]["starts"] = {"late": "timed out during startup", "again_after_s": [0.2, 0.1], **starts}
        begun.append(Custody(folder, tmp_path / "lease"))
        begun[-1].start(steps, {**os.environ, "GODWIT_RUN_DIR": str(folder.run)})
        return begun[-1]

    yield begin
    for custody in begun:
        custody.stop(0.0)


@pytest.mark.parametrize(
    ("program", "code", "tries"),
    [
        pytest.param("exit 0", 0, 1, id="it ran, and is over"),
        pytest.param("echo no such flag; exit 2", 2, 1, id="it failed otherwise"),
        pytest.param(f"[ $tries = 2 ] && exit 0; echo '{LATE}'; exit 1", 0, 2, id="it was late once"),
        pytest.param(
            f"[ $tries = 2 ] && exit 7; echo '{LATE}'; exit 1", 7, 2, id="it was late, then ran until it died"
        ),
        pytest.param(f"echo '{LATE}'; exit 1", 1, 3, id="it is late each time"),
    ],
)
def test_what_was_late_is_tried_three_times_and_its_last_word_counts(
    begin: Callable[..., Custody], tmp_path: Path, eventually: Callable[..., Any], program: str, code: int, tries: int
) -> None:
    counted = f"echo >>{tmp_path}/tries; tries=$(wc -l <{tmp_path}/tries); {program}"
    assert eventually(begin("att-1", counted).ended) == ExitRecord("ended", "step-0", code)
    assert len((tmp_path / "tries").read_text()) == tries


def test_what_another_said_in_the_same_log_is_no_reason(
    begin: Callable[..., Custody], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    (tmp_path / "att-1").write_text(f"{LATE}\n")
    assert eventually(begin("att-1", f"echo >>{tmp_path}/tries; exit 1").ended).exit_code == 1
    assert len((tmp_path / "tries").read_text()) == 1


def test_what_a_late_start_left_is_gone_before_the_next_and_what_set_up_left_is_not(
    begin: Callable[..., Custody], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    set_up = f"sh -c 'while :; do sleep 0.1; done' & echo $! >{tmp_path}/daemon"
    alive = "for pid in $(cat left daemon); do kill -0 $pid 2>/dev/null && echo alive $pid; done"
    late = f"[ -e left ] && {{ {alive}; exit 0; }}; setsid sleep 300 & echo $! >left; echo '{LATE}'; exit 1"
    assert eventually(begin("att-1", set_up, late).ended).exit_code == 0
    said = (tmp_path / "att-1").read_text().splitlines()
    assert said == [LATE, f"alive {(tmp_path / 'daemon').read_text().strip()}"]


def test_a_stop_ends_the_pause_before_the_next_try(
    begin: Callable[..., Custody], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    custody = begin("att-1", f"echo '{LATE}'; exit 1", again_after_s=[100.0])
    eventually(lambda: LATE in (tmp_path / "att-1").read_text())
    custody.stop(0.0)
    assert eventually(custody.ended, 10).cause == "stopped"


def test_one_starts_at_a_time_until_it_is_up(
    begin: Callable[..., Custody], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    turn = {"turn": str(tmp_path / "turn"), "up": "up and running"}
    first = "echo begins; while [ ! -e go ]; do sleep 0.05; done; echo up and running; exec sleep 300"
    begin("att-1", first, **turn)
    eventually(lambda: "begins" in (tmp_path / "att-1").read_text())
    second = begin("att-2", "[ -e go ] && echo after", **turn)
    with Turn(turn["turn"]) as asked:
        assert not asked.taken()
    assert second.ended() is None

    (tmp_path / "go").touch()
    assert eventually(second.ended).exit_code == 0
    assert (tmp_path / "att-2").read_text() == "after\n"


def test_a_turn_ends_with_its_holder(
    begin: Callable[..., Custody], tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    turn = {"turn": str(tmp_path / "turn"), "up": "up and running"}
    first = begin("att-1", "echo begins; exec sleep 300", **turn)
    eventually(lambda: "begins" in (tmp_path / "att-1").read_text())
    second = begin("att-2", "echo after", **turn)
    first.stop(0.0)
    assert eventually(second.ended).exit_code == 0


def test_who_cannot_have_a_turn_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "turn").symlink_to(tmp_path / "elsewhere")
    with Turn(str(tmp_path / "turn")) as turn:
        assert turn.taken()
        assert not turn.held
