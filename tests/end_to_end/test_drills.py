"""Fire drills on a fleet of real processes: each fault leads to what it calls for, and to nothing where nothing is due.

Three jobs, each on a machine of its own with a real Ray, live through all of them. How soon each fault was found, and
how soon its GPU was out of placement, is printed.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.conftest import System, wait_for

pytestmark = [
    pytest.mark.drills, pytest.mark.e2e, pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.timeout(1_800),
]  # fmt: skip

PATIENCE_S = 300.0
"""For each step: on two busy cores three Rays that start at once take a minute."""

HEARTBEATS_S = 3.0
"""Longer than a heartbeat may be on its way: who is heard after that was not killed, or lives again."""

# The breaker would be right: a third of this fleet is drilled at once.
CONFIG = """
providers: [{kind: simulated, name: sim-aurora}]
fleet: {max_nodes: 6}
health: {breaker_share: 1, breaker_most: 1}
"""

JOB = """
name: NAME
run: exec python -u FOLDER/count.py NAME
resources: {gpus: H100:1}
preflight: never
hang_after: HANG
"""

COUNT = """
import os, pathlib, sys, time
name, folder = sys.argv[1], pathlib.Path(__file__).parent
checkpoints, restored = pathlib.Path(os.environ["GODWIT_CHECKPOINT_DIR"]), os.environ.get("GODWIT_RESTORED_CHECKPOINT")
step = int(pathlib.Path(restored).read_text()) if restored else 0
print("began at", step)

def told_to(what):
    flag = folder / f"{what}-{name}"
    return flag.exists() and (flag.unlink() or True)

while True:
    step += 1
    print(f"step={step} loss={'nan' if told_to('nan') else 0.5}")
    (checkpoints / ".new").write_text(str(step))
    (checkpoints / ".new").rename(checkpoints / f"step-{step}")
    if told_to("hang"):
        time.sleep(600)
    time.sleep(1)
"""
"""Counts, and saves each step; a file beside it makes it do something wrong, once."""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A control plane on one simulated cloud; everything of it ends with the test."""
    started = System(tmp_path / "home")
    started.home.mkdir(mode=0o700)
    (started.home / "config.yaml").write_text(CONFIG)
    up = started.godwit("up", "--detach")
    assert up.returncode == 0, up.stderr
    yield started
    down = started.godwit("down")
    assert down.returncode == 0, down.stderr


class Fleet:
    """Three jobs, and what happened to them and to their nodes."""

    def __init__(self, system: System, folder: Path) -> None:
        self._system, self._folder = system, folder
        (folder / "count.py").write_text(COUNT)
        url = json.loads((system.home / "control_plane.json").read_text())["url"]
        token = (system.home / "token").read_text().strip()
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)

    def submit(self, name: str, hang_after: str = "off") -> None:
        """A job that counts, and saves each step."""
        spec = self._folder / f"{name}.yaml"
        spec.write_text(JOB.replace("NAME", name).replace("FOLDER", str(self._folder)).replace("HANG", hang_after))
        ended = self._system.godwit("run", "-y", "--detach", str(spec))
        assert ended.returncode == 0, ended.stderr

    def misbehave(self, flag: str, name: str) -> None:
        """Let a job's program do something wrong at its next step, once."""
        (self._folder / f"{flag}-{name}").touch()

    def drill(self, kind: str, node: str, gpu: str = "") -> None:
        """Break something."""
        ended = self._system.godwit("drill", kind, f"{node}{gpu}")
        assert ended.returncode == 0, ended.stderr

    def job(self, name: str) -> dict[str, Any]:
        """How a job stands."""
        return dict(self._get(f"/v1/jobs/{name}"))

    def goes_on(self, name: str, epoch: int) -> bool:
        """Whether this attempt of the job runs and has saved a step."""
        job = self.job(name)
        return job["state"] == "running" and any(one["epoch"] == epoch for one in job["checkpoints"])

    def events(self, **of: str) -> list[dict[str, Any]]:
        """What happened, oldest first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._get("/v1/events", limit="1000", **of, **({"cursor": cursor} if cursor else {}))
            found, cursor = found + page["items"], page["next_cursor"]
        return found

    def node_of(self, name: str) -> str:
        """Where a job was placed last."""
        return str(self.job(name)["attempts"][-1]["slots"][0]["node_id"])

    def is_heard_again(self, node: str) -> bool:
        """Whether a node's agent was heard well after it was drilled."""
        drilled = [event["at"] for event in self.events(node=node) if event["kind"] == "node.drill"][-1]
        return bool(self._get(f"/v1/nodes/{node}")["last_seen_at"] > drilled + HEARTBEATS_S)

    def decided(self, node: str, code: str) -> dict[str, Any] | None:
        """What was decided about a finding that called for nothing."""
        found = [e for e in self.events(node=node) if e["kind"] == "node.finding-decided"]
        return next((e for e in found if e["data"]["code"].startswith(code)), None)

    def incidents(self, node: str) -> list[dict[str, Any]]:
        """All incidents of a node, those that are over too."""
        return list(self._get("/v1/incidents", all="true", node=node)["items"])

    def _get(self, path: str, **params: str) -> Any:
        # Not by the command line: to start it ten times a second would take what the fleet needs.
        answer = self._http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


def test_every_fault_leads_to_what_it_calls_for_and_to_nothing_else(system: System, tmp_path: Path) -> None:
    fleet = Fleet(system, tmp_path)
    for name, hang_after in (("lost", "off"), ("linked", "off"), ("mapped", "25s")):
        fleet.submit(name, hang_after)
    for name in ("lost", "linked", "mapped"):
        wait_for(f"the first step of {name}", PATIENCE_S, partial(fleet.goes_on, name, 1))
    nodes = {name: fleet.node_of(name) for name in ("lost", "linked", "mapped")}
    _nothing_is_done(fleet, nodes)
    _each_goes_on(fleet, nodes)
    _what_cannot_be_repaired_is_given_back(fleet)
    _print_detection(fleet, nodes.values())


def _nothing_is_done(fleet: Fleet, nodes: dict[str, str]) -> None:
    """A program's mistake, heat, a loss that is no number and a dead agent end no attempt."""
    fleet.drill("xid-13", nodes["lost"], ":0")
    fleet.drill("thermal", nodes["linked"], ":0")
    fleet.misbehave("nan", "lost")
    for name, code in (("lost", "xid:13"), ("linked", "temperature"), ("lost", "loss")):
        wait_for(f"the decision about {code}", PATIENCE_S, partial(fleet.decided, nodes[name], code))
    fleet.drill("agent-loss", nodes["linked"])
    wait_for("the agent that was killed", PATIENCE_S, partial(fleet.is_heard_again, nodes["linked"]))
    for name, node in nodes.items():
        assert (fleet.job(name)["state"], fleet.job(name)["epoch"]) == ("running", 1)
        assert fleet.incidents(node) == []


def _each_goes_on(fleet: Fleet, nodes: dict[str, str]) -> None:
    """A lost GPU and a fatal NVLink are left for another machine; a job that hangs is started again where it was."""
    fleet.misbehave("hang", "mapped")
    fleet.drill("gpu-lost", nodes["lost"], ":0")
    fleet.drill("nvlink-fatal", nodes["linked"], ":0")
    for name in nodes:
        wait_for(f"{name} to go on", PATIENCE_S, partial(fleet.goes_on, name, 2))
        job = fleet.job(name)
        restored = [e for e in fleet.events(job=job["id"]) if e["kind"] == "job.restored"][-1]["data"]["step"]
        saved = max(one["step"] for one in job["checkpoints"] if one["epoch"] == 1)
        print(f"{name}: went on from step {restored}; the newest that was told as saved is {saved}")
        assert restored >= 1
        assert job["interruptions"] == 0
    _was_done(fleet, "lost", nodes["lost"], {"xid:79", "gpu:lost"}, "reboot")
    _was_done(fleet, "linked", nodes["linked"], {"xid:74", "nvlink:down"}, "reset_gpu")
    _was_done(fleet, "mapped", nodes["mapped"], {"hang"}, "restart_job")


def _what_cannot_be_repaired_is_given_back(fleet: Fleet) -> None:
    """Memory whose rows cannot be remapped any more is a case for the vendor: the machine goes, the job goes on."""
    node = fleet.node_of("mapped")
    fleet.drill("row-remap-failure", node, ":0")
    wait_for("the incident's end", PATIENCE_S, lambda: _is_over(fleet, node) and fleet.job("mapped")["epoch"] == 3)
    codes = {"xid:48", "xid:64", "row-remap:failure", "ecc:uncorrected"}
    _was_done(fleet, "mapped", node, codes, "contact_support")
    assert fleet.node_of("mapped") != node


def _was_done(fleet: Fleet, name: str, node: str, codes: set[str], remedy: str) -> None:
    wait_for(f"the end of what is wrong with {name}", PATIENCE_S, partial(_is_over, fleet, node))
    incident = fleet.incidents(node)[0]
    assert incident["code"] in codes
    assert (incident["remedy"], incident["jobs"]) == (remedy, [fleet.job(name)["id"]])


def _is_over(fleet: Fleet, node: str) -> bool:
    found = fleet.incidents(node)
    return bool(found) and all(incident["state"] == "closed" for incident in found)


def _print_detection(fleet: Fleet, nodes: Any) -> None:
    for node in nodes:
        drill: dict[str, Any] | None = None
        told: dict[str, float] = {}
        for event in [*fleet.events(node=node), {"kind": "node.drill", "data": {}}]:
            if event["kind"] == "node.drill":
                if drill is not None:
                    print(f"{drill['data']['kind']}: {told} s after the drill")
                drill, told = event, {}
            elif drill is not None and event["kind"] in {"node.finding", "health.state"}:
                told.setdefault(event["kind"], round(event["at"] - drill["at"], 2))
