"""What is found in the kernel log, as the documentation shows it."""

from godwit.agents.checks.kernel import cards, nvidia
from godwit.agents.checks.kernel.parsing import FORMS
from godwit.agents.checks.rules import Described, Rule

_BESIDE: dict[str, tuple[Rule, ...]] = {
    "xid": (nvidia.XID, nvidia.APPLICATION_XID, nvidia.RECORD_XID),
    "sxid": (nvidia.SXID_FATAL, nvidia.SXID),
    "pcie-bus": (cards.AER_FATAL, cards.AER_NONFATAL, cards.AER_CORRECTED),
    "network-card": (cards.CARD_DEAD, cards.CARD_TROUBLE, cards.CARD_REPEATED),
}
"""Rules that a form chooses by what the line says."""

_NAMES = list(dict.fromkeys(form.check for form in FORMS))


def _rules(name: str) -> tuple[Rule, ...]:
    own = [form.rule for form in FORMS if form.check == name]
    return tuple(dict.fromkeys([*_BESIDE.get(name, ()), *own]))


CHECKS: tuple[Described, ...] = tuple(Described(name, "kernel log", _rules(name)) for name in _NAMES)
