"""The decorator that changes nothing: layers override what they care about."""

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from godwit.domain.drills import Drill
from godwit.domain.errors import RequestRejected
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, Offer
from godwit.providers.protocol import Capabilities, FaultPanel, LaunchRequest, Provider, Standing

Answer = TypeVar("Answer")


class Layer:
    """Passes every call of the protocol through `_call`, with its name."""

    def __init__(self, inner: Provider) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self.inner.name

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return self.inner.capabilities

    def check(self) -> Standing:
        """One cheap read that proves the credentials."""
        return self._call("check", self.inner.check)

    def offers(self) -> Sequence[Offer]:
        """Everything that can be bought now."""
        return self._call("offers", self.inner.offers)

    def launch(self, request: LaunchRequest) -> Instance:
        """Buy one machine."""
        return self._call("launch", lambda: self.inner.launch(request))

    def instances(self) -> Sequence[Instance]:
        """Every instance of the account."""
        return self._call("instances", self.inner.instances)

    def terminate(self, instance_id: InstanceId) -> None:
        """Ask for the end of an instance."""
        self._call("terminate", lambda: self.inner.terminate(instance_id))

    def drill(self, instance_id: InstanceId, kind: Drill, gpu: int | None = None) -> None:
        """Break a machine, where the provider can be drilled so. Raises `RequestRejected` elsewhere."""
        if kind not in self.capabilities.drills:
            raise RequestRejected(f"{self.name} cannot be drilled with {kind}")
        panel = cast("FaultPanel", self.inner)
        self._call("drill", lambda: panel.drill(instance_id, kind, gpu))

    def _call(self, method: str, ask: Callable[[], Answer]) -> Answer:
        del method
        return ask()
