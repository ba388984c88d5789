"""How each provider is doing, as the control plane's own watches last saw it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contact:
    """The last look at one provider. Instants are seconds since the epoch, None before the first.

    `trouble` and `offers_trouble` are empty while there is none; `offers_trouble_since` is when the refreshes of offers
    began to fail. `foreign` counts the living instances of the account that are not this control plane's;
    `foreign_ids` are the newest of them.
    """

    listed_at: float | None = None
    trouble: str = "not contacted yet"
    offers_at: float | None = None
    offers_trouble: str = ""
    offers_trouble_since: float | None = None
    foreign: int = 0
    foreign_ids: tuple[str, ...] = ()
