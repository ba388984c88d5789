"""Unpacking a workdir: what a stranger packed may not leave its folder."""

import contextlib
import gzip
import io
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.agents.runtime import workdir
from godwit.agents.runtime.workdir import WorkdirRefused
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(autouse=True, params=[True, False], ids=["filters", "no filters"])
def has_filters(request: pytest.FixtureRequest) -> Iterator[bool]:
    """As with the Python of Debian 12, which is older than tarfile's filters, all is refused that must be."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.param:
            patch.delattr(tarfile, "data_filter")
        yield request.param


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
        member("block", 0, tarfile.BLKTYPE),
        member("hard", 0, tarfile.LNKTYPE, "/etc/passwd"),
        member("a/link", 0, tarfile.SYMTYPE, "../../outside"),
        member("a/link", 0, tarfile.SYMTYPE, "b/../../../outside"),
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


def test_a_link_is_no_way_to_write_elsewhere_even_within_the_folder(tmp_path: Path) -> None:
    bad = archive(tmp_path, member("a", 0, tarfile.SYMTYPE, "b"), member("a/x"))
    with pytest.raises(WorkdirRefused, match="goes through a link"):
        workdir.unpack(bad, tmp_path / "out")


def test_links_that_lead_out_only_together_are_refused(tmp_path: Path) -> None:
    """Each is inside by its text, were what it steps up from a folder: CVE-2025-4517 hid such a chain in long paths."""
    long = "d" * 200
    members = [member("/".join([long] * depth), 0, tarfile.DIRTYPE) for depth in range(1, 17)]
    chain = [member("a", 0, tarfile.SYMTYPE, "/".join([long] * 16)), member("b", 0, tarfile.SYMTYPE, "a/" + "../" * 17)]
    with pytest.raises(WorkdirRefused, match="leads out of the folder, or may"):
        workdir.unpack(archive(tmp_path, *members, *chain, member("b/outside")), tmp_path / "out")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "twice",
    [
        (member("a"), member("a")),
        (member("a"), member("./a")),
        (member("a"), member("b//../a")),
        (member("a", 0, tarfile.SYMTYPE, "b"), member("a")),
        (member("a", 0, tarfile.SYMTYPE, "b"), member("a", 0, tarfile.DIRTYPE)),
    ],
    ids=["files", "dotted", "up and down", "over a link", "a folder over a link"],
)
def test_a_path_that_comes_twice_is_refused(tmp_path: Path, twice: tuple[tarfile.TarInfo, ...]) -> None:
    with pytest.raises(WorkdirRefused):
        workdir.unpack(archive(tmp_path, *twice), tmp_path / "out")


def test_a_folder_may_come_twice_and_names_that_differ_in_case_are_two(tmp_path: Path) -> None:
    members = member("a", 0, tarfile.DIRTYPE), member("a", 0, tarfile.DIRTYPE), member("a/x"), member("a/X")
    workdir.unpack(archive(tmp_path, *members), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "a").iterdir()) == ["X", "x"]


def test_nothing_arrives_that_runs_as_somebody_else_or_that_others_may_change(tmp_path: Path) -> None:
    file = member("a")
    file.mode, file.uid, file.gid = 0o6777, 0, 0
    workdir.unpack(archive(tmp_path, file), tmp_path / "out")
    assert (tmp_path / "out" / "a").stat().st_mode & 0o7022 == 0


def test_a_header_that_says_it_is_huge_is_not_read(tmp_path: Path) -> None:
    """A few kilobytes of gzip may stand for gigabytes of extended header, which are read at once."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 3 << 30
    path = tmp_path / "workdir.tar.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(8 << 20))
    with pytest.raises(WorkdirRefused, match="header of more than"):
        workdir.unpack(path, tmp_path / "out")


def test_headers_that_announce_headers_without_end_are_refused(tmp_path: Path) -> None:
    """tarfile reads each within the one before, and runs out of stack."""
    header = tarfile.TarInfo("pax_global_header")
    header.type, header.size = tarfile.XGLTYPE, 512
    path = tmp_path / "workdir.tar.gz"
    with gzip.open(path, "wb") as packed:
        packed.write((header.tobuf(tarfile.GNU_FORMAT) + b"19 comment=aaaaaaa\n".ljust(512, b"\0")) * 2_000)
    with pytest.raises(WorkdirRefused):
        workdir.unpack(path, tmp_path / "out")


def test_what_is_skipped_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workdir, "UNPACKED_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(workdir, "MEMBERS_MAX", 10)
    folder = tarfile.TarInfo("a")
    folder.type, folder.size = tarfile.DIRTYPE, 3 << 30  # tarfile passes over what a folder claims to hold
    path = tmp_path / "workdir.tar.gz"
    with gzip.open(path, "wb") as packed:
        packed.write(folder.tobuf(tarfile.GNU_FORMAT) + bytes(4 << 20))
    with pytest.raises(WorkdirRefused):
        workdir.unpack(path, tmp_path / "out")


def test_a_refusal_names_the_member_without_its_control_characters(tmp_path: Path) -> None:
    with pytest.raises(WorkdirRefused) as refused:
        workdir.unpack(archive(tmp_path, member("../\x1b]0;owned\x07\n")), tmp_path / "out")
    assert "\x1b" not in refused.value.message
    assert "\n" not in refused.value.message


@settings(max_examples=40)
@given(st.binary(max_size=2_048))
def test_no_bytes_whatever_do_anything_but_unpack_or_be_refused(tail: bytes) -> None:
    good = tarfile.TarInfo("a")
    good.size = 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workdir.tar.gz"
        path.write_bytes(gzip.compress(good.tobuf() + b"abc".ljust(512, b"\0") + tail))
        with contextlib.suppress(WorkdirRefused):
            workdir.unpack(path, Path(folder) / "out")
        assert {found.name for found in Path(folder).iterdir()} <= {"workdir.tar.gz", "out"}
