"""What routes get handed: the context and the two folders, typed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request
from godwit.control_plane.contacts import Contact
from godwit.control_plane.context import Context
from godwit.control_plane.metrics.reading import Exposition
from godwit.control_plane.notifying.sending import Send, Sender
from godwit.control_plane.rates import NO_LIMITS, Limits
from godwit.control_plane.services.archives import Shelf
from godwit.control_plane.services.fleet_views import FleetViews
from godwit.control_plane.services.logins import Vouches
from godwit.control_plane.services.logs import LogStore
from godwit.control_plane.services.providers import Accounts
from godwit.control_plane.services.queue import Queue
from godwit.control_plane.services.terminals import Terminals


@dataclass(frozen=True)
class State:
    """The context of services, uploaded archives, output of jobs, and accounts at clouds.

    `contacts` says for each provider that is watched how the last look at it went. `terminals`, `fleet_views`
    and `queue` are those of this process. `open_metrics`: whoever reaches this control plane may read its metrics.
    `send` is how receivers outside are told. `leads` says whether this process runs the loops. `limits` are how often
    one caller may ask this process. `login` vouches for people.
    """

    context: Context
    shelf: Shelf
    logs: LogStore
    accounts: Accounts
    contacts: Callable[[], Mapping[str, Contact]]
    terminals: Terminals = field(default_factory=Terminals)
    fleet_views: FleetViews = field(default_factory=FleetViews)
    queue: Queue = field(default_factory=Queue)
    open_metrics: bool = False
    send: Send = field(default_factory=lambda: Sender().send)
    leads: Callable[[], bool] = lambda: True
    limits: Limits = NO_LIMITS
    login: Vouches | None = None

    @cached_property
    def exposition(self) -> Exposition:
        """What Prometheus is shown."""
        return Exposition(self.context, self.accounts.metrics, self.contacts, self.leads)


async def _state(request: Request) -> State:
    state: State = request.app.state.godwit
    return state


Godwit = Annotated[State, Depends(_state)]
