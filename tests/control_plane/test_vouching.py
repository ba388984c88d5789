"""What a control plane says to another of an agent's certificate holds for one credential, for a minute."""

import pytest
from godwit.control_plane import vouching
from godwit.control_plane.keyring import Keyring

NOW = 1_800_000_000.0
KEYRING = Keyring(b"k" * 32)
SAID = vouching.vouch(KEYRING, "credential", NOW)


def test_it_holds_for_a_minute_at_whoever_has_the_same_key() -> None:
    assert [vouching.is_vouched(KEYRING, "credential", SAID, NOW + s) for s in (0, 59, 60)] == [True, True, False]
    assert not vouching.is_vouched(Keyring(b"o" * 32), "credential", SAID, NOW)


def test_it_holds_for_that_credential_only() -> None:
    assert not vouching.is_vouched(KEYRING, "another", SAID, NOW)


@pytest.mark.parametrize("said", ["", "1", ".", "1.2", "ffffffffffff.x", "-1.0", "é.é", f"{SAID}0", SAID.upper()])
def test_what_is_made_up_does_not_hold(said: str) -> None:
    assert not vouching.is_vouched(KEYRING, "credential", said, NOW)
