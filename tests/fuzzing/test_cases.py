"""What once broke a reader of strangers' input does not any more; `make fuzz` looks for more of it."""

import pytest
from godwit.domain.checkpoints import manifest_from_json
from godwit.domain.errors import CheckpointDamaged
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzzing.targets import CASES, TARGETS

FOUND = sorted(path for path in CASES.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_case_that_was_found_is_answered_or_refused(path: object) -> None:
    TARGETS[path.parent.name](path.read_bytes())  # type: ignore[attr-defined]


def test_every_case_belongs_to_a_target() -> None:
    assert {path.parent.name for path in FOUND} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_answered_or_refused(name: str) -> None:
    @settings(max_examples=25)
    @given(st.binary(max_size=300))
    def tried(content: bytes) -> None:
        TARGETS[name](content)

    tried()


def test_a_manifest_with_values_of_other_kinds_is_damaged() -> None:
    assert manifest_from_json((CASES / "manifest" / "as-written").read_text()).size_bytes == 1
    for case in ("a-path-that-is-a-number", "a-step-that-is-infinite", "nested-without-end"):
        with pytest.raises(CheckpointDamaged):
            manifest_from_json((CASES / "manifest" / case).read_text())
