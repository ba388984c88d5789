"""Writes `docs/metrics.md` from what the processes export: `python -m tests.deploy.metrics_page`."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from godwit.agents.metrics import described as agent
from godwit.control_plane.metrics import described as control_plane
from godwit.domain.metrics import Described
from godwit.gateway.inspection import Inspection
from godwit.gateway.proxy import Proxy

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"

GATEWAY_BOUNDS: Mapping[str, str] = {
    "project": "projects with a service",
    "service": "services of the route table",
    "replica": "replicas that serve now",
    "status": "HTTP status codes that replicas answer with",
    "reason": "reasons to shed, fewer than 20",
    "model": "models that replicas answer as",
    "direction": "in, out",
    "what": "sent, dropped",
}

HEAD = """\
# Metrics

Written from the code by `python -m tests.deploy.metrics_page`; do not edit by hand.

Every process shows Prometheus what it does, by Prometheus' conventions: base units, `_total` on what only grows,
instants as `_timestamp_seconds` (an age is `time()` minus it). No label holds an id of a job or of a user, and each
label says below what bounds its values. `deploy/prometheus/` has an example configuration and alert rules
([what each alert means](alerts.md)), `deploy/grafana/` dashboards.

| process | where | who may read |
| --- | --- | --- |
| control plane | `/metrics` of its API | whoever has a token; everybody, with `metrics: {open: true}` in config.yaml |
| gateway | `/-/metrics` of its port | this machine only |
| agent | off, unless `GODWIT_METRICS` names a port (of loopback) or HOST:PORT | whoever reaches that port |

Counters begin anew with their process. The figures of the fleet are read from the database at each scrape (of scrapes
within two seconds, once). Of several control planes on one database only the one that leads shows them, so that sums
over all are right; scrape each of them, not an address that they share.
"""

OF_AGENT = """\
Values of GPUs have the names, units and labels of NVIDIA's DCGM exporter, so that dashboards made for it show these
nodes too. They come from the polls of the health checks (each 30 s, `GODWIT_HEALTH_POLL_S`), which hold the driver open
anyway; do not run both exporters under one job. What a GPU does not have is left out. All are shown as `untyped`, since
the library would add `_total` to the names of counters.
"""


def exported_by_gateway() -> list[Described]:
    """What a gateway exports, asked of one that has no routes."""
    idle = cast(Proxy, cast(Any, SimpleNamespace(gates={})))
    found = []
    for family in Inspection(idle).registry.collect():
        labels = tuple(getattr(family, "_labelnames", ()))
        name = family.name + "_total" if family.type == "counter" else family.name
        kind: Any = family.type
        found.append(Described(name, kind, family.documentation, labels))
    return found


def known() -> dict[str, Described]:
    """Every metric of every process by its name."""
    return {of.name: of for of in (*control_plane.METRICS, *agent.METRICS, *exported_by_gateway())}


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    parts += _section("Control plane", control_plane.METRICS, control_plane.BOUNDS)
    parts += _section("Agent", agent.OWN, agent.BOUNDS)
    parts += _section("GPUs, by their agents", agent.GPU.values(), agent.BOUNDS, OF_AGENT)
    parts += _section("Gateway", exported_by_gateway(), GATEWAY_BOUNDS)
    return "\n".join(parts)


def _section(title: str, of: Iterable[Described], bounds: Mapping[str, str], text: str = "") -> Iterator[str]:
    metrics = list(of)
    yield f"## {title}\n"
    if text:
        yield text
    yield "| metric | kind | labels | what |\n| --- | --- | --- | --- |"
    yield from (f"| `{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.help} |" for m in metrics)
    used = dict.fromkeys(label for m in metrics for label in m.labels)
    if used:
        yield "\n| label | bounded by |\n| --- | --- |"
        yield from (f"| `{label}` | {bounds[label]} |" for label in used)
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page())
