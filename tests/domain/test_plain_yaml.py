"""YAML is values and no more: what it says, or why not; whatever is in the file, in little time and memory."""

import contextlib
import re
from pathlib import Path

import pytest
import yaml
from godwit.cli import yaml_source
from godwit.cli.exits import Failure
from godwit.domain.wire import plain_yaml
from godwit.domain.wire.plain_yaml import NotPlain
from hypothesis import example, given
from hypothesis import strategies as st

LAUGHS = "a: &a [x, x]\n" + "".join(f"{chr(b)}: &{chr(b)} [*{chr(b - 1)}, *{chr(b - 1)}]\n" for b in range(98, 122))

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
TRICKS = st.text(st.sampled_from("&*!<>|-?:,[]{}#%@`'\"\\ \n\tab1.e~=\x00\x85\u2028"), max_size=80)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    assert plain_yaml.load(yaml.safe_dump(value)) == value


@given(TRICKS)
@example("? [a]\n: b")
@example("!!python/object/apply:os.system [id]")
@example("<<: {a: 1}\na: 2")
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(NotPlain):
        plain_yaml.load(text)
    with contextlib.suppress(Failure):
        yaml_source.parse(text, "job.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(NotPlain):
        plain_yaml.load(content)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LAUGHS, "line 2: aliases"),
        ("a: &a [*a]", "line 1: aliases"),
        ("[" * 40 + "]" * 40, "nested deeper"),
        ("[" * 500_000, "nested deeper"),
        ("{a: " * 200_000, "nested deeper"),
        ("- " * 300_000, "nested deeper"),
        ("port: 1\nport: 2", "line 2: a key is given twice"),
        ("a: {b: 1, b: 2}", "given twice"),
        ("{1: a, 1.0: b}", "given twice"),
        ("a: " + "9" * 10_000, "cannot be read"),
        ("a: 2024-99-99", "cannot be read"),
        ("a: !!python/object/apply:os.system [id]", "line 1"),
        ("a: !secret x", "line 1"),
        ("? {a: b}\n: c", "one value"),
        ("a: 1\n---\nb: 2", "line 2"),
        ("a: \x00", "cannot be read"),
        (" " * (plain_yaml.BYTES_MAX + 1), "larger than 1 MiB"),
    ],
    ids=lambda value: value[:16] if isinstance(value, str) else None,
)
def test_what_could_do_harm_is_refused_with_its_line(text: str, says: str) -> None:
    with pytest.raises(NotPlain, match=says):
        plain_yaml.load(text)


def test_a_refusal_quotes_nothing_since_it_may_be_a_secret() -> None:
    with pytest.raises(NotPlain) as refused:
        plain_yaml.load("token: hunter2\n  broken: [")
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [LAUGHS, "[" * 500_000, "name: a\nname: b", "name: " + "9" * 10_000, "name: !!python/name:os.system ''", "<<: *x"],
    ids=["laughs", "lists", "twice", "digits", "tag", "merge"],
)
def test_a_job_specification_is_read_by_the_same_rules(text: str) -> None:
    with pytest.raises(Failure):
        yaml_source.parse(text, "job.yaml")


def test_no_other_reader_of_yaml_is_used() -> None:
    root = Path(__file__).parents[2]
    own = {"domain/godwit/domain/wire/plain_yaml.py", "cli/godwit/cli/yaml_source.py"}
    found = {
        str(path.relative_to(root))
        for folder in ("cli", "control_plane/godwit", "gateway", "providers", "agents", "sdk", "scheduler", "domain")
        for path in (root / folder).rglob("*.py")
        if re.search(r"(?<!plain_)yaml\.(safe_)?load|SafeLoader", path.read_text())
    }
    assert found <= own, "read it with plain_yaml.load"


def test_a_character_that_yaml_does_not_have_is_named_with_its_line() -> None:
    with pytest.raises(Failure, match=r"job.yaml:2: the character U\+001B may not be in YAML"):
        yaml_source.parse("name: a\nrun: \x1b[2J", "job.yaml")
