"""Unpacking a workdir: what a stranger packed may not leave its folder."""

import io
import tarfile
from pathlib import Path

import pytest
from godwit.agents.runtime import workdir
from godwit.agents.runtime.workdir import WorkdirRefused


def archive(tmp_path: Path, *members: tarfile.TarInfo) -> Path:
    path = tmp_path / "workdir.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, size: int = 1, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode = size, kind, link, 0o755
    return info


def test_files_and_folders_and_inner_links_arrive(tmp_path: Path) -> None:
    members = member("a/train.py"), member("a/link", 0, tarfile.SYMTYPE, "train.py")
    workdir.unpack(archive(tmp_path, *members), tmp_path / "out")
    assert (tmp_path / "out" / "a" / "link").read_bytes() == b"x"


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("a/../../outside"),
        member("link", 0, tarfile.SYMTYPE, "/etc/passwd"),
        member("link", 0, tarfile.SYMTYPE, "../../outside"),
        member("hard", 0, tarfile.LNKTYPE, "../outside"),
        member("device", 0, tarfile.CHRTYPE),
        member("pipe", 0, tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_what_would_leave_the_folder_or_is_no_file_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    with pytest.raises(WorkdirRefused):
        workdir.unpack(archive(tmp_path, bad), tmp_path / "out")
    assert not (tmp_path / "outside").exists()


def test_an_absolute_path_stays_inside(tmp_path: Path) -> None:
    workdir.unpack(archive(tmp_path, member("/etc/cron.d/evil")), tmp_path / "out")
    assert (tmp_path / "out" / "etc" / "cron.d" / "evil").exists()


def test_more_than_the_bound_is_refused_before_it_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workdir, "UNPACKED_BYTES_MAX", 1000)
    with pytest.raises(WorkdirRefused, match="leave data out"):
        workdir.unpack(archive(tmp_path, member("a", 600), member("b", 600)), tmp_path / "out")
    assert not (tmp_path / "out" / "b").exists()


@pytest.mark.parametrize("text", [b"", b"not gzip", b"\x1f\x8b\x08\x00cut short"])
def test_what_is_no_archive_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "workdir.tar.gz"
    path.write_bytes(text)
    with pytest.raises(WorkdirRefused):
        workdir.unpack(path, tmp_path / "out")
