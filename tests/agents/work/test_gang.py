"""The watches of a gang, node to node."""

import json
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from godwit.agents.checks.work import gang, stacks
from godwit.agents.checks.work.gang import Gang, Place
from godwit.agents.checks.work.lags import ASK_S, LagWatch
from godwit.agents.checks.work.reports import Report
from godwit.agents.checks.work.stacks import Stack, Target
from godwit.agents.checks.work.watch import Watched, WorkWatch
from godwit.agents.effects import Found
from godwit.domain.health import Grade
from godwit.domain.wire.agents import Peer, StartAttempt

from tests.agents.conftest import eventually


@pytest.fixture
def places() -> tuple[Place, Place]:
    """Of a head and one other node, on addresses of this machine."""
    net = f"127.{100 + secrets.randbelow(100)}.{secrets.randbelow(250)}"
    addresses = {0: f"{net}.1", 1: f"{net}.2"}
    with socket.socket() as free:
        free.bind((addresses[1], 0))
        port = free.getsockname()[1]
    return Place(0, addresses, port, "secret"), Place(1, addresses, port, "secret")


class Node:
    """A watch with a place in the gang, and what it told."""

    def __init__(self, place: Place, run: Path) -> None:
        self.found: list[Found] = []
        self.run = run
        run.mkdir()
        watched = Watched(
            "att-1", run, None, lambda: [f"GPU-{place.rank}-{n}" for n in range(4)], 0.0001,
            started=lambda: True, goes_on=lambda: True, place=place,
        )  # fmt: skip
        self.watch = WorkWatch(watched, self.found.append, look_s=0.02, still_s=0.02)

    def report(self, first_rank: int, slow: int | None, steps: range) -> None:
        with (self.run / "progress.jsonl").open("a") as file:
            for step in steps:
                for local in range(4):
                    took = {"compute_s": 1.5 if local == slow else 1.0}
                    names = {"rank": first_rank + local, "local_rank": local}
                    file.write(json.dumps({"at": 1, "step": step, "metrics": took, **names}) + "\n")


@pytest.fixture
def other(places: tuple[Place, Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """The node that is not the head; its watch runs. Nothing hangs here, unless a test says so."""
    monkeypatch.setattr(stacks, "targets", lambda _run: [])
    node = Node(places[1], tmp_path / "other")
    node.watch.start()
    eventually(lambda: Gang(places[0]).windows(), 120, "its server listens")
    yield node
    node.watch.close()


def test_a_rank_that_lags_behind_the_whole_gang_is_told_by_its_own_node(
    places: tuple[Place, Place], other: Node
) -> None:
    told: list[Any] = []
    head = LagWatch(told.append, places[0])

    def both(slow: int | None, steps: range) -> None:
        other.report(4, slow, steps)
        for step in steps:
            for rank in range(4):
                head.saw(Report(step, rank=rank, compute_s=1.0))
        last = steps[-1] // 16 - 1
        eventually(lambda: last in Gang(places[0]).windows().get(1, {}), 120)

    both(2, range(16 * 5))
    head.look(1.0)
    head.look(2.0)
    head.look(1.0 + ASK_S)
    assert [(one.code, one.grade, one.gpu) for one in other.found] == [
        ("straggler:6", Grade.DEGRADED, "GPU-1-2"),
    ]  # fmt: skip
    both(None, range(16 * 5, 16 * 7))
    head.look(1.0 + 2 * ASK_S)
    assert [(one.code, one.grade) for one in other.found[1:]] == [("straggler:6", Grade.HEALTHY)]
    assert told == []


def test_the_stacks_of_a_hang_are_those_of_all_nodes_and_each_node_tells_of_its_odd_ones(
    places: tuple[Place, Place], other: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def targets(run: Path) -> list[Target]:
        first = 4 if run == other.run else 0
        return [Target(100 + rank, f"rank {rank}", "rank") for rank in range(first, first + 4)]

    monkeypatch.setattr(
        stacks, "collect",
        lambda whom: [Stack(one, ("load" if one.name == "rank 5" else "all_reduce",)) for one in whom],
    )  # fmt: skip
    head = Node(places[0], tmp_path / "head")
    monkeypatch.setattr(stacks, "targets", lambda run: targets(run) if run == head.run else [])
    other.watch._look = lambda: None  # type: ignore[method-assign]  # it sees no steps, and does not judge by itself
    monkeypatch.setattr(stacks, "targets", targets)

    def looked() -> list[Found]:
        head.watch._look()
        return head.found

    eventually(looked, 120)
    (hang,) = [one for one in head.found if one.check == "hang"]
    assert (hang.evidence["processes"], hang.evidence["nodes"]) == (8, 2)
    assert "odd" not in hang.evidence
    assert hang.evidence["odd_elsewhere"] == "rank 5 on node 1"
    assert hang.evidence["stack1"] == "rank 5 on node 1: load"
    (there,) = [one for one in other.found if one.check == "hang"]
    assert (there.grade, there.evidence["odd"]) == (Grade.UNHEALTHY, "rank 5 on node 1")


def test_who_does_not_know_the_token_is_told_nothing(places: tuple[Place, Place], other: Node) -> None:
    stranger = Gang(replace(places[0], token="guessed"))
    assert (stranger.windows(), stranger.stacks()) == ({}, {})
    assert not stranger.tell(1, {"check": "hang"})


@pytest.mark.parametrize(
    "finding",
    [
        {},
        {"check": "xid", "grade": "unhealthy", "reason": "", "code": "xid:79", "evidence": {}},
        {"check": "hang", "grade": "terrible", "reason": "", "code": "hang", "evidence": {}},
        {"check": "hang", "grade": "unhealthy", "reason": "", "code": "hang", "evidence": 7},
    ],
)
def test_a_finding_that_makes_no_sense_is_not_told(
    places: tuple[Place, Place], other: Node, finding: dict[str, Any]
) -> None:
    assert not Gang(places[0]).tell(1, finding)
    assert other.found == []


def test_a_node_that_is_gone_is_left_out(places: tuple[Place, Place], other: Node) -> None:
    three = replace(places[0], addresses={**places[0].addresses, 2: "127.0.0.99"})
    assert set(Gang(three).windows()) == {1}


def test_a_place_has_the_token_of_its_attempt_alone_and_a_lonely_node_has_none(start: Callable[..., Any]) -> None:
    pair = [Peer(rank=rank, node_id="a", address=f"127.0.0.{rank}") for rank in range(2)]
    first, second = gang.place_of(start(peers=pair)), gang.place_of(start(peers=pair, ray_token="other"))
    assert first is not None
    assert second is not None
    assert (first.port, first.leads) == (20_002, False)
    assert first.token not in (second.token, "secret-token")
    assert gang.place_of(start(peers=pair[1:])) is None


@pytest.fixture
def start() -> Callable[..., StartAttempt]:
    def make(**more: Any) -> StartAttempt:
        return StartAttempt(
            intent_id="i", job_id="j", job_name="n", attempt_id="att-1", epoch=2, rank=1, gpus=[0], port=20_000,
            **{"ray_token": "secret-token", **more}, run="true", setup=None, workdir_digest=None, env={}, store="file:///s",
        )  # fmt: skip

    return make


NONSENSE: tuple[Any, ...] = (
    [],
    {},
    3,
    "x",
    None,
    [1],
    [None],
    [{}],
    [{"pid": []}],
    {"1": 2},
    {"x": {"y": "z"}},
    {"1": {"2": "1e999x"}},
    [[1]],
)


@pytest.mark.parametrize("told", NONSENSE, ids=repr)
def test_a_node_that_says_nonsense_is_left_out(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    good = {"pid": 1, "name": "n", "kind": "k", "frames": ["f"], "problem": ""}
    answers = {"/stacks": {1: told, 2: [good]}, "/windows": {1: told, 2: {"1": {"2": 3.0}}}}
    monkeypatch.setattr(Gang, "_all", lambda _self, path: answers[path])
    assert Gang(places[0]).stacks()[2][0].frames == ("f",)
    assert Gang(places[0]).windows()[2] == {1: {2: 3.0}}


@pytest.mark.parametrize("length", ["-1", "many", "99999999999", "2000000", "\u0662"])
def test_a_length_that_is_none_is_refused(places: tuple[Place, Place], length: str) -> None:
    server = gang.Server(places[1], lambda _path, _posted: {})
    try:
        with socket.create_connection((places[1].addresses[1], places[1].port), timeout=60) as asking:
            head = f"POST /findings HTTP/1.1\r\nAuthorization: Bearer secret\r\nContent-Length: {length}\r\n\r\n"
            asking.sendall(head.encode())
            said = b""
            while block := asking.recv(65_536):
                said += block
        assert b" 400 " in said
    finally:
        server.close()
