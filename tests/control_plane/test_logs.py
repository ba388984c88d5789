"""Output of jobs: repeated, overlapping and missing chunks, readers that resume, and what is too much."""

from pathlib import Path

import pytest
from godwit.control_plane.services import logs
from godwit.control_plane.services.logs import Cursor, LogStore, parse_cursor


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    """An empty log store."""
    return LogStore(tmp_path)


def everything(store: LogStore, limit_bytes: int = 65_536) -> str:
    cursor = Cursor()
    pieces: list[str] = []
    while True:
        cursor, text = store.read("job", cursor, limit_bytes)
        if not text:
            return "".join(pieces)
        pieces.append(text)


def test_chunks_follow_each_other(store: LogStore) -> None:
    assert store.append("job", 1, 0, b"one ") == 4
    assert store.append("job", 1, 4, b"two") == 7
    assert everything(store) == "one two"


def test_a_chunk_that_is_repeated_is_written_once(store: LogStore) -> None:
    for _ in range(3):
        assert store.append("job", 1, 0, b"one") == 3
    assert everything(store) == "one"


def test_of_a_chunk_that_overlaps_only_the_new_part_is_written(store: LogStore) -> None:
    store.append("job", 1, 0, b"one two")
    assert store.append("job", 1, 4, b"two three") == 13
    assert everything(store) == "one two three"
    assert store.append("job", 1, 2, b"e") == 13


def test_a_chunk_beyond_the_end_is_refused_by_saying_where_the_end_is(store: LogStore) -> None:
    store.append("job", 1, 0, b"one")
    assert store.append("job", 1, 10, b"late") == 3
    assert everything(store) == "one"


def test_attempts_are_read_one_after_the_other(store: LogStore) -> None:
    store.append("job", 10, 0, b"third")
    store.append("job", 2, 0, b"second ")
    store.append("job", 1, 0, b"first ")
    assert everything(store) == "first second third"


def test_a_reader_resumes_where_its_cursor_says(store: LogStore) -> None:
    store.append("job", 1, 0, b"one two")
    cursor, text = store.read("job", Cursor(), 4)
    assert text == "one "
    assert store.read("job", parse_cursor(str(cursor)))[1] == "two"
    assert store.read("job", Cursor(1, 7)) == (Cursor(1, 7), "")


@pytest.mark.parametrize("limit_bytes", range(4, 9))
def test_a_character_is_never_read_in_two_pieces(store: LogStore, limit_bytes: int) -> None:
    text = "aé€𝄞" * 20
    store.append("job", 1, 0, text.encode())
    assert everything(store, limit_bytes) == text


def test_bytes_that_are_no_text_are_shown_as_such_and_stop_nothing(store: LogStore) -> None:
    store.append("job", 1, 0, b"\xff\xfe\x80\x80\x80\x80\x80 after")
    assert everything(store, 4).endswith(" after")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1:",
        ":1",
        "-1:5",
        "a:b",
        "1:2:3",
        "²:3",
        "9" * 5_000 + ":0",
        "1:" + "9" * 40,
        "\x00:1",
        "\uff11:\uff11",
    ],
)
def test_a_cursor_that_was_not_given_out_starts_at_the_beginning(text: str) -> None:
    assert parse_cursor(text) == Cursor()


def test_a_cursor_beyond_the_end_reads_nothing_and_stays(store: LogStore) -> None:
    store.append("job", 1, 0, b"one")
    assert store.read("job", Cursor(1, 10**11)) == (Cursor(1, 10**11), "")


def test_a_full_log_says_so_once_and_swallows_the_rest_without_sending_the_agent_back(
    store: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES_PER_ATTEMPT", 100)
    sent = 0
    for _ in range(20):
        stored = store.append("job", 1, sent, b"x" * 30)
        assert stored == sent + 30, "an agent that is sent back would send the same for ever"
        sent = stored
    text = everything(store)
    assert text.startswith("x" * 100 + "\n[godwit]")
    assert text.count("[godwit]") == 1


def test_the_tail_is_the_last_lines_of_all_attempts(store: LogStore) -> None:
    store.append("job", 1, 0, b"one\ntwo\n")
    store.append("job", 2, 0, b"three\rthree again\nfour")
    assert store.tail("job", 2, 1_000) == "three\rthree again\nfour"
    assert store.tail("job", 3, 1_000) == "two\nthree\rthree again\nfour"
    assert store.tail("job", 99, 1_000) == "one\ntwo\nthree\rthree again\nfour"
    assert store.tail("job", 0, 1_000) == store.tail("nobody", 5, 1_000) == ""


def test_the_tail_of_a_long_log_is_its_end_and_not_the_end_of_its_beginning(store: LogStore) -> None:
    store.append("job", 1, 0, b"".join(b"line %06d\n" % n for n in range(10_000)))
    assert store.tail("job", 2, 1_000) == "line 009998\nline 009999\n"
    assert len(store.tail("job", 10_000, 1_000)) <= 1_000
