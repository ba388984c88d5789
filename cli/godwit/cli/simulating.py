"""What `godwit simulate` reads and runs: the one place of the command line that knows the planner, and needs NumPy.

Traces, fleets and prices are files and words; what a control plane has on record comes from `history`.
"""

import gzip
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godwit.cli.exits import ExitCode, Failure
from godwit.cli.history import Ended
from godwit.cli.output import note
from godwit.domain.errors import InvalidRequest
from godwit.domain.wire import plain_yaml
from godwit.scheduler.simulator import fleets, traces
from godwit.scheduler.simulator.policies import POLICIES
from godwit.scheduler.simulator.report import Scenario
from godwit.scheduler.simulator.traces import TraceJob
from godwit.scheduler.simulator.world import Stops, World

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Question:
    """What to simulate: these jobs on this fleet, and on each of the fleets that it might be, under each policy."""

    jobs: Sequence[TraceJob]
    fleet: fleets.Fleet
    what_ifs: Sequence[str]
    policies: Sequence[str]
    stops: Stops

    def answer(self) -> list[list[Scenario]]:
        """The scenarios of the fleet as it is, then those of each what-if."""
        changed = [(what_if, fleets.what_if(self.fleet, what_if)) for what_if in self.what_ifs]
        found = [[self._run(name, self.fleet, "") for name in self.policies]]
        found += [[self._run(name, fleet, what_if) for name in self.policies] for what_if, fleet in changed]
        return found

    def _run(self, name: str, fleet: fleets.Fleet, what_if: str) -> Scenario:
        told = f"{name} if {what_if}" if what_if else name
        began = time.monotonic()
        policy = POLICIES[name].make(fleets.cluster(fleet), self.stops.restart_s)
        outcome = World(self.jobs, policy, self.stops, timer=time.perf_counter).run(told, fleets.usd_per_hour(fleet))
        note(f"simulated {len(self.jobs):,} jobs, {told}: {time.monotonic() - began:.1f} s")
        return Scenario(fleets.told(fleet), outcome)


def checked(policies: Sequence[str]) -> list[str]:
    """The policies by name, each once; raises `Failure` (usage) that lists them."""
    for name in policies:
        if name not in POLICIES:
            known = "\n".join(f"  {name:<14} {policy.told}" for name, policy in POLICIES.items())
            raise Failure(f"there is no policy {name!r}; there are:\n{known}", ExitCode.USAGE)
    return list(dict.fromkeys(policies))


def jobs(path: Path, from_day: float, to_day: float | None, gpus_per_node: int) -> list[TraceJob]:
    """The jobs of a trace, gzipped or not, submitted in [from_day, to_day) days after its zero."""
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as lines:
            found = traces.read(lines, gpus_per_node)
    except (OSError, EOFError, UnicodeDecodeError) as exc:
        raise Failure(f"the trace {path} cannot be read: {exc}", ExitCode.USAGE) from exc
    except InvalidRequest as exc:
        raise Failure(f"{path}: {exc}", ExitCode.USAGE) from exc
    until_s = float("inf") if to_day is None else to_day * DAY_S
    there = traces.window(found, from_day * DAY_S, until_s)
    if not there:
        last = found[-1].submit_s / DAY_S
        raise Failure(f"{path} has no jobs in these days; its last is submitted on day {last:.1f}", ExitCode.USAGE)
    return there


def recorded(found: Sequence[Ended]) -> list[TraceJob]:
    """Jobs from a control plane's record, as of a trace that begins with the first."""
    first = found[0].created_at
    return [
        TraceJob(
            one.job_id,
            one.created_at - first,
            max(one.ran_s, 1.0),
            one.nodes,
            one.gpus_per_node,
            one.project,
            one.priority,
        )
        for one in found
    ]


def fleet(said: Sequence[str], prices: Path | None) -> fleets.Fleet:
    """The fleet from words or YAML files, mixed as one likes; raises `Failure` (usage)."""
    listed = _prices(_yaml(prices), str(prices)) if prices else {}
    lines: list[str] = []
    for word in said:
        path = Path(word)
        if path.suffix not in (".yaml", ".yml"):
            lines.append(word)
            continue
        document = _yaml(path)
        nodes = document.get("nodes")
        if not isinstance(nodes, list) or not all(isinstance(line, str) for line in nodes):
            raise Failure(f"{path}: `nodes` must be a list of lines such as '80 x H100-SXM:8'", ExitCode.USAGE)
        lines += nodes
        listed = {**_prices(document.get("prices") or {}, word), **listed}
    try:
        return fleets.parse(lines, listed)
    except InvalidRequest as exc:
        raise Failure(str(exc), ExitCode.USAGE) from exc


def _yaml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document = plain_yaml.load(file.read(plain_yaml.BYTES_MAX + 1))
    except (OSError, plain_yaml.NotPlain) as exc:
        raise Failure(f"{path} cannot be read: {' '.join(str(exc).split())}", ExitCode.USAGE) from exc
    if not isinstance(document, dict):
        raise Failure(f"{path} must be a page of YAML with a mapping in it", ExitCode.USAGE)
    return document


def _prices(found: Mapping[str, Any], where: str) -> dict[str, float]:
    for name, price in found.items() if isinstance(found, dict) else [(None, found)]:
        if not isinstance(name, str) or not isinstance(price, int | float) or not 0 <= price < 1e6:
            raise Failure(f"{where}: prices are such as 'H100-SXM:8: 20.5' in dollars per hour", ExitCode.USAGE)
    return {name: float(price) for name, price in found.items()}
