"""Dev environments in the control plane: whose home they begin with, terminals to them, and their end by idleness."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from godwit.agents.dev.relaying import Terminals
from godwit.agents.link import Link
from godwit.cli import terminal
from godwit.cli.client import ControlPlane
from godwit.cli.connection import Connection
from godwit.cli.exits import Failure
from godwit.control_plane.services import costs, ledger, migrations
from godwit.domain.errors import Conflict
from godwit.domain.wire.agents import CommandsRequest
from godwit.domain.wire.costs import By
from godwit.domain.wire.dev import IdleSeen
from godwit.domain.wire.migrations import MigrationRequest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.agents.dev.desks import Running
from tests.control_plane.apis import TOKEN, app_of, client_of, served
from tests.control_plane.world import Agent, World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def box(world: World, **more: Any) -> tuple[str, Agent]:
    """An environment that runs, and the agent of its node."""
    job_id, (agent,) = world.run("box", kind="dev", run=":", **more)
    return job_id, agent


def ended(world: World, job_id: str, agent: Agent) -> None:
    """Its owner ends it, and its node does as it is told."""
    world.cancel(job_id)
    agent.take_on()
    world.plan()
    assert world.job(job_id).state == "cancelled"


def test_its_node_is_told_of_its_home_and_that_it_never_hangs(world: World) -> None:
    world.submit("box", kind="dev", run=":", home="20GB", idle_after="30m")
    (agent,) = world.boot()
    (start,) = agent.commands()
    assert (start.desk.home_bytes_max, start.desk.idle_after_s, start.hang_after_s) == (20 * 10**9, 1800.0, 0.0)


def test_one_that_comes_back_begins_with_the_home_of_the_first_and_counts_epochs_on(world: World) -> None:
    first, agent = box(world)
    ended(world, first, agent)
    starts = []
    for epoch in (2, 3):
        job_id = world.submit("box", kind="dev", run=":")
        world.plan()
        (start,) = agent.take_on()
        assert (start.epoch, start.store) == (epoch, f"file:///checkpoints/{first}")
        assert world.job(job_id).state == "running"
        ended(world, job_id, agent)
        starts.append(start)
    assert len({start.job_id for start in starts}) == 2


def test_a_name_is_of_one_environment_at_a_time_and_of_its_own_project(world: World) -> None:
    box(world)
    with pytest.raises(Conflict, match="godwit attach box"):
        world.submit("box", kind="dev", run=":")
    other = world.submit("box")  # a job of that name is something else
    assert world.job(other).epoch == 0


def test_it_is_moved_when_somebody_asks_for_it(world: World) -> None:
    job_id, _ = box(world)
    view = migrations.wish(world.context, job_id, MigrationRequest(to="dear"), "token t")
    assert view.state == "planned"


def test_what_one_holds_that_nobody_uses_is_held_and_no_work(world: World) -> None:
    job_id, agent = box(world, idle_after="8h")
    attempt = world.attempt(job_id)
    world.clock.advance(3_600.0)
    agent.beat(agent.observed(IdleSeen, attempt_id=attempt.id, epoch=attempt.epoch, idle_s=600.0))
    world.clock.advance(3_600.0)
    agent.beat(agent.observed(IdleSeen, attempt_id=attempt.id, epoch=attempt.epoch, idle_s=0.0))
    world.clock.advance(1_800.0)
    found = ledger.of_job(world.context, job_id).gpu_seconds_by_reason
    gpus = len(world.attempt(job_id).slots[0].gpus)
    assert found["held"] == pytest.approx(gpus * 4_200.0, rel=0.01)
    assert found["busy"] == pytest.approx(gpus * 4_800.0, rel=0.01)
    (told,) = costs.show(world.context, By.JOB).rows[0:1]
    assert told.gpu_s["held"] == pytest.approx(found["held"])


def test_one_that_nobody_uses_is_stopped_with_a_reason_and_only_then(world: World) -> None:
    job_id, agent = box(world, idle_after="1h")
    attempt = world.attempt(job_id)
    agent.beat(agent.observed(IdleSeen, attempt_id=attempt.id, epoch=attempt.epoch, idle_s=3599.0))
    assert not world.job(job_id).cancel_requested
    for _ in range(2):
        agent.beat(agent.observed(IdleSeen, attempt_id=attempt.id, epoch=attempt.epoch, idle_s=3600.0))
    assert world.job(job_id).cancel_requested
    (told,) = world.events("job.cancel")
    assert "nobody and nothing used it for 1h" in told.reason
    world.plan()
    agent.take_on()
    world.plan()
    assert world.job(job_id).state == "cancelled"


def test_terminals_are_for_environments_that_run_and_for_those_with_a_token(world: World) -> None:
    client = client_of(world)
    waiting = world.submit("waiting", kind="dev", run=":")
    trains, _ = world.run("digits")
    assert client.post(f"/v1/jobs/{waiting}/terminals", json={}).status_code == 409
    answer = client.post(f"/v1/jobs/{trains}/terminals", json={})
    assert (answer.status_code, "only dev environments" in answer.text) == (422, True)
    assert client.post("/v1/jobs/nothing/terminals", json={}).status_code == 404
    assert client.post(f"/v1/jobs/{trains}/terminals", json={}, headers={"Authorization": "x"}).status_code == 401


def test_a_node_is_told_of_each_terminal_until_it_knows_it_and_of_no_other_nodes(world: World) -> None:
    job_id, agent = box(world)
    client = client_of(world)
    opened = client.post(f"/v1/jobs/{job_id}/terminals", json={"argv": ["secret"]}).json()
    asked: dict[str, Any] = {"headers": {"Authorization": f"Bearer {agent.credential}"}}
    for known, wanted in (([], [opened["id"]]), ([], [opened["id"]]), ([opened["id"]], [])):
        said = client.post("/v1/agent/commands", json={"known": known, "wait_s": 0}, **asked).json()
        assert [one["intent_id"] for one in said["terminals"]] == wanted
    (event,) = world.events("job.terminal")
    assert event.actor == "token token-test"
    assert "secret" not in json.dumps([event.reason, dict(event.data)])


def test_there_is_a_bound_on_terminals_and_those_that_nobody_took_make_room(world: World) -> None:
    job_id, _ = box(world)
    client = client_of(world)
    codes = [client.post(f"/v1/jobs/{job_id}/terminals", json={}).status_code for _ in range(17)]
    assert codes == [201] * 16 + [409]
    world.clock.advance(31.0)
    assert client.post(f"/v1/jobs/{job_id}/terminals", json={}).status_code == 201


def test_a_line_is_opened_by_its_own_token_and_its_own_node_only(world: World) -> None:
    job_id, _ = box(world)
    _, (stranger,) = world.run("digits")
    client = client_of(world)
    with served(cast(FastAPI, client.app)) as url:
        opened = client.post(f"/v1/jobs/{job_id}/terminals", json={}).json()
        ends = ((f"terminals/{opened['id']}", "wrong"), (f"agent/terminals/{opened['id']}", stranger.credential))
        for path, token in ends:
            where, headers = f"{url}/v1/{path}".replace("http", "ws", 1), {"Authorization": f"Bearer {token}"}
            with pytest.raises(InvalidStatus), connect(where, additional_headers=headers):
                pass


@pytest.fixture
def plane(world: World, tmp_path: Path) -> Iterator[ControlPlane]:
    """The control plane of a box with a real desk, whose agent polls as agents do."""
    job_id, agent = box(world)
    running = Running(tmp_path / "node" / "attempts" / world.attempt(job_id).id)
    over = threading.Event()
    try:
        with served(app_of(world)) as url:
            polling = threading.Thread(target=_poll, args=(url, agent.credential, tmp_path / "node", over))
            polling.start()
            yield ControlPlane(Connection(url, TOKEN))
            over.set()
            polling.join()
    finally:
        over.set()
        running.process.kill()
        running.process.wait()


def _poll(url: str, credential: str, node_dir: Path, over: threading.Event) -> None:
    link, lines = Link(url, credential), Terminals(node_dir, url, credential)
    while not over.wait(0.05):  # the world's clock stands still: a poll that waits would wait for ever
        lines.take(link.commands(CommandsRequest(known=lines.known(), wait_s=0)).terminals)


def test_a_command_gets_its_input_and_gives_its_output_and_its_exit_code(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    (tmp_path / "input").write_bytes(b"in\n" * 100_000)
    with (tmp_path / "input").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert terminal.run(plane, "box", ["sh", "-c", "cat; exit 5"], is_tty=False) == 5
    assert capfdbinary.readouterr().out == b"in\n" * 100_000


def test_a_shell_at_a_terminal_hears_what_is_typed(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    (tmp_path / "typed").write_text("echo a''b; exit 3\n")
    with (tmp_path / "typed").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert terminal.run(plane, "box") == 3
    assert b"ab\r\n" in capfdbinary.readouterr().out


def test_ctrl_bracket_leaves_and_what_cannot_be_started_is_said(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "typed").write_bytes(terminal.LEAVE)
    with (tmp_path / "typed").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert terminal.run(plane, "box") == terminal.LEFT
        with pytest.raises(Failure, match="No such file"):
            terminal.run(plane, "box", ["/no/such/program"], is_tty=False)
