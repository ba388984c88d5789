"""A provider whose machines are on paper: it lists as many as it is told of, all running, and sells none."""

from collections.abc import Sequence

from godwit.domain.errors import NoCapacity
from godwit.domain.ids import InstanceId, IntentId, NodeId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers.kinds import Kind, Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Standing

OWNER = "godwit-bench"
PRICE_USD_PER_HOUR = 20.0

KIND = Kind("Paper", "benchmarks.many_agents.paper:Paper", options={"machines": "how many run"})


def node_id(number: int) -> NodeId:
    """The node of machine `number`."""
    return NodeId(f"node-{number:016x}")


def launch_id(number: int) -> IntentId:
    """The intent that launched machine `number`, which is its token too."""
    return IntentId(f"intent-{number:016x}")


def instance_id(number: int) -> InstanceId:
    """The name of machine `number` at its provider."""
    return InstanceId(f"i-{number:08x}")


class Paper:
    """Listed machines stay what they are; nothing can be bought, and who is ended is listed no more."""

    def __init__(self, setup: Setup) -> None:
        self._name, self._clock = ProviderName(setup.name), setup.clock
        born = setup.clock.now()
        self._listed = {instance_id(n): _instance(self._name, n, born) for n in range(int(setup.options["machines"]))}

    @property
    def name(self) -> ProviderName:
        """Its name."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Nothing special."""
        return Capabilities()

    def check(self) -> Standing:
        """It stands well."""
        return Standing("paper")

    def offers(self) -> Sequence[Offer]:
        """Nothing is sold."""
        return []

    def launch(self, request: LaunchRequest) -> Instance:
        """Raises `NoCapacity`."""
        raise NoCapacity(f"nothing is sold on paper, {request.token} neither")

    def instances(self) -> Sequence[Instance]:
        """All that were not ended."""
        return list(self._listed.values())

    def terminate(self, instance_id: InstanceId) -> None:
        """Take one off the list."""
        self._listed.pop(instance_id, None)


def _instance(name: ProviderName, number: int, born: float) -> Instance:
    return Instance(
        instance_id(number), name, InstanceState.RUNNING, "north", None, "h100.8x", launch_id(number), OWNER,
        spot=False, price_usd_per_hour=PRICE_USD_PER_HOUR, created_at=born,
    )  # fmt: skip
