"""Uploaded workdirs: named by what is in them, bounded, and never half there."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from godwit.control_plane.services import archives
from godwit.control_plane.services.archives import Shelf
from godwit.domain.errors import InvalidRequest, NotFound, TooLarge

CONTENT = b"a workdir, packed"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty shelf."""
    return Shelf(tmp_path / "archives")


def put(shelf: Shelf, digest: str, chunks: Sequence[bytes]) -> int:
    async def sent() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return asyncio.run(shelf.put(digest, sent()))


def test_an_upload_is_found_by_its_digest(shelf: Shelf) -> None:
    assert not shelf.has(DIGEST)
    assert put(shelf, DIGEST, [CONTENT[:5], CONTENT[5:]]) == len(CONTENT)
    assert shelf.path(DIGEST).read_bytes() == CONTENT


def test_the_same_upload_twice_is_one(shelf: Shelf, tmp_path: Path) -> None:
    put(shelf, DIGEST, [CONTENT])
    put(shelf, DIGEST, [CONTENT])
    assert len(list((tmp_path / "archives").iterdir())) == 1


def test_content_that_does_not_match_is_refused_and_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="send it again"):
        put(shelf, DIGEST, [CONTENT, b"!"])
    assert list((tmp_path / "archives").iterdir()) == []


def test_a_wrong_upload_does_not_harm_the_right_one(shelf: Shelf) -> None:
    put(shelf, DIGEST, [CONTENT])
    with pytest.raises(InvalidRequest):
        put(shelf, DIGEST, [b"something else"])
    assert shelf.path(DIGEST).read_bytes() == CONTENT


def test_what_is_too_large_is_refused_before_it_is_all_read(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_BYTES", 10)
    with pytest.raises(TooLarge):
        put(shelf, DIGEST, [b"x" * 11, b"never read"])
    assert list((tmp_path / "archives").iterdir()) == []


def test_an_archive_that_was_never_uploaded_is_not_there(shelf: Shelf) -> None:
    with pytest.raises(NotFound):
        shelf.path(DIGEST)


def test_uploads_do_not_fill_the_disk_that_the_database_lies_on(tmp_path: Path) -> None:
    left = [archives.FREE_BYTES_MIN, archives.FREE_BYTES_MIN - 1]
    shelf = Shelf(tmp_path / "archives", lambda _path: left.pop(0))
    put(shelf, DIGEST, [CONTENT])
    with pytest.raises(TooLarge, match="makes room"):
        put(shelf, hashlib.sha256(b"more").hexdigest(), [b"more"])
    assert [path.name for path in (tmp_path / "archives").iterdir()] == [f"{DIGEST}.tar.gz"]
