"""Secrets of projects: they are written and named here, and no message but the agent's own brings a value back."""

from collections.abc import Mapping
from typing import Annotated

from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.secrets import SecretRef, parse
from godwit.domain.wire.pages import Message
from pydantic import Field, StringConstraints

VALUE_BYTES_MAX = 32_768
"""The largest value, in UTF-8. Linux takes 128 KiB for one variable (MAX_ARG_STRLEN, execve(2)) and 2 MiB for all of
them with the default stack; 32 secrets of 32 KiB are half of that."""

SECRETS_PER_JOB_MAX = 32

REF_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(@[1-9][0-9]{0,8})?$"
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
EnvName = Annotated[str, StringConstraints(pattern=ENV_NAME_PATTERN, max_length=255)]
SecretRefText = Annotated[str, StringConstraints(pattern=REF_PATTERN, max_length=80)]


_OURS = ("GODWIT_", "RAY_")


class SecretsSpec(Message):
    """The part of a specification that names secrets of the project: by the variable in which the program finds each.

    `hf-token` is the newest version when an attempt starts, `hf-token@3` always that one.
    """

    secrets: Annotated[dict[EnvName, SecretRefText], Field(max_length=SECRETS_PER_JOB_MAX)] = Field(
        default_factory=dict
    )

    def to_secrets(self, env: Mapping[str, str], *, is_saved_whole: bool) -> dict[str, SecretRef]:
        """The same as domain values; `is_saved_whole`: the program's memory goes into the checkpoint store.

        Raises `InvalidRequest` with the path of what is wrong.
        """
        for name in self.secrets:
            if name in env or name.startswith(_OURS):
                whose = "`env` sets it, too" if name in env else "godwit or Ray sets it"
                message = f"{name} cannot hold a secret: {whose}; name another variable"
                raise InvalidRequest(problems=[Problem(("secrets", name), message)])
        if self.secrets and is_saved_whole:
            message = "checkpoint.mode: process would write them into the store with the program's memory; use program"
            raise InvalidRequest(problems=[Problem(("secrets",), message)])
        return {name: parse(text) for name, text in self.secrets.items()}


class SecretIn(Message):
    """A new value. It is shown by no route; whoever needs it later asks whoever issued it."""

    value: Annotated[str, Field(min_length=1, max_length=VALUE_BYTES_MAX, repr=False)]


class SecretView(Message):
    """A secret as it is shown: its newest version, and how many there are."""

    name: str
    version: int
    versions: int
    created_at: float
    created_by: str


class VersionView(Message):
    """One version of a secret. `attempts` have been given it and have not ended."""

    version: int
    created_at: float
    created_by: str
    attempts: list[str] = Field(default_factory=list)


class AttemptSecretsRequest(Message):
    """An agent asks for the secrets of an attempt that it runs."""

    attempt_id: Annotated[str, Field(max_length=64)]


class AttemptSecrets(Message):
    """The values by the variables that the program finds them in. `gone` are variables whose secrets were deleted.

    For the memory of an agent only: neither its journal nor its log may have them.
    """

    values: dict[str, str] = Field(repr=False)
    gone: list[str] = Field(default_factory=list)
