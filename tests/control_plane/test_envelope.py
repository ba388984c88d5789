"""A sealed secret opens with its own key, as what it is, and in no other way."""

from dataclasses import replace

import pytest
from godwit.control_plane.envelope import About, Envelope
from godwit.domain.errors import Conflict
from hypothesis import given
from hypothesis import strategies as st

ABOUT = About("vision", "hf-token", 3)
OLD, NEW = b"o" * 32, b"n" * 32


@given(value=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=200))
def test_a_value_comes_back_as_it_was_and_is_not_seen_in_what_is_stored(value: str) -> None:
    envelope = Envelope([OLD])
    sealed = envelope.seal(value, ABOUT)
    assert envelope.open(sealed, ABOUT) == value
    assert envelope.seal(value, ABOUT).text != sealed.text, "equal values do not look equal"


@pytest.mark.parametrize(
    "other", [About("speech", "hf-token", 3), About("vision", "wandb", 3), replace(ABOUT, version=4)]
)
def test_a_row_that_was_moved_to_another_name_does_not_open(other: About) -> None:
    envelope = Envelope([OLD])
    with pytest.raises(Conflict, match=f"{other.name}@{other.version} of project {other.project}"):
        envelope.open(envelope.seal("hunter22", ABOUT), other)


def test_a_new_key_takes_over_without_a_change_of_the_sealed_value() -> None:
    sealed = Envelope([OLD]).seal("hunter22", ABOUT)
    both = Envelope([NEW, OLD])
    moved = both.rewrapped(sealed, ABOUT)
    assert (moved.text, moved.key_id) == (sealed.text, both.key_id)
    assert Envelope([NEW]).open(moved, ABOUT) == "hunter22"
    with pytest.raises(Conflict, match="restore credentials"):
        Envelope([NEW]).open(sealed, ABOUT)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(Conflict, match="restore credentials"):
        Envelope().seal("hunter22", ABOUT)


def test_it_says_nothing_of_its_keys() -> None:
    assert repr(Envelope([OLD])) == "Envelope(...)"
