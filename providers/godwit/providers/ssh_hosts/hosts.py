"""The pool as it is configured."""

import re
from contextlib import suppress
from dataclasses import dataclass

from godwit.domain.errors import InvalidRequest, Problem

FORM = "user@host:port[=usd_per_hour],..."

_HOST = re.compile(
    r"(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@(?P<address>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9_.-]*)"
    r"(:(?P<port>[0-9]{1,5}))?(=(?P<price>[0-9]+(\.[0-9]+)?))?"
)


@dataclass(frozen=True)
class Host:
    """One machine: where it listens, as whom to log in, and what its owner says an hour of it costs."""

    user: str
    address: str
    port: int = 22
    price_usd_per_hour: float = 0.0

    @property
    def name(self) -> str:
        """Its address, with the port where that is not SSH's own: the region of its offer."""
        return self.address if self.port == 22 else f"{self.address}:{self.port}"


def parse(text: object) -> tuple[Host, ...]:
    """The hosts of the option, in its order. Raises `InvalidRequest` naming the part that is wrong."""
    if not isinstance(text, str) or not text.strip(" ,"):
        raise _wrong("name the hosts of the pool")
    hosts = tuple(_host(part.strip()) for part in text.split(",") if part.strip())
    for index, host in enumerate(hosts):
        if host.name in [earlier.name for earlier in hosts[:index]]:
            raise _wrong(f"{host.name} is named twice")
    return hosts


def jump(text: object) -> Host | None:
    """The host of the option `via`, None when it is left out. Raises `InvalidRequest`."""
    if text is None:
        return None
    with suppress(InvalidRequest):  # which would speak of another option
        if isinstance(text, str) and "=" not in text:
            return _host(text)
    what = f"{text!r} is not a jump host: via is user@host:port"
    raise InvalidRequest(problems=[Problem(("via",), what, ("user@host:port",))])


def _host(text: str) -> Host:
    match = _HOST.fullmatch(text)
    port = int(match["port"] or 22) if match else 0
    if match is None or not 0 < port < 65_536:
        raise _wrong(f"{text!r} is not a host")
    return Host(match["user"], match["address"].strip("[]"), port, float(match["price"] or 0.0))


def _wrong(what: str) -> InvalidRequest:
    return InvalidRequest(problems=[Problem(("hosts",), f"{what}: hosts is {FORM}", (FORM,))])
