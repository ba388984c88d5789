"""The fault panel of a simulated cloud: what it gets wrong on purpose. Pure."""

from typing import Annotated

from godwit.domain.wire.pages import Message
from pydantic import Field

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]

EVERY_TYPE = "*"
UNTIL_CLEARED = -1


class Faults(Message):
    """Everything that is set wrong now. Counters count down as they strike.

    `refuse_capacity` maps an instance type, or "*", to how many launches are still refused (-1: until cleared).
    `fail_launches`: launches answered 503 with nothing created. `lose_answers`: launches that take effect while the
    answer never comes. `rate_limit`: calls answered 429. `unavailable`: every call is answered 503. `delay_s`: how
    late every answer comes; the effect does not wait. `list_lag_s`: how far listings lag behind, so that the newest
    machines are not in them. `state_word`: a word that listings use in place of "running".
    """

    refuse_capacity: dict[str, Annotated[int, Field(ge=UNTIL_CLEARED)]] = Field(default_factory=dict)
    fail_launches: Count = 0
    lose_answers: Count = 0
    rate_limit: Count = 0
    unavailable: bool = False
    delay_s: Seconds = 0.0
    list_lag_s: Seconds = 0.0
    state_word: str | None = None

    def after(self, counter: str) -> "Faults":
        """The same with one strike of `counter` used up."""
        return self.model_copy(update={counter: getattr(self, counter) - 1})

    def refuses(self, instance_type: str) -> str | None:
        """The key under which a launch of this type is refused, if it is."""
        return next((key for key in (instance_type, EVERY_TYPE) if self.refuse_capacity.get(key, 0) != 0), None)

    def after_refusal(self, key: str) -> "Faults":
        """The same with one refusal under `key` used up; those that last until cleared stay."""
        left = self.refuse_capacity[key]
        counts = self.refuse_capacity | {key: left if left == UNTIL_CLEARED else left - 1}
        return self.model_copy(update={"refuse_capacity": {name: n for name, n in counts.items() if n != 0}})
