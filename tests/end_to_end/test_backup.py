"""A backup and a restore by the command line alone, with real processes: what comes back, and what was bought since."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from godwit.domain.clock import SystemClock
from godwit.providers.hosted import HostedMachines
from godwit.providers.simulated.cloud import Cloud

from tests.brokers import free_port
from tests.emulators.emulator import API_KEY
from tests.emulators.lambdalabs.emulator import SHAPES, LambdaEmulator
from tests.end_to_end.conftest import System, serving, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("outages"), pytest.mark.timeout(540)]


def configured(providers: str) -> str:
    """A configuration with a port of its own: the usual one may be another's between `down` and the next `up`."""
    return f"port: {free_port()}\nproviders: {providers}\n"


def done(system: System, *words: str) -> str:
    """What a command that has to work says."""
    ended = system.godwit(*words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def written(home: Path, name: str, program: str) -> str:
    """A specification of a job of one GPU that needs no Ray."""
    spec = home.with_name(f"{name}.yaml")
    says = json.dumps(f"echo {name} begins\n{program}")
    spec.write_text(f"kind: dev\nname: {name}\nrun: {says}\nresources: {{gpus: 'H100:1', spot: never}}\n")
    return str(spec)


def run(system: System, name: str, program: str = "sleep 600") -> None:
    """Submit a job, and wait until its program has begun."""
    done(system, "run", "-y", "--detach", written(system.home, name, program))
    wait_for(f"the first words of {name}", 120, lambda: f"{name} begins" in system.godwit("logs", name).stdout)


def held(home: Path) -> dict[str, bytes]:
    """All that lies in a home but the lock, which every command that needs it to itself writes its number into."""
    files = [path for path in home.rglob("*") if path.is_file() and path.name != "control_plane.lock"]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


def test_a_job_of_the_backup_goes_on_and_one_submitted_since_is_gone(tmp_path: Path) -> None:
    home, go, backup = tmp_path / "home", tmp_path / "go", str(tmp_path / "backup.godwit")
    with serving(home, configured("[{kind: simulated, name: sim-aurora}]")) as system:
        run(system, "before", f"while ! test -e {go}; do sleep 0.2; done; echo it goes on")
        (known,) = system.read("ps", "-a")
        done(system, "backup", backup)
        done(system, "run", "-y", "--detach", written(home, "since", "sleep 600"))
        done(system, "down")

        was = held(home)
        refused = system.godwit("restore", backup)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "is newer than the backup" in refused.stderr
        assert "--over-newer replaces it, and keeps it beside" in refused.stderr
        assert held(home) == was

        assert "restored" in done(system, "restore", "--over-newer", "--end-orphans", backup)
        (kept,) = home.glob("godwit.db.before-restore-*")
        assert kept.read_bytes() == was["godwit.db"]
        done(system, "up", "--detach")
        go.touch()
        wait_for("the job of the backup", 120, lambda: "it goes on" in system.godwit("logs", "before").stdout)
        assert [one["id"] for one in system.read("ps", "-a")] == [known["id"]]


@dataclass(frozen=True)
class Elsewhere:
    """A cloud whose machines go on while the control plane is down."""

    url: str
    sold: Cloud
    machines: HostedMachines

    def hang(self, instance_id: str) -> None:
        """Stop the agent of a machine where it stands; its programs and their guards go on."""
        where = self.machines.whereabouts(instance_id)
        assert where is not None
        for process in psutil.process_iter(["cmdline", "environ"]):
            env: dict[str, Any] = process.info["environ"] or {}
            if env.get("GODWIT_NODE_DIR") == where.folder and "godwit.agents" in (process.info["cmdline"] or []):
                process.suspend()
                return
        raise AssertionError(f"no agent runs on {instance_id}")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    """Lambda as it shows itself, with machines that are real here."""
    machines = HostedMachines(tmp_path / "lambda")
    emulator = LambdaEmulator(SHAPES, clock=SystemClock(), machines=machines)
    with emulator.serving() as url:
        yield Elsewhere(url, emulator.cloud, machines)
        for instance_id in machines.known():
            machines.cut(instance_id)
        wait_for("the end of the machines", 20, lambda: not machines.known())


def test_of_machines_bought_since_one_is_a_node_again_and_one_that_hangs_is_an_orphan(
    tmp_path: Path, elsewhere: Elsewhere
) -> None:
    backup = str(tmp_path / "backup.godwit")
    with serving(tmp_path / "home", configured("[]")) as system:
        added = system.godwit("providers", "add", "lambda", "--set", f"url={elsewhere.url}", keys=[API_KEY])
        assert added.returncode == 0, added.stderr
        wait_for("offers", 60, lambda: system.read("offers", "--gpus", "H100:1"))
        done(system, "backup", backup)
        run(system, "first")
        (hangs,) = elsewhere.sold.live()
        run(system, "second")
        (lives,) = set(elsewhere.sold.live()) - {hangs}
        done(system, "down")
        elsewhere.hang(hangs)
        done(system, "restore", "--over-newer", backup)
        done(system, "up", "--detach")

        wait_for("the node", 120, lambda: [one["instance_id"] for one in system.read("nodes")] == [lives])
        told = wait_for("a list without it", 60, lambda: (found := orphans(system)) and len(found) == 2 and found)
        assert told[0].split()[:2] == ["lambda", hangs]
        assert told[1] == "1 kept, and paid for; `godwit orphans --end` ends them"
        assert orphans(system, "--end") == [told[0], "1 to be ended, unless their agents come back before"]
        assert system.read("ps", "-a") == [], "jobs submitted since are gone"


def orphans(system: System, *words: str) -> list[str]:
    """The lines of `godwit orphans`."""
    return done(system, "orphans", *words).splitlines()
