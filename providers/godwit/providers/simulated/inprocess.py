"""A simulated cloud as a provider without a network: what deterministic simulation tests use.

It raises the same domain errors as the HTTP client, since both translate the cloud's refusals by the same table.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from godwit.domain import errors
from godwit.domain.clock import Clock
from godwit.domain.drills import Drill
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, Offer
from godwit.providers.protocol import Capabilities, LaunchRequest, Standing
from godwit.providers.simulated import vendor
from godwit.providers.simulated.cloud import Cloud

Answer = TypeVar("Answer")


def _no_wait(_seconds: float) -> None:
    """Late answers cost no time, unless the caller says how time passes."""


class InProcessProvider:
    """A `Provider` and `FaultPanel` over a `Cloud`. `wait` passes the time of late answers (a manual clock's advance).

    An answer later than `timeout_s` is a time-out, as it would be over HTTP.
    """

    def __init__(
        self, cloud: Cloud, clock: Clock, timeout_s: float = 10.0, wait: Callable[[float], None] = _no_wait
    ) -> None:
        self.cloud = cloud
        self._clock = clock
        self._timeout_s = timeout_s
        self._wait = wait

    def __repr__(self) -> str:
        return f"InProcessProvider({self.name!r})"

    @property
    def name(self) -> ProviderName:
        """The cloud's name."""
        return ProviderName(self.cloud.settings.name)

    @property
    def capabilities(self) -> Capabilities:
        """Spot machines and drills."""
        return replace(vendor.CAPABILITIES, billing_step_s=self.cloud.settings.billing_step_s)

    def check(self) -> Standing:
        """One cheap read."""
        self._call(self.cloud.billing)
        return Standing(self.name, ("read", "launch", "terminate"))

    def offers(self) -> Sequence[Offer]:
        """Everything for sale, complete."""
        rows = self._call(self.cloud.offers)
        return [vendor.offer_from(self.name, row, self._clock.now()) for row in rows]

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine."""
        order = vendor.launch_order(request.offer, request.token, request.owner, request.startup_script)
        answer = self._call(lambda: self.cloud.launch(order), launching=True)
        if self.cloud.strike("lose_answers"):
            self._wait(self._timeout_s)
            raise errors.UnknownOutcome(f"{self.name} did not answer the launch within {self._timeout_s:g} s")
        return vendor.instance_from(self.name, answer)

    def instances(self) -> Sequence[Instance]:
        """Every machine of the account, paged to the end."""
        found: list[Instance] = []
        cursor: str | None = None
        while True:
            page = self._page(cursor)
            found += [vendor.instance_from(self.name, row) for row in page["instances"]]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def _page(self, cursor: str | None) -> dict[str, Any]:
        return self._call(lambda: self.cloud.instances(cursor))

    def terminate(self, instance_id: InstanceId) -> None:
        """Ask for the end of a machine; an unknown or ended one is no error."""

        def end() -> None:
            try:
                self.cloud.terminate(instance_id)
            except vendor.Refused as refused:
                if refused.status != 404:
                    raise

        self._call(end)

    def drill(self, instance_id: InstanceId, kind: Drill, gpu: int | None = None) -> None:
        """Break a machine, or one GPU of it."""
        try:
            self.cloud.drill(instance_id, kind, gpu)
        except vendor.Refused as refused:
            raise self._translated(refused, launching=False) from refused

    def _call(self, ask: Callable[[], Answer], *, launching: bool = False) -> Answer:
        delay_s = self.cloud.faults.delay_s
        try:
            answer = ask()
        except vendor.Refused as refused:
            self._wait(min(delay_s, self._timeout_s))
            raise self._translated(refused, launching=launching) from refused
        self._wait(min(delay_s, self._timeout_s))
        if delay_s > self._timeout_s:
            message = f"{self.name} did not answer within {self._timeout_s:g} s"
            raise errors.UnknownOutcome(message) if launching else errors.ProviderUnavailable(message)
        return answer

    def _translated(self, refused: vendor.Refused, *, launching: bool) -> errors.GodwitError:
        message = f"{self.name}: {refused}"
        return vendor.error_from(refused.status, refused.code, message, refused.retry_after_s, launching=launching)
