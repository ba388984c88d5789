"""What a gateway tells the control plane: one window after the other, each until it is answered; each counts once."""

from collections.abc import Callable, Sequence

from godwit.domain.wire.routes import GatewaySignals, ServiceSignals

WINDOW_MAX_S = 86_400.0
"""As long as a window may be on the wire; one of a longer silence says that it lasted for a day."""


class Reports:
    """Reports of one process. Pure: `now` is of a clock that never goes back, `wall` is what the other one said then.

    `ended_at` is when the window of the last one ended.
    """

    def __init__(self, gateway: str, wall: float, now: float) -> None:
        self._gateway, self._since_epoch_s = gateway, wall - now
        self.ended_at = now
        self._owed: GatewaySignals | None = None

    def next(
        self, measure: Callable[[], Sequence[ServiceSignals]], version: int, now: float, *, draining: bool = False
    ) -> GatewaySignals:
        """What to tell now: what was not answered, as it was; else what `measure` says of the time since then."""
        if self._owed is None:
            self._owed = GatewaySignals(
                gateway=self._gateway,
                version=version,
                at=self._since_epoch_s + now,
                window_s=min(max(0.001, now - self.ended_at), WINDOW_MAX_S),
                draining=draining,
                services=list(measure()),
            )
            self.ended_at = now
        return self._owed

    def answered(self) -> None:
        """The control plane has it."""
        self._owed = None
