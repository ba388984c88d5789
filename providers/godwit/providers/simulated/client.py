"""The adapter to a simulated cloud over HTTP, written as one to a real cloud would be."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import httpx
from godwit.domain import errors
from godwit.domain.clock import Clock, SystemClock
from godwit.domain.drills import Drill
from godwit.domain.errors import InvalidRequest, Problem, ProviderUnavailable
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, Offer
from godwit.providers.kinds import Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Standing
from godwit.providers.rest import Rest, retry_after_s
from godwit.providers.simulated import catalogue, daemon, vendor
from godwit.providers.simulated.host import api_key


class SimulatedProvider:
    """A `Provider` and `FaultPanel` at `url` (`http://127.0.0.1:PORT/clouds/NAME`). Safe to call from several threads.

    It repeats nothing: the caller knows when that is safe.
    """

    def __init__(
        self,
        name: str,
        url: str,
        api_key: str,
        timeout_s: float = 10.0,
        clock: Clock | None = None,
        page_size: int = 100,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._name = ProviderName(name)
        self._clock = clock or SystemClock()
        self._page_size = page_size
        self._rest = Rest(
            name,
            url,
            headers={"Authorization": f"Bearer {api_key}"},
            refuse=self._refuse,
            timeout_s=timeout_s,
            transport=transport,
            trust_env=False,  # loopback: a proxy of the environment has no business here
        )

    def __repr__(self) -> str:
        return f"SimulatedProvider({self._name!r}, {self._rest.url!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Spot machines and drills."""
        return vendor.CAPABILITIES

    def check(self) -> Standing:
        """One cheap read that proves the key."""
        body = self._rest.ask("GET", "/v1/billing")
        return Standing(f"{self._name}, {len(body['meters'])} meters", ("read", "launch", "terminate"))

    def close(self) -> None:
        """Close its connections; it cannot be used afterwards."""
        self._rest.close()

    def offers(self) -> Sequence[Offer]:
        """Everything for sale, complete."""
        body = self._rest.ask("GET", "/v1/offers")
        seen_at = self._clock.now()
        return self._rest.parse(lambda: [vendor.offer_from(self._name, row, seen_at) for row in body["offers"]])

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine."""
        order = vendor.launch_order(request.offer, request.token, request.owner, request.startup_script)
        body = self._rest.ask("POST", "/v1/instances", launching=True, json=order)
        return self._rest.parse(lambda: vendor.instance_from(self._name, body), launching=True)

    def instances(self) -> Sequence[Instance]:
        """Every machine of the account, paged to the end."""
        return self._rest.pages(self._page)

    def _page(self, cursor: str | None) -> tuple[list[Instance], str | None]:
        params = {"limit": str(self._page_size)} | ({"cursor": cursor} if cursor else {})
        body = self._rest.ask("GET", "/v1/instances", params=params)
        return self._rest.parse(
            lambda: ([vendor.instance_from(self._name, row) for row in body["instances"]], body["next_cursor"])
        )

    def terminate(self, instance_id: InstanceId) -> None:
        """Ask for the end of a machine; an unknown or ended one is no error."""
        self._rest.ask("DELETE", f"/v1/instances/{instance_id}", missing_is_fine=True)

    def drill(self, instance_id: InstanceId, kind: Drill, gpu: int | None = None) -> None:
        """Break a machine, or one GPU of it."""
        self._rest.ask("POST", "/faults/drill", json={"instance_id": instance_id, "kind": kind, "gpu": gpu})

    def _refuse(self, status: int, body: Any, headers: httpx.Headers) -> errors.ProviderError | None:
        code, message = str(body["error"]["code"]), f"{self._name}: {body['error']['message']}"
        return vendor.known_error(status, code, message, retry_after_s(headers))


def from_setup(setup: Setup) -> SimulatedProvider:
    """The adapter to one of the built-in clouds, which must be running. Raises `ProviderUnavailable` otherwise."""
    if setup.name not in catalogue.BUILT_IN:
        near = get_close_matches(setup.name, catalogue.BUILT_IN, n=1)
        message = f"no simulated cloud is called {setup.name!r}"
        raise InvalidRequest(
            problems=[Problem(("name",), message, tuple(catalogue.BUILT_IN), near[0] if near else None)]
        )
    url = daemon.url_of(setup.home)
    if url is None:
        raise ProviderUnavailable(f"{setup.name}: the simulated clouds do not run; `godwit up` starts them")
    key = api_key(daemon.state_dir_of(setup.home))
    timeout_s = setup.seconds("timeout_s", 10.0)
    return SimulatedProvider(setup.name, f"{url}/clouds/{setup.name}", key, timeout_s, setup.clock)
