"""The route table as a gateway asks it: which service does a request mean, and may this key have it?"""

import hashlib
from dataclasses import dataclass, field

from godwit.domain.wire.routes import KeyRoute, RouteTable, ServiceRoute

Ref = tuple[str, str]
"""A service: its project and its name."""


@dataclass(frozen=True)
class Index:
    """A route table with its ways in."""

    table: RouteTable
    services: dict[Ref, ServiceRoute] = field(init=False, default_factory=dict)
    models: dict[Ref, ServiceRoute] = field(init=False, default_factory=dict)
    open_models: dict[str, ServiceRoute] = field(init=False, default_factory=dict)
    hosts: dict[str, ServiceRoute] = field(init=False, default_factory=dict)
    keys: dict[str, KeyRoute] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for service in self.table.services:
            self.services[service.project, service.name] = service
            self.hosts.update({host.lower(): service for host in service.hosts})
            for model in service.models:
                self.models.setdefault((service.project, model), service)
                if service.keyless:
                    self.open_models.setdefault(model, service)
        self.keys.update({key.sha256: key for key in self.table.keys})

    def key(self, text: str, now: float) -> KeyRoute | None:
        """The API key of this text; None when there is none, or its time is over. `now`: seconds since the epoch."""
        found = self.keys.get(hashlib.sha256(text.encode()).hexdigest())
        if found is None or (found.expires_at is not None and found.expires_at <= now):
            return None
        return found

    def model(self, name: str, key: KeyRoute | None) -> ServiceRoute | None:
        """The service that serves this model to the owner of this key."""
        own = self.models.get((key.project, name)) if key is not None else None
        return own if own is not None and opens(key, own) else self.open_models.get(name)

    def model_names(self, key: KeyRoute | None) -> list[tuple[str, ServiceRoute]]:
        """All models that this key may have, by name."""
        found = dict(self.open_models)
        found.update({name: one for (_project, name), one in self.models.items() if opens(key, one)})
        return sorted(found.items())


def opens(key: KeyRoute | None, service: ServiceRoute) -> bool:
    """Whether a request with this key may go to this service."""
    if service.keyless:
        return True
    return key is not None and key.project == service.project and (not key.services or service.name in key.services)
