"""A terminal whose node comes by TLS, to another control plane than the one at which it waits."""

import threading
from pathlib import Path

import httpx
import pytest
from godwit.agents.dev.relaying import Terminals as Lines
from godwit.control_plane.api import relays
from godwit.control_plane.api import terminals as terminals_api
from godwit.domain.wire.agents import AttemptRunning, CommandDone, CommandsRequest, LiveAttempt
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.agents.dev.desks import Running
from tests.control_plane.apis import BEARER, app_of
from tests.control_plane.test_terminals_elsewhere import PATIENCE_S, dialled, output
from tests.control_plane.tls import Machine, Plane, served
from tests.control_plane.world import World


def running(plane: Plane) -> tuple[Machine, str, str]:
    """A node on which a workspace runs: its machine, and the ids of job and attempt."""
    machine = plane.joined(kind="dev", run=":")
    (start,) = machine.link().commands(CommandsRequest(wait_s=0)).commands
    assert start.type == "start-attempt"
    of = {"attempt_id": start.attempt_id, "epoch": start.epoch}
    said = [CommandDone(seq=1, intent_id=start.intent_id, accepted=True), AttemptRunning(seq=2, **of)]
    machine.beat(attempts=[LiveAttempt(**of)], observations=said)
    return machine, start.job_id, start.attempt_id


def test_its_node_hears_of_it_and_dials_where_it_asks_and_the_line_is_carried(
    embedded: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((relays, "DIAL_S"), (relays, "ASK_S"), (terminals_api, "JOIN_S")):
        monkeypatch.setattr(module, name, PATIENCE_S)
    app_of(embedded)  # its token is known from here on
    (tmp_path / "b").mkdir()
    with served(embedded, tmp_path, peer=True) as here, served(embedded, tmp_path / "b", peer=True) as there:
        machine, job_id, attempt_id = running(here)
        desk = Running(machine.chosen.node_dir / "attempts" / attempt_id)
        try:
            asked = {"argv": ["echo", "by tls"], "tty": False}
            opened = httpx.post(
                f"{here.plain}/v1/jobs/{job_id}/terminals", json=asked, headers=BEARER, timeout=60
            ).json()
            link = machine.link()
            link._url = there.url
            link.show(machine.tls())
            (order,) = link.commands(CommandsRequest(wait_s=0)).terminals
            assert order.intent_id == opened["id"]
            ends = Lines(machine.chosen.node_dir, there.url, machine.kept.credential, machine.tls())
            threading.Thread(target=ends.take, args=([order],)).start()
            with dialled(there.plain, opened) as line:
                assert output(line) == (b"by tls\n", 0)
        finally:
            desk.process.kill()
            desk.process.wait()


def test_what_one_made_up_of_a_certificate_opens_no_line(embedded: World, tmp_path: Path) -> None:
    with served(embedded, tmp_path) as plane:
        machine = plane.joined()
        headers = {"Authorization": f"Bearer {machine.kept.credential}", relays.CARRIED: "1"}
        url = f"{plane.plain}/v1/agent/commands"
        assert httpx.post(url, json={"wait_s": 0}, headers=headers).status_code == 426
        with (
            pytest.raises(InvalidStatus, match="403"),
            connect(f"{plane.plain}/v1/agent/terminals/term-1".replace("http", "ws", 1), additional_headers=headers),
        ):
            pass
