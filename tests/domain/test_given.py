"""Secrets come from variables or from files, and never from both."""

from pathlib import Path

import pytest
from godwit.domain.errors import InvalidRequest
from godwit.domain.given import CHARACTERS_MAX, secret

FILES = {"/run/secrets/key": "s3cret\n", "/run/secrets/empty": " \n", "/run/secrets/long": "x" * (CHARACTERS_MAX + 1)}


def _read(path: str) -> str:
    if path not in FILES:
        raise FileNotFoundError(path)
    return FILES[path]


def test_a_variable_is_taken_as_it_is() -> None:
    assert secret({"KEY": " kept "}, "KEY", _read) == " kept "


def test_a_file_is_read_without_the_white_space_that_editors_leave() -> None:
    assert secret({"KEY_FILE": "/run/secrets/key"}, "KEY", _read) == "s3cret"


def test_without_either_there_is_none() -> None:
    assert secret({"KEY_FILE": "", "OTHER": "x"}, "KEY", _read) == ""


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"KEY": "a", "KEY_FILE": "/run/secrets/key"}, "both set"),
        ({"KEY_FILE": "/run/secrets/gone"}, "cannot be read"),
        ({"KEY_FILE": "/run/secrets/empty"}, "holds 0 characters"),
        ({"KEY_FILE": "/run/secrets/long"}, f"holds {CHARACTERS_MAX + 1} characters"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_no_secret_is_told(env: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        secret(env, "KEY", _read)
    assert "s3cret" not in refused.value.message


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        secret({"KEY_FILE": str(tmp_path / "key")}, "KEY", lambda path: Path(path).read_text())
