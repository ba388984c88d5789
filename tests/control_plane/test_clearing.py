"""A disk is cleared of what was kept for long enough, and of nothing that anybody needs."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from godwit.control_plane.clearing import Cleared, Clearing
from godwit.control_plane.keeping import DAY_S, Keeping, read
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.services.logs import LogStore
from godwit.domain.errors import InvalidRequest

from tests.control_plane.world import World


class Disk:
    """What lies on a control plane's disk, with the times at which it was last used."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.shelf, self.logs = Shelf(folder / "archives"), LogStore(folder / "logs")

    def upload(self, content: bytes, days: float) -> str:
        async def sent() -> AsyncIterator[bytes]:
            yield content

        digest = hashlib.sha256(content).hexdigest()
        asyncio.run(self.shelf.put(digest, sent()))
        self.age(self.folder / "archives" / f"{digest}.tar.gz", days)
        return digest

    def write(self, job_id: str, epoch: int, days: float) -> None:
        self.logs.append(job_id, epoch, 0, b"output")
        self.age(self.folder / "logs" / job_id / f"{epoch}.log", days)

    def age(self, path: Path, days: float) -> None:
        then = self.world.clock.now() - days * DAY_S
        os.utime(path, (then, then))

    def clear(self, keeping: Keeping = Keeping()) -> Cleared:  # noqa: B008 - frozen
        return Clearing(self.world.context, self.shelf, self.logs, keeping).step()


@pytest.fixture
def disk(embedded: World, tmp_path: Path) -> Disk:
    """An empty one."""
    return Disk(embedded, tmp_path / "disk")


def test_output_goes_ninety_days_after_its_last_line_and_that_of_a_job_that_goes_on_stays(disk: Disk) -> None:
    running = disk.world.submit("runs")
    for job_id, days in (("job-old", 91), ("job-young", 89), (running, 400)):
        disk.write(job_id, 1, days)
    disk.write("job-old", 2, 90.5)
    disk.write("job-retried", 1, 200)
    disk.write("job-retried", 2, 1)
    assert disk.clear() == Cleared(jobs=1, size_bytes=12)
    assert [disk.logs.epochs(job) for job in ("job-old", "job-young", "job-retried", running)] == [[], [1], [1, 2], [1]]
    assert disk.clear() == Cleared(), "twice is once"


def test_a_job_that_is_over_keeps_its_output_for_its_time_and_no_longer(disk: Disk) -> None:
    job_id = disk.world.submit("runs")
    disk.write(job_id, 1, 91)
    assert disk.clear() == Cleared()
    disk.world.cancel(job_id)
    assert disk.clear() == Cleared(jobs=1, size_bytes=6)


def test_a_workdir_goes_thirty_days_after_its_last_use_unless_a_job_needs_it(disk: Disk) -> None:
    old, young, needed = disk.upload(b"old", 31), disk.upload(b"young", 29), disk.upload(b"needed", 400)
    disk.world.shelf = disk.shelf
    disk.world.submit("runs", workdir_digest=needed)
    disk.age(disk.shelf.path(needed), 400)
    assert disk.clear() == Cleared(archives=1, size_bytes=3)
    assert [disk.shelf.has(digest) for digest in (old, young, needed)] == [False, True, True]


def test_who_asks_for_a_workdir_may_use_it_as_long_as_a_new_one(disk: Disk) -> None:
    """A submitter that is told that its workdir is there does not send it again."""
    digest = disk.upload(b"old", 400)
    assert disk.shelf.has(digest)
    assert disk.clear() == Cleared()


def test_an_upload_that_was_broken_off_by_the_end_of_a_process_goes_too(disk: Disk) -> None:
    left = disk.folder / "archives" / ".abc.17.ff"
    left.write_bytes(b"half")
    assert disk.clear() == Cleared()
    disk.age(left, 31)
    assert disk.clear() == Cleared(archives=1, size_bytes=4)


def test_what_is_to_be_kept_for_ever_is(disk: Disk) -> None:
    digest = disk.upload(b"old", 4_000)
    disk.write("job-old", 1, 4_000)
    assert disk.clear(Keeping(logs_days=0, archives_days=0)) == Cleared()
    assert disk.logs.epochs("job-old") == [1]
    assert disk.shelf.has(digest)


def test_days_may_be_set_each(tmp_path: Path) -> None:
    assert read(None, tmp_path) == Keeping(90, 30)
    assert read({"logs_days": 0.5}, tmp_path) == Keeping(0.5, 30)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        pytest.param([], "keeping must hold keys and days, such as {logs_days: 90}, not []", id="a list"),
        pytest.param({"log_days": 1}, "no key is called 'log_days' in keeping; did you mean logs_days?", id="a slip"),
        pytest.param({"logs_days": -1}, "keeping.logs_days must be days from 0 to 36500, not -1", id="before today"),
        pytest.param({"logs_days": True}, "keeping.logs_days must be days from 0 to 36500, not True", id="a yes"),
        pytest.param({"archives_days": "30d"}, "must be days from 0 to 36500, not '30d'", id="a unit"),
    ],
)
def test_what_makes_no_sense_is_said(tmp_path: Path, section: object, told: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read(section, tmp_path)
    assert told in str(refused.value)
