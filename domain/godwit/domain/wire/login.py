"""How people log in: by an identity provider in a browser, and from there the commands that ask for it."""

from enum import StrEnum
from typing import Annotated

from godwit.domain.access import Role
from godwit.domain.wire.pages import Message
from pydantic import Field


class LoginView(Message):
    """What the login page offers beside tokens: the name of an identity provider, where one is set up."""

    name: str | None


class DeviceLoginWanted(Message):
    """A command asks to be let in; `client` is shown to the person who decides, such as the name of its machine."""

    client: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,62}$")]


class DeviceLoginView(Message):
    """What a command waits with (`device_code`, a secret), and what it shows: `user_code`, to be confirmed at `path`.

    The names are those of RFC 8628, section 3.2. It asks every `interval_s`, until `expires_at`.
    """

    device_code: Annotated[str, Field(repr=False)]
    user_code: str
    path: str
    expires_at: float
    interval_s: float


class DeviceTokenWanted(Message):
    """The command asks whether it is let in."""

    device_code: Annotated[str, Field(max_length=256, repr=False)]


class DeviceLoginState(StrEnum):
    """What RFC 8628, section 3.5, answers a command that asks."""

    WAITING = "waiting"
    SLOW_DOWN = "slow-down"
    DENIED = "denied"
    EXPIRED = "expired"
    GRANTED = "granted"


class DeviceTokenView(Message):
    """The answer; `secret` is the token, given once. After `slow-down` it asks every `interval_s`, which has grown."""

    state: DeviceLoginState
    interval_s: float
    secret: Annotated[str | None, Field(repr=False)] = None
    actor: str = ""
    expires_at: float | None = None


class DeviceGrantView(Message):
    """What a person is asked to let in: which command, from which address, since when."""

    user_code: str
    client: str
    source: str
    asked_at: float
    expires_at: float


class UserView(Message):
    """A person whom an identity provider vouched for. Role and project are those of the last login."""

    id: str
    name: str
    email: str
    issuer: str
    role: Role
    project: str | None
    created_at: float
    last_login_at: float
    disabled_at: float | None
