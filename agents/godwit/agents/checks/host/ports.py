"""InfiniBand and RoCE ports: those that are down, that flap, and that count errors."""

from collections.abc import Mapping

from godwit.agents.checks.host.reading import Host, HostCheck, Values
from godwit.agents.checks.rules import Rule, Sign
from godwit.domain.health import Grade, Remedy

ROOT = "sys/class/infiniband"
DROP_POLLS = 8
"""Four minutes at a poll each 30 s (gpud)."""

_SENTINEL = "NVSentinel, port counters"
DOWN = Rule(
    "port:down", f"a port that was up is down in {DROP_POLLS} of {DROP_POLLS} polls (4 min)", Grade.UNHEALTHY,
    Remedy.REPLACE_NODE, "gpud infiniband", DROP_POLLS, DROP_POLLS,
)  # fmt: skip
FLAPPED = Rule(
    "port:flap", "`link_downed` rises", Grade.UNHEALTHY, Remedy.REPLACE_NODE, f"{_SENTINEL}; gpud infiniband",
    clears="person",
)  # fmt: skip
BROKEN = Rule(
    "port:errors",
    "`excessive_buffer_overrun_errors`, `local_link_integrity_errors` or `rnr_nak_retry_err` rises, or `symbol_error` "
    "by more than 120/h", Grade.UNHEALTHY, Remedy.REPLACE_NODE, _SENTINEL, clears="person",
)  # fmt: skip
NOISY = Rule(
    "port:noise",
    "`symbol_error` > 10/s, `link_error_recovery` > 5/min, `port_rcv_errors` > 10/s, `port_xmit_discards` > 100/s, "
    "`roce_slow_restart` > 10/s, `local_ack_timeout_err` > 1/s, in 3 of 5 polls", Grade.DEGRADED, Remedy.NONE,
    _SENTINEL, 3, 5,
)  # fmt: skip

FATAL_COUNTERS = ("excessive_buffer_overrun_errors", "local_link_integrity_errors", "rnr_nak_retry_err")
SYMBOLS_PER_HOUR = 120.0
NOISE_PER_S = {
    "symbol_error": 10.0,
    "link_error_recovery": 5 / 60,
    "port_rcv_errors": 10.0,
    "port_xmit_discards": 100.0,
    "roce_slow_restart": 10.0,
    "local_ack_timeout_err": 1.0,
}
COUNTERS = ("link_downed", *FATAL_COUNTERS, *NOISE_PER_S)
WRAP = 2**32
"""Old counters of InfiniBand have 32 bits or fewer and stop or wrap; a smaller value is a wrap or a reset."""


def _read(host: Host) -> Values | None:
    ports = {}
    for card in host.folders(ROOT):
        for port in host.folders(f"{ROOT}/{card}/ports"):
            base = f"{ROOT}/{card}/ports/{port}"
            counts = {}
            for name in COUNTERS:
                value = host.number(f"{base}/counters/{name}")
                value = host.number(f"{base}/hw_counters/{name}") if value is None else value
                if value is not None:
                    counts[name] = value
            ports[f"{card}/{port}"] = {"active": "ACTIVE" in (host.text(f"{base}/state") or ""), "counts": counts}
    return {"ports": ports} if ports else None


def rose(now: int, before: int | None) -> int:
    """By how much a counter rose: one that is smaller than before was reset, and counts from nothing.

    One that was near its top wrapped around.
    """
    if before is None:
        return 0
    if now >= before:
        return now - before
    return now + WRAP - before if before > WRAP * 0.9 else now


def _judge(now: Values, before: Values | None, took_s: float) -> list[Sign]:
    signs: list[Sign] = []
    active = {name for name, port in now["ports"].items() if port["active"]}
    now["once_up"] = sorted(active.union(before.get("once_up", ()) if before is not None else ()))
    for name, port in now["ports"].items():
        was = before["ports"].get(name) if before is not None else None
        if was is None:
            continue
        rises = {c: rose(value, was["counts"].get(c)) for c, value in port["counts"].items()}
        signs += _judge_port(name, rises, took_s)
    down = [name for name, port in now["ports"].items() if not port["active"] and name in now["once_up"]]
    if down:
        signs.append(Sign(DOWN, f"ports are down: {', '.join(down)}", evidence={"ports": ", ".join(down)}))
    return signs


def _judge_port(name: str, rises: Mapping[str, int], took_s: float) -> list[Sign]:
    signs = []
    seen: dict[str, str | int | float] = {"port": name, **{c: n for c, n in rises.items() if n}}
    if rises.get("link_downed"):
        signs.append(Sign(FLAPPED, f"port {name} lost its link {rises['link_downed']} times", evidence=seen))
    broken = [counter for counter in FATAL_COUNTERS if rises.get(counter)]
    if rises.get("symbol_error", 0) > max(1.0, SYMBOLS_PER_HOUR * took_s / 3_600):
        broken.append("symbol_error")
    if broken:
        signs.append(Sign(BROKEN, f"port {name} counts {', '.join(broken)}", evidence=seen))
    noise = [c for c, most in NOISE_PER_S.items() if took_s > 0 and rises.get(c, 0) / took_s > most]
    if noise:
        signs.append(Sign(NOISY, f"port {name} counts many {', '.join(noise)}", evidence=seen))
    return signs


CHECK = HostCheck(
    "host-ports", "/sys/class/infiniband/*/ports/*: state, counters, hw_counters", (DOWN, FLAPPED, BROKEN, NOISY),
    _read, _judge,
)  # fmt: skip
