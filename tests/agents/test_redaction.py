"""No form of a secret that programs commonly write leaves a node, wherever a chunk of output is cut."""

import base64
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, quote_plus

import pytest
from godwit.agents import logs
from godwit.agents.link import Unreachable
from godwit.agents.logs import Tail
from godwit.agents.redaction import Mask, Withheld
from godwit.agents.runtime.folder import AttemptFolder
from godwit.agents.runtime.held import Held, SecretsGone
from godwit.domain.secrets import CHARACTERS_MIN
from godwit.domain.wire.secrets import AttemptSecrets
from hypothesis import given, settings
from hypothesis import strategies as st

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
VALUES = st.text(
    st.characters(min_codepoint=32, blacklist_categories=["Cs"]), min_size=CHARACTERS_MIN, max_size=40
).filter(lambda value: value.strip("* ?") == value)
SECRET = 'hunter22/+ä"key'


def sent(tail: Tail, *, final: bool) -> bytes:
    have = b""
    while (chunk := tail.chunk(final=final)) is not None:
        assert chunk.offset == len(have)
        have += chunk.text.encode()
        tail.stored(len(have))
    return have


@given(before=TEXT, after=TEXT, value=VALUES)
@settings(max_examples=60)
def test_no_form_of_a_secret_is_left_and_no_byte_moves(before: str, after: str, value: str) -> None:
    mask = Mask([value])
    forms = (
        value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1],
        base64.b64encode(value.encode()).decode(), base64.urlsafe_b64encode(value.encode()).decode(),
        value.encode().hex(),
    )  # fmt: skip
    for form in forms:
        raw = (before + form + after).encode()
        told = mask.covered(raw)
        assert len(told) == len(raw)
        start = len(before.encode())
        assert set(told[start : start + len(form.encode())]) == {ord("*")}


@given(user=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=9), value=VALUES)
@settings(max_examples=60)
def test_a_password_within_basic_credentials_cannot_be_read_out_of_them(user: str, value: str) -> None:
    raw = f"{user}:{value}".encode()
    told = Mask([value]).covered(base64.b64encode(raw)).decode()
    left = base64.b64decode(told.replace("*", "A") + "=" * (-len(told) % 4))
    assert value.encode()[1:-1] not in left


@given(cuts=st.lists(st.integers(1, 60), min_size=1, max_size=8), line=TEXT)
@settings(max_examples=60, deadline=None)
def test_a_secret_that_arrives_in_pieces_is_covered_and_nothing_else_is_lost(cuts: list[int], line: str) -> None:
    raw = f"{line}\ntoken {SECRET} and {SECRET}{SECRET}\nend\n".encode()
    mask, have, seen = Mask([SECRET]), b"", 0
    with TemporaryDirectory() as folder:
        output = Path(folder) / "output.log"
        tail = Tail(output, "att-1", 1, lambda: mask)
        for cut in [*cuts, len(raw)]:
            with output.open("ab") as file:
                file.write(raw[seen : seen + cut])
            seen += cut
            while (chunk := tail.chunk(final=seen >= len(raw))) is not None:
                have += chunk.text.encode()
                tail.stored(len(have))
    assert have == mask.covered(raw).replace(b"\0", b"?")
    assert b"hunter" not in have


def test_a_secret_across_two_chunks_and_across_what_was_dropped_is_covered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "CHUNK_BYTES", 16)
    monkeypatch.setattr(logs, "BACKLOG_BYTES_MAX", 64)
    output = tmp_path / "output.log"
    for before in range(48):
        output.write_bytes(b"." * before + SECRET.encode() * 4 + b"-end\n")
        tail = Tail(output, "att-1", 1, lambda: Mask([SECRET]))
        have = sent(tail, final=True)
        (tmp_path / "output.sent").unlink()
        assert b"hunter" not in have
        assert b"key" not in have
        assert have.endswith(b"*-end\n")


def test_short_values_are_no_secrets_of_a_text() -> None:
    assert Mask(["yes", "12345"]).covered(b"yes, 12345") == b"yes, 12345"


def test_each_line_of_a_key_is_a_secret_of_its_own() -> None:
    key = "-----BEGIN KEY-----\nMIIEowIBAAKCAQ\nEAtL8z\n-----END KEY-----\n"
    assert Mask([key]).covered(b"> MIIEowIBAAKCAQ\n> EAtL8z\n") == b"> **************\n> ******\n"


def test_while_it_is_not_known_what_is_secret_nothing_leaves(tmp_path: Path) -> None:
    (tmp_path / "output.log").write_bytes(b"hunter22\n")

    def away() -> AttemptSecrets:
        raise Unreachable("nobody answers")

    held = Held(away)
    with pytest.raises(Unreachable):
        Tail(tmp_path / "output.log", "att-1", 1, held.mask).chunk()
    assert held.known_mask().covered(b"hunter22\n") == b"********\n"


def test_an_attempt_whose_secret_is_gone_does_not_begin_and_one_that_runs_shows_nothing() -> None:
    held = Held(lambda: AttemptSecrets(values={"A": "hunter22"}, gone=["B"]))
    with pytest.raises(SecretsGone, match="B was removed"):
        held.complete()
    assert isinstance(held.mask(), Withheld)
    assert "hunter22" not in repr(held)


def test_secrets_are_asked_for_once() -> None:
    asked = []

    def ask() -> AttemptSecrets:
        asked.append(1)
        return AttemptSecrets(values={"A": "hunter22"})

    held = Held(ask)
    values = held.values
    for _ in range(3):
        held.complete()
    assert (values, len(asked)) == ({"A": "hunter22"}, 1)
    assert held.mask().line("it is hunter22") == "it is ********"


def test_the_last_lines_of_an_attempt_have_no_secret(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path, "att-1")
    folder.make()
    folder.output.write_bytes(b"x" * 70_000 + b"\nkey=" + SECRET.encode() + b"\n")
    assert folder.last_lines(Mask([SECRET]))[-1] == "key=" + "*" * len(SECRET.encode())
