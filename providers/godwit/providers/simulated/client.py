"""The adapter to a simulated cloud over HTTP, written as one to a real cloud would be."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx
from godwit.domain import errors
from godwit.domain.clock import Clock, SystemClock
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, Offer
from godwit.providers.protocol import Capabilities, LaunchRequest
from godwit.providers.simulated import vendor

MAX_PAGES = 1_000
"""A listing longer than this (100,000 machines) is a cursor that turns in a circle."""

Parsed = TypeVar("Parsed")

_BEFORE_SENDING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""With these no byte of the request was sent, so nothing happened."""


class SimulatedProvider:
    """A `Provider` and `FaultPanel` at `url` (`http://127.0.0.1:PORT/clouds/NAME`). Safe to call from several threads.

    Each call takes `timeout_s` at the most to connect and as long again to be answered. It repeats nothing: the
    caller knows when that is safe.
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
        self._url = url
        self._clock = clock or SystemClock()
        self._page_size = page_size
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=timeout_s,
            transport=transport,
            trust_env=False,  # loopback: a proxy of the environment has no business here
        )

    def __repr__(self) -> str:
        return f"SimulatedProvider({self._name!r}, {self._url!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Spot machines and drills."""
        return Capabilities(spot=True, startup_limit_bytes=vendor.STARTUP_LIMIT_BYTES, drills=True)

    def close(self) -> None:
        """Close its connections; it cannot be used afterwards."""
        self._http.close()

    def offers(self) -> Sequence[Offer]:
        """Everything for sale, complete."""
        body = self._ask("GET", "/v1/offers")
        seen_at = self._clock.now()
        return self._parse(lambda: [vendor.offer_from(self._name, row, seen_at) for row in body["offers"]])

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine."""
        order = vendor.launch_order(request.offer, request.token, request.owner, request.startup_script)
        body = self._ask("POST", "/v1/instances", launching=True, json=order)
        return self._parse(lambda: vendor.instance_from(self._name, body), launching=True)

    def instances(self) -> Sequence[Instance]:
        """Every machine of the account, paged to the end."""
        found: list[Instance] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params = {"limit": str(self._page_size)} | ({"cursor": cursor} if cursor else {})
            body = self._ask("GET", "/v1/instances", params=params)
            found += self._parse_page(body)
            cursor = body.get("next_cursor")
            if cursor is None:
                return found
        raise errors.ProviderUnavailable(f"{self._name}: the listing of instances does not end")

    def _parse_page(self, body: Mapping[str, Any]) -> list[Instance]:
        return self._parse(lambda: [vendor.instance_from(self._name, row) for row in body["instances"]])

    def terminate(self, instance_id: InstanceId) -> None:
        """Ask for the end of a machine; an unknown or ended one is no error."""
        self._ask("DELETE", f"/v1/instances/{instance_id}", missing_is_fine=True)

    def lose(self, instance_id: InstanceId) -> None:
        """Cut the machine's power."""
        self._ask("POST", "/faults/lose", json={"instance_id": instance_id})

    def _ask(
        self,
        method: str,
        path: str,
        *,
        launching: bool = False,
        missing_is_fine: bool = False,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, json=json, params=params)
        except _BEFORE_SENDING as exc:
            raise errors.ProviderUnavailable(f"{self._name} cannot be reached: {_named(exc)}") from exc
        except httpx.HTTPError as exc:
            message = f"{self._name} did not answer {method} {path}: {_named(exc)}"
            raise (errors.UnknownOutcome(message) if launching else errors.ProviderUnavailable(message)) from exc
        if response.status_code == 404 and missing_is_fine:
            return {}
        if response.status_code >= 400:
            raise self._refusal(response, launching=launching)
        return self._parse(lambda: _object(response), launching=launching)

    def _refusal(self, response: httpx.Response, *, launching: bool) -> errors.ProviderError:
        try:
            error = _object(response)["error"]
            code, message = str(error["code"]), str(error["message"])
        except (ValueError, KeyError, TypeError):
            code, message = "", f"HTTP {response.status_code} without a reason"
        return vendor.error_from(
            response.status_code,
            code,
            f"{self._name}: {message}",
            _seconds(response.headers.get("Retry-After")),
            launching=launching,
        )

    def _parse(self, read: Callable[[], Parsed], *, launching: bool = False) -> Parsed:
        try:
            return read()
        except (ValueError, KeyError, TypeError) as exc:
            message = f"{self._name} sent an answer that cannot be read: {_named(exc)}"
            raise (errors.UnknownOutcome(message) if launching else errors.ProviderUnavailable(message)) from exc


def _object(response: httpx.Response) -> dict[str, Any]:
    body = response.json()
    if not isinstance(body, dict):
        raise ValueError("not a JSON object")
    return body


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; its other form, a date, is not used by this cloud."""
    try:
        return float(header) if header is not None else None
    except ValueError:
        return None


def _named(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
