"""Why a job does not run, told shortly: dozens of offers share a reason, and a person reads each reason once."""

from collections import Counter
from collections.abc import Sequence

from godwit.cli import figures
from godwit.domain.wire.views import RefusalView

REASONS_SHOWN_MAX = 12
PLACES_SHOWN_MAX = 4


def told(refusals: Sequence[RefusalView], now: float) -> list[str]:
    """One line for each reason, in the planner's order: who says so, when they are asked again, what would help."""
    groups: dict[tuple[str, str], list[RefusalView]] = {}
    for refusal in refusals:
        groups.setdefault((refusal.message, refusal.would_help), []).append(refusal)
    lines = [_line(message, would_help, group, now) for (message, would_help), group in groups.items()]
    hidden = len(lines) - REASONS_SHOWN_MAX
    return [*lines[:REASONS_SHOWN_MAX], f"... and {hidden} more reasons (-o json has all)"] if hidden > 0 else lines


def _line(message: str, would_help: str, group: Sequence[RefusalView], now: float) -> str:
    retries = [refusal.retry_at for refusal in group if refusal.retry_at is not None]
    again = f" (asked again {figures.until(min(retries), now)})" if retries else ""
    help_text = f"; would help: {would_help}" if would_help else ""
    return f"{_who(group)}: {message}{again}{help_text}"


def _who(group: Sequence[RefusalView]) -> str:
    if len(group) == 1:
        return group[0].subject
    # A subject is a provider, an offer (provider/region/...) or a node.
    counted = Counter(refusal.subject.partition("/")[0] for refusal in group)
    places = [f"{place} ({count} offers)" if count > 1 else place for place, count in counted.items()]
    more = f" and {len(places) - PLACES_SHOWN_MAX} more" if len(places) > PLACES_SHOWN_MAX else ""
    return ", ".join(places[:PLACES_SHOWN_MAX]) + more
