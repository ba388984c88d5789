"""Output on its way: nothing lost or repeated over restarts, bad bytes harmless, and a bound when nobody listens."""

from pathlib import Path

import pytest
from godwit.agents.logs import BACKLOG_BYTES_MAX, CHUNK_BYTES, Tail
from hypothesis import given, settings
from hypothesis import strategies as st


class Shelf:
    """A control plane's copy of one log."""

    def __init__(self) -> None:
        self.have = b""

    def take(self, tail: Tail, *, final: bool = False, lose_answer: bool = False) -> bool:
        chunk = tail.chunk(final=final)
        if chunk is None:
            return False
        if chunk.offset <= len(self.have):
            self.have += chunk.text.encode()[len(self.have) - chunk.offset :]
        if not lose_answer:
            tail.stored(len(self.have))
        return True

    def drain(self, tail: Tail) -> None:
        while self.take(tail, final=True):
            pass


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


def tail_of(output: Path) -> Tail:
    return Tail(output, "att-1", 1)


def append(output: Path, data: bytes) -> None:
    with output.open("ab") as file:
        file.write(data)


def test_nothing_comes_of_a_log_that_is_not_there_yet(output: Path) -> None:
    assert tail_of(output).chunk() is None


def test_what_is_appended_arrives_once_and_in_order(output: Path) -> None:
    shelf, tail = Shelf(), tail_of(output)
    for part in (b"one\n", b"two\n", b"x" * CHUNK_BYTES * 2, b"end\n"):
        append(output, part)
        shelf.take(tail)
    shelf.drain(tail)
    assert shelf.have == output.read_bytes()


def test_a_lost_answer_and_a_restart_repeat_nothing(output: Path) -> None:
    shelf = Shelf()
    append(output, b"one\n")
    shelf.take(tail_of(output), lose_answer=True)
    append(output, b"two\n")
    again = tail_of(output)
    shelf.drain(again)
    assert shelf.have == b"one\ntwo\n"
    append(output, b"three\n")
    shelf.drain(tail_of(output))
    assert shelf.have == b"one\ntwo\nthree\n"


def test_a_character_cut_in_two_waits_for_its_rest(output: Path) -> None:
    shelf, tail = Shelf(), tail_of(output)
    append(output, "héé".encode()[:-1])
    shelf.take(tail)
    assert shelf.have.decode() == "hé"
    assert tail.chunk() is None
    append(output, "é".encode()[-1:])
    shelf.take(tail)
    assert shelf.have.decode() == "héé"


def test_bytes_that_are_no_text_become_question_marks_one_for_one(output: Path) -> None:
    append(output, b"a\xff\xfe\0b\xc3")
    shelf = Shelf()
    shelf.drain(tail_of(output))
    assert shelf.have == b"a???b?"


def test_output_that_nobody_took_is_dropped_from_the_oldest_on_and_a_line_says_so(output: Path) -> None:
    shelf, tail = Shelf(), tail_of(output)
    append(output, b"first\n")
    shelf.take(tail)
    append(output, b"x" * (BACKLOG_BYTES_MAX + 1))
    append(output, b"last\n")
    shelf.take(tail, lose_answer=True)
    shelf.drain(tail_of(output))
    dropped = BACKLOG_BYTES_MAX // 2 + 6
    assert shelf.have.startswith(b"first\n\n[godwit] %d bytes of output were dropped\nxxx" % dropped)
    assert shelf.have.endswith(b"xxxlast\n")
    assert len(shelf.have) < BACKLOG_BYTES_MAX


def test_a_control_plane_that_lost_its_copy_gets_the_output_again(output: Path) -> None:
    shelf, tail = Shelf(), tail_of(output)
    append(output, b"one\ntwo\n")
    shelf.drain(tail)
    shelf.have = b"one\n"
    append(output, b"three\n")
    shelf.drain(tail)
    assert shelf.have == b"one\ntwo\nthree\n"


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode)), max_size=12),
    restarts=st.lists(st.booleans(), min_size=12, max_size=12),
    lost=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_whatever_is_written_and_whenever_the_agent_dies_the_copy_has_every_byte(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], restarts: list[bool], lost: list[bool]
) -> None:
    output = tmp_path_factory.mktemp("log") / "output.log"
    shelf, tail = Shelf(), tail_of(output)
    for part, restart, lose in zip(parts, restarts, lost, strict=False):
        append(output, part)
        shelf.take(tail, lose_answer=lose)
        tail = tail_of(output) if restart else tail
    shelf.drain(tail)
    written = b"".join(parts)
    assert len(shelf.have) == len(written)
    assert all(a in (b, ord("?")) for a, b in zip(shelf.have, written, strict=True))
