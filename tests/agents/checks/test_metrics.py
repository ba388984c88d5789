"""What an agent shows Prometheus: GPUs by the names of DCGM's exporter, and itself; only where it was asked to."""

import json
import re
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from godwit.agents import settings
from godwit.agents.checks import watching
from godwit.agents.metrics import dcgm, described, showing
from godwit.agents.metrics.seen import Seen
from godwit.agents.metrics.showing import Beats, Facts
from godwit.domain.errors import InvalidRequest
from prometheus_client.parser import text_string_to_metric_families

from tests.agents.checks.conftest import Bench
from tests.agents.conftest import Machine

Make = Callable[..., Bench]
NEEDED = {"GODWIT_URL": "http://x", "GODWIT_NODE_DIR": "/n", "GODWIT_NODE_ADDRESS": "127.0.0.1"}


def facts_of(folder: Path, seen: Seen, beats: Beats | None = None) -> Facts:
    return Facts("1.0", "host-1", folder, beats or Beats(), seen, lambda: (2, 7), lambda: 14.0, lambda: ["degraded"])


def seen_of(node: Bench) -> Seen:
    seen = Seen()
    seen.polled(watching.poll_of(node.reader.poll(), node.watched, node.held, node.now))
    return seen


@pytest.fixture
def node(bench: Make) -> Bench:
    return bench(gpus=2)


def test_gpus_have_the_names_units_and_labels_of_dcgm(node: Bench) -> None:
    seen = seen_of(node)
    seen.told("xid:79", "GPU-1")
    poll, _, xids = seen.now()
    found = {(name, labels[0]): (labels, value) for name, labels, value in dcgm.samples(poll, xids, "host-1")}
    labels, watts = found["DCGM_FI_DEV_POWER_USAGE", "0"]
    assert watts == 70.0
    assert dict(zip(described.OF_GPU, labels, strict=True)) == {
        "gpu": "0", "UUID": "GPU-0", "pci_bus_id": "00000000:10:00.0", "device": "nvidia0",
        "modelName": "NVIDIA H100-SXM", "Hostname": "host-1", "DCGM_FI_DRIVER_VERSION": "570.86.15",
    }  # fmt: skip
    assert found["DCGM_FI_DEV_GPU_TEMP", "1"][1] == 31
    assert found["DCGM_FI_DEV_MEMORY_TEMP", "1"][1] == 40
    assert found["DCGM_FI_DEV_FB_FREE", "1"][1] == 80 * 1024
    assert found["DCGM_FI_DEV_FB_USED", "1"][1] == 0
    assert found["DCGM_FI_DEV_SM_CLOCK", "1"][1] > 0
    assert [found["DCGM_FI_DEV_XID_ERRORS", gpu][1] for gpu in ("0", "1")] == [0, 79]


def test_every_name_that_is_described_is_shown_on_a_healthy_gpu(node: Bench) -> None:
    poll, _, xids = seen_of(node).now()
    assert {name for name, *_ in dcgm.samples(poll, xids, "h")} == set(described.GPU)


def test_what_a_gpu_does_not_have_is_left_out_and_never_zero(bench: Make) -> None:
    old = bench(model="nothing-known", gpus=1)
    old.reader._nvml._gpus[0]["profile"].pop("field(82)")
    poll, _, xids = seen_of(old).now()
    assert "DCGM_FI_DEV_MEMORY_TEMP" not in {name for name, *_ in dcgm.samples(poll, xids, "h")}


def test_a_driver_that_does_not_answer_leaves_the_last_values_with_their_age(node: Bench) -> None:
    seen = seen_of(node)
    before = seen.now()
    seen.polled(watching.poll_of({"gpus": [], "error": 999}, node.watched, (), node.now))
    assert seen.now() == before


def test_what_is_served_is_described_and_bounded(node: Bench, tmp_path: Path) -> None:
    beats = Beats()
    beats.answered()
    beats.unanswered()
    at = showing.serve(facts_of(tmp_path, seen_of(node), beats), ("127.0.0.1", 0))
    assert at is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{at[1]}/metrics", timeout=20) as response:
        text = response.read().decode()
    families = list(text_string_to_metric_families(text))
    shown = {sample.name: sample for family in families for sample in family.samples}
    assert set(shown) == {of.name for of in described.METRICS}
    for of in described.METRICS:
        assert set(shown[of.name].labels) == set(of.labels), of.name
    assert shown["godwit_agent_attempts"].value == 2
    assert shown["godwit_agent_observations_waiting"].value == 7
    assert shown["godwit_agent_lease_remaining_seconds"].value == 14
    assert {label for of in described.METRICS for label in of.labels} == set(described.BOUNDS)


def test_what_was_not_sent_of_output_counts_as_spooled(tmp_path: Path) -> None:
    for name, size, sent in (("a", 1_000, 400), ("b", 50, 50), ("c", 30, None)):
        folder = tmp_path / "attempts" / name
        folder.mkdir(parents=True)
        (folder / "output.log").write_bytes(b"x" * size)
        if sent is not None:
            (folder / "output.sent").write_text(json.dumps({"sent": sent, "file": sent, "marker": ""}))
    assert showing.spool_bytes(tmp_path) == 600


def test_a_port_that_is_taken_keeps_no_agent_from_its_work(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert showing.serve(facts_of(tmp_path, Seen()), taken.getsockname()) is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", None),
        ("9400", ("127.0.0.1", 9400)),
        ("0.0.0.0:9400", ("0.0.0.0", 9400)),
        ("[::1]:9400", ("::1", 9400)),
    ],
)
def test_metrics_are_off_unless_asked_for_and_on_loopback_unless_told(text: str, at: tuple[str, int] | None) -> None:
    assert settings.from_env(NEEDED | {"GODWIT_METRICS": text}).metrics == at


@pytest.mark.parametrize("text", ["true", "host:", "70000", ":"])
def test_a_wrong_place_for_metrics_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match="GODWIT_METRICS"):
        settings.from_env(NEEDED | {"GODWIT_METRICS": text})


def test_an_agent_at_work_shows_its_gpus_and_its_heartbeats_where_it_was_asked_to(
    machines: Callable[..., list[Machine]], eventually: Callable[..., Any]
) -> None:
    (machine,) = machines(gpus=2, more={"GODWIT_METRICS": "0"})
    log = machine.folder.parent / f"{machine.name}.log"
    url = eventually(lambda: re.search(r"http://127\.0\.0\.1:\d+/metrics", log.read_text()), 60, "serves metrics")[0]

    def shown() -> str:
        with urllib.request.urlopen(url, timeout=20) as response:
            return str(response.read().decode())

    text = eventually(
        lambda: next((text for text in [shown()] if "DCGM_FI_DEV_GPU_UTIL{" in text), ""), 60, "was polled"
    )
    assert f'UUID="GPU-{machine.name}-1"' in text
    beats = re.search(r'godwit_agent_heartbeats_total\{outcome="answered"\} (\S+)', text)
    assert beats is not None
    assert float(beats[1]) >= 1
