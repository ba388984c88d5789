"""One poll of a node's GPUs and host, judged: what is now to be told. No threads, no clock of its own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from godwit.agents.checks.gpu import catalogue, nvlink, reachable, whole
from godwit.agents.checks.gpu.reading import Gpu
from godwit.agents.checks.gpu.whole import Poll
from godwit.agents.checks.host.catalogue import CHECKS as HOST_CHECKS
from godwit.agents.checks.host.reading import Host, Values
from godwit.agents.checks.ledger import Ledger
from godwit.agents.checks.rules import Sign
from godwit.agents.effects import Found

_COUNT_OF_GPU = (reachable.LOST,)
_COUNT_OF_NODE = (whole.UNEXPECTED, whole.HIDDEN)


@dataclass
class Watched:
    """What is known of a node between polls.

    `expected`: the GPUs that it joined with, UUID -> bus address (empty until it was seen). `models`: UUID -> model.
    `serials`: UUID -> serial number, where the driver has told it; a GPU that is lost does not tell it any more.
    """

    expected: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    serials: dict[str, str] = field(default_factory=dict)
    before: dict[str, Gpu] = field(default_factory=dict)
    host_before: dict[str, Values] = field(default_factory=dict)
    host_at: float | None = None


def poll_of(answer: Mapping[str, Any], watched: Watched, held: Collection[int], at: float) -> Poll:
    """The answer of the reading process as a poll; a GPU that does not say who it is, is known by its place."""
    by_index = dict(enumerate(watched.expected))
    gpus = []
    for entry in answer.get("gpus", ()):
        index = int(entry["index"])
        uuid = entry["uuid"] or by_index.get(index, "")
        model = watched.models.get(uuid, "")
        values, errors = entry["values"], entry["errors"]
        gpus.append(Gpu(index, uuid, entry["pci"], model, at, index in held, values, errors))
    return Poll(tuple(gpus), int(answer.get("error", 0)), "", "", answer.get("versions", {}), answer.get("strangers"))


def judge(poll: Poll, watched: Watched, ledger: Ledger, in_sys: int | None = None) -> list[Found]:
    """Every check of the driver and of its GPUs; remembers this poll for the next."""
    driver = whole.judge_driver(poll, len(watched.expected))
    told = ledger.sample(whole.DRIVER.name, None, whole.DRIVER.rules, driver)
    if not poll.answered:
        return told
    told += _judge_count(poll, watched, ledger, in_sys)
    versions = whole.judge_versions(poll)
    told += ledger.sample(whole.VERSIONS.name, None, whole.VERSIONS.rules, versions)
    if poll.strangers is not None:
        told += _by_gpu(ledger, whole.PEERS.name, whole.PEERS.rules, whole.judge_peers(poll), poll.gpus)
    for gpu in poll.gpus:
        before = watched.before.get(gpu.uuid)
        for check in catalogue.CHECKS:
            if check.applies(gpu) or (check is reachable.CHECK and gpu.errors):
                told += ledger.sample(check.name, gpu.uuid, check.rules, check.judge(gpu, before))
        kept = {**gpu.values, "nvlink_most": nvlink.most_up(gpu, before)}
        watched.before[gpu.uuid] = replace(gpu, values=kept)
        if gpu.values.get("serial"):
            watched.serials[gpu.uuid] = str(gpu.values["serial"])
        if gpu.uuid in watched.expected and gpu.pci:
            watched.expected[gpu.uuid] = gpu.pci
    return told


def judge_host(host: Host, watched: Watched, ledger: Ledger, at: float) -> list[Found]:
    """Every check of the host; remembers what it read."""
    told: list[Found] = []
    took_s = at - watched.host_at if watched.host_at is not None else 0.0
    for check in HOST_CHECKS:
        values = check.read(host)
        if values is None:
            continue
        signs = check.judge(values, watched.host_before.get(check.name), took_s)
        told += ledger.sample(check.name, None, check.rules, signs)
        watched.host_before[check.name] = values
    watched.host_at = at
    return told


def _judge_count(poll: Poll, watched: Watched, ledger: Ledger, in_sys: int | None) -> list[Found]:
    signs = whole.judge_count(poll, watched.expected, in_sys)
    told = ledger.sample(whole.COUNT.name, None, _COUNT_OF_NODE, [sign for sign in signs if sign.gpu is None])
    for uuid in watched.expected:
        told += ledger.sample(whole.COUNT.name, uuid, _COUNT_OF_GPU, [sign for sign in signs if sign.gpu == uuid])
    return told


def _by_gpu(ledger: Ledger, name: str, rules: Any, signs: Sequence[Sign], gpus: Sequence[Gpu]) -> list[Found]:
    told: list[Found] = []
    for gpu in gpus:
        told += ledger.sample(name, gpu.uuid, rules, [sign for sign in signs if sign.gpu == gpu.uuid])
    return told
