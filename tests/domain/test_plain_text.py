"""Text of strangers steers neither a terminal nor the reader's eye, whatever it holds and however it is cut."""

import json
import re
from itertools import pairwise

import pytest
from godwit.domain import plain_text
from godwit.domain.plain_text import Output
from hypothesis import example, given
from hypothesis import strategies as st

NASTY = st.text(
    st.sampled_from("\x1b\x1b\x1b[]()P^_X\\0123;:?mKHJAabc\x07\x90\x9b\x9c\x9d\x9f\r\n\t\b\x00\x7fé"), max_size=60
)
SAFE = re.compile(r"\x1b\[[0-9;:]*m|\x1b\[[0-2]?K")
CONTROL = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def passed(pieces: list[str]) -> str:
    output = Output()
    return "".join([*map(output.pass_on, pieces), output.rest()])


@given(st.lists(NASTY, max_size=8))
@example(["\x1b\x1b[2J[2J"])
@example(["\x1b]0;a\x1b]52;c;AA\x07b"])
def test_of_output_only_colours_and_cleared_lines_reach_a_terminal(pieces: list[str]) -> None:
    assert CONTROL.search(SAFE.sub("", passed(pieces))) is None


@given(NASTY, st.lists(st.integers(0, 60), max_size=6))
def test_it_does_not_matter_where_output_is_cut_into_pieces(text: str, cuts: list[int]) -> None:
    at = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in pairwise(at)]
    assert passed(pieces) == passed([text])


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_plain_output_is_left_as_it_is(text: str) -> None:
    assert passed([text]) == text
    assert plain_text.visible(text) == text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("loss \x1b[32m0.1\x1b[0m\n", "loss \x1b[32m0.1\x1b[0m\n"),
        ("\r 50%|#####     |\x1b[K", "\r 50%|#####     |\x1b[K"),
        ("a\x1b]0;root@host\x07b", "ab"),
        ("a\x1b]52;c;cm0gLXJm\x1b\\b", "ab"),
        ("a\x1b[1;1Hb\x1b[2Jc\x1bcd", "abcd"),
        ("a\x1bP$qm\x1b\\b\x9d0;x\x9cc", "abc"),
        ("a\x1b[6nb\x1b[?1049hc", "abc"),
    ],
)
def test_titles_clipboards_cursors_and_questions_are_left_out(said: str, shown: str) -> None:
    assert passed(list(said)) == shown


def test_a_sequence_that_never_ends_holds_nothing_back_for_ever() -> None:
    output = Output()
    shown = output.pass_on("\x1b]0;" + "a" * (plain_text.BEGUN_MAX + 1)) + output.pass_on("b\n")
    assert shown.endswith("ab\n")
    assert "\x1b" not in shown


@given(st.text(max_size=40))
def test_a_name_is_one_line_without_controls_and_as_long_as_it_was(text: str) -> None:
    shown = plain_text.visible(text, one_line=True)
    assert len(shown) == len(text)
    assert shown.isprintable() or not any(ord(char) < 0xA0 and not char.isprintable() for char in shown)
    assert "\n" not in shown


def test_what_turns_the_direction_of_writing_is_shown() -> None:
    assert plain_text.visible("user\u202egpj.exe\u2066\u2028") == "user\ufffdgpj.exe\ufffd\ufffd"
    assert plain_text.visible("a\x1b[31m\nb\tc", one_line=True) == "a\u241b[31m\u240ab c"
    assert plain_text.visible("a\r\nb") == "a\u240d\nb"


def test_texts_within_json_are_found_wherever_they_are() -> None:
    value = json.loads('{"a\\u001b": ["\\u0007", {"b": "\\u009b2J"}, 1, null, true]}')
    assert plain_text.visible_within(value) == {"a\u241b": ["\u2407", {"b": "\ufffd2J"}, 1, None, True]}
