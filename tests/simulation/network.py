"""The network between agents and the control plane: requests are lost, late and repeated, and so are answers."""

import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

from godwit.control_plane.context import Context
from godwit.control_plane.services import agents
from godwit.domain.clock import ManualClock
from godwit.domain.errors import Forbidden, Gone, ProviderUnavailable, Unauthenticated
from godwit.domain.wire import agents as wire

from tests.simulation.crashing import Crash
from tests.simulation.looping import REFUSED
from tests.simulation.machines import SimMachine


class Network:
    """What of a world carries messages; the rest of the world is its own."""

    clock: ManualClock
    rng: random.Random
    context: Context

    def __init__(self) -> None:
        self._late: list[tuple[float, Callable[[], object]]] = []
        self._cut_off_until: dict[str, float] = defaultdict(float)
        self._down_until = 0.0

    @property
    def faulty(self) -> bool:
        """Whether things still go wrong."""
        raise NotImplementedError

    def _die(self, why: str) -> None:
        raise NotImplementedError

    def _request(self, serve: Callable[[], object]) -> object:
        """One request to the control plane over a bad network. Raises `ConnectionError` when no answer comes."""
        if self.clock.now() < self._down_until:
            raise ConnectionError("nobody answers")
        dice = self.rng.random() if self.faulty else 1.0
        if dice < 0.02:
            raise ConnectionError("the request was lost")
        if dice < 0.04:
            self._late.append((self.clock.now() + self.rng.uniform(1, 20), serve))
            raise ConnectionError("the request is late")
        answer = self._serve(serve)
        if dice < 0.06:
            raise ConnectionError("the answer was lost")
        return self._serve(serve) if dice < 0.08 else answer

    def _serve(self, serve: Callable[[], object]) -> object:
        try:
            return serve()
        except Crash as crash:
            self._die(f"the control plane dies in a request, {crash}")
            raise ConnectionError("the control plane died") from crash
        except (*REFUSED, ProviderUnavailable) as error:
            raise ConnectionError("the server answered that it cannot") from error

    def _deliver_late(self) -> None:
        due = [serve for at, serve in self._late if at <= self.clock.now()]
        self._late = [(at, serve) for at, serve in self._late if at > self.clock.now()]
        for serve in due:
            # Nobody waits for this answer any more.
            with suppress(Forbidden, Gone, Unauthenticated, ProviderUnavailable, *REFUSED):
                serve()

    def _join(self, machine: SimMachine, token: str, request: wire.JoinRequest) -> wire.JoinReply:
        self._refuse_when_cut_off(machine)
        try:
            answer = self._request(lambda: agents.join(self.context, token, request))
        except (Forbidden, Gone, Unauthenticated) as refused:
            machine.dismiss(self.clock.now())
            raise ConnectionError("not admitted") from refused
        assert isinstance(answer, wire.JoinReply)
        return answer

    def _heartbeat(self, machine: SimMachine, credential: str, beat: wire.HeartbeatRequest) -> wire.HeartbeatReply:
        self._refuse_when_cut_off(machine)
        try:
            answer = self._request(lambda: agents.heartbeat(self.context, credential, beat))
        except Gone as gone:
            machine.dismiss(self.clock.now())
            raise ConnectionError("dismissed") from gone
        except Unauthenticated as forgotten:
            machine.forget(self.clock.now())
            raise ConnectionError("forgotten") from forgotten
        assert isinstance(answer, wire.HeartbeatReply)
        return answer

    def _commands(self, machine: SimMachine, credential: str, known: set[str]) -> list[wire.Command]:
        self._refuse_when_cut_off(machine)
        try:
            answer = self._request(lambda: agents.commands(self.context, credential, known)[1])
        except (Gone, Unauthenticated) as refused:  # the next heartbeat hears it too, and decides
            raise ConnectionError("dismissed") from refused
        assert isinstance(answer, list)
        return answer

    def _refuse_when_cut_off(self, machine: SimMachine) -> None:
        if self.clock.now() < self._cut_off_until[machine.id]:
            raise ConnectionError("cut off")
