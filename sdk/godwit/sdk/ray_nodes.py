"""Tells Ray Train at once of nodes that came or went.

What Ray Train takes for its elastic jobs it asks of Ray's autoscaling coordinator, an actor that looks at the nodes
every 20 seconds (`_AutoscalingCoordinatorActor.TICK_INTERVAL_S`, Ray 2.60). So long a node that came stood idle, and
so long a job waited for a node that was dead. Here somebody looks every second, and has the coordinator look when
something changed.
"""

import logging
import threading
import time
from collections.abc import Callable

import ray

LOOK_EVERY_S = 1.0
ANSWER_S = 10.0
"""How long the coordinator may take: it reckons anew for all jobs of the cluster, which is one."""

_COORDINATOR = "AutoscalingCoordinator"
_log = logging.getLogger(__name__)


class Lookout:
    """Looks again and again; `told` is called for each change, until it has worked."""

    def __init__(self, look: Callable[[], frozenset[str]], told: Callable[[], None]) -> None:
        self._look, self._told = look, told
        self._known: frozenset[str] | None = None
        self._complained = False

    def once(self) -> None:
        """One look. What fails is logged, once, and tried again with the next look."""
        try:
            there = self._look()
            if self._known is not None and there != self._known:
                self._told()
            self._known = there
        except Exception as exc:  # noqa: BLE001 - Ray raises many kinds, and without us it only hears later
            if not self._complained:
                _log.warning("Ray Train hears of new and lost nodes up to 20 s late: %s", exc)
            self._complained = True


def start() -> None:
    """Look from now on, in a thread of this process; it must be part of the Ray cluster."""
    lookout = Lookout(_alive, _have_it_look)

    def keep_looking() -> None:
        while True:
            lookout.once()
            time.sleep(LOOK_EVERY_S)

    threading.Thread(target=keep_looking, name="godwit-ray-nodes", daemon=True).start()


def _alive() -> frozenset[str]:
    return frozenset(str(node["NodeID"]) for node in ray.nodes() if node["Alive"])


def _have_it_look() -> None:
    coordinator = ray.get_actor(_COORDINATOR, namespace=_COORDINATOR)
    ray.get(coordinator.get_reserved_resources.remote("", recompute=True), timeout=ANSWER_S)
