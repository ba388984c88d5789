"""Real programs in real rooms, saved by CRIU and restored in another attempt's folder."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.process import leading
from godwit.domain.wire.agents import Peer, StartAttempt
from godwit.domain.wire.saving import Saving

from tests.criu import FOUND, needs_criu

pytestmark = needs_criu

COUNTER = """
i=0
exec 3>numbers
until [ -e ENOUGH ]; do i=$((i+1)); echo $i; echo $i >&3; sleep 0.02; done
"""
"""Holds a file of its workdir open, and always has a child that has just begun or ended."""


class Boxes:
    """Boxes on one machine, as guards would run them."""

    def __init__(self, folder: Path) -> None:
        self.enough, self._folder = folder / "enough", folder
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, restored: Path | None = None, criu: tuple[str, ...] = FOUND.criu) -> AttemptFolder:
        """A program begins, or goes on from a saved entry."""
        folder = AttemptFolder(self._folder, name)
        folder.make()
        folder.output.touch()
        if restored is not None:
            (folder.run / "restored").write_text(str(self.brought(folder, restored)))
        command = _command(name, COUNTER.replace("ENOUGH", str(self.enough)))
        leading.prepare(command, folder, criu)
        (step,) = leading.steps(command, folder)
        with (folder.root / "box.log").open("wb") as log:
            self._running.append(
                subprocess.Popen(step["argv"], stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
            )
        return folder

    def brought(self, folder: AttemptFolder, entry: Path) -> Path:
        """An entry, copied where this attempt looks for it."""
        return Path(shutil.copytree(entry, folder.checkpoints / entry.name))

    def leave(self) -> int:
        """Tell the last one to go; returns its exit code."""
        self._running[-1].send_signal(signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        """Wait for the last one's end."""
        return self._running[-1].wait(120)

    def close(self) -> None:
        """End all."""
        for box in self._running:
            box.kill()
            box.wait(60)


def _command(name: str, run: str) -> StartAttempt:
    return StartAttempt(
        intent_id="i", job_id="job", job_name="job", attempt_id=name, epoch=1, rank=0, port=0, ray_token="", run=run,
        peers=[Peer(rank=0, node_id="n", address="127.0.0.1")], gpus=[], setup=None, workdir_digest=None, env={},
        store="", saving=Saving(interval_s=0.5), process_saves=True,
    )  # fmt: skip


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[Boxes]:
    """Boxes that end with the test."""
    made = Boxes(tmp_path)
    yield made
    made.close()


def _numbers(folder: AttemptFolder) -> list[int]:
    return [int(line) for line in folder.output.read_text().splitlines() if line.isdigit()]


def _saved(folder: AttemptFolder) -> list[Path]:
    entries = [path for path in folder.checkpoints.glob("process-*") if path.suffix == ""]
    return sorted(entries, key=lambda path: int(path.name.partition("-")[2]))


def _until(what: str, look: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not look():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)


def test_a_program_goes_on_elsewhere_with_its_open_files_and_no_number_is_lost_or_said_twice(boxes: Boxes) -> None:
    there = boxes.start("there")
    _until("a save at the cadence", lambda: _saved(there))
    assert boxes.leave() == 143
    here = boxes.start("here", restored=_saved(there)[-1])
    _until("more numbers", lambda: len(_numbers(here)) > 20)
    boxes.enough.touch()
    assert boxes.end() == 0
    numbers = _numbers(there) + _numbers(here)
    assert numbers == list(range(1, len(numbers) + 1))
    written = [int(line) for line in (here.workdir / "numbers").read_text().splitlines()]
    assert written == numbers


def test_a_save_that_cannot_be_restored_here_gives_way_to_the_one_before_and_in_the_end_to_none(boxes: Boxes) -> None:
    there = boxes.start("there")
    _until("two saves", lambda: len(_saved(there)) == 2)
    boxes.leave()
    before, last = _saved(there)
    (last / "images" / "inventory.img").write_bytes(b"of another world")
    here = boxes.start("here", restored=last)
    _until("its refusal", (here.run / "refused.json").exists)
    assert json.loads((here.run / "refused.json").read_text())["entry"] == last.name
    (here.run / "older.json").write_text(json.dumps({"than": last.name, "entry": str(boxes.brought(here, before))}))
    _until("its numbers", lambda: _numbers(here))
    assert _numbers(here)[0] > 1
    assert f"{last.name} cannot be restored on this node" in here.output.read_text()
    boxes.leave()
    anew = boxes.start("anew", restored=last)
    _until("its refusal", (anew.run / "refused.json").exists)
    (anew.run / "older.json").write_text(json.dumps({"than": last.name, "entry": ""}))
    _until("its numbers", lambda: _numbers(anew))
    assert _numbers(anew)[0] == 1
    assert "the program starts anew" in anew.output.read_text()


def test_a_program_that_cannot_be_saved_runs_on_is_told_of_and_hears_that_it_is_to_go(
    boxes: Boxes, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.sh"
    broken.write_text('#!/bin/sh\n[ "$1" = dump ] && { echo "no such luck"; exit 1; }\n')
    broken.write_text(broken.read_text() + f'exec {shlex.join(FOUND.criu)} "$@"\n')
    broken.chmod(0o755)
    there = boxes.start("there", criu=(str(broken),))
    _until("what is told", lambda: "cannot be saved now and runs on" in there.output.read_text())
    so_far = len(_numbers(there))
    _until("more numbers", lambda: len(_numbers(there)) > so_far)
    assert boxes.leave() == 143  # as a shell ends by SIGTERM
    assert _saved(there) == []
    assert there.output.read_text().count("no such luck") == 1
