"""Ray Train and godwit: its checkpoint reports become committed checkpoints, its metrics become progress.

    RunConfig(name="digits", storage_path=ray_train.storage_path(), callbacks=ray_train.callbacks())

and in the training function `ray_train.restored()` is the checkpoint to go on from when Ray Train itself has none,
`godwit.sdk.checkpoint.due(step)` says when to report one, and `should_stop()` when to report the last one and return.
With `nodes: 2..8` and `elastic: in-place` in the specification, `ScalingConfig(**ray_train.scaling(), ...)` lets Ray
Train take nodes in and do without lost ones. Each lost node is a failure to Ray Train: `FailureConfig(max_failures=8)`.
Report `step` and `total_steps` among the metrics. Needs Ray Train V2 (Ray 2.51 on, or RAY_TRAIN_V2_ENABLED=1).
"""

import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlparse

from godwit.sdk import checkpoint, job, notice, ray_nodes
from ray.train import UserCallback

_RESERVED = ("step", "total_steps")


def storage_path() -> str | None:
    """Where Ray Train should keep this attempt's checkpoints, for `RunConfig(storage_path=...)`.

    None outside of godwit: Ray's default. Each attempt has a folder of its own, so that one which lost its lease can
    not write into what its successor reads.
    """
    url = _storage_url()
    if url is None:
        return None
    if url.startswith("file://"):
        return urlparse(url).path
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if url.startswith("s3://") and endpoint:
        # Arrow takes the endpoint in the URI (arrow.apache.org, FileSystem::FromUri).
        parts = urlparse(endpoint)
        return f"{url}?scheme={parts.scheme}&endpoint_override={quote(parts.netloc)}"
    return url


RESIZE_EVERY_S = 5.0
"""How often Ray Train looks for nodes that came. A resize starts its workers again, which takes about ten seconds."""

_PATIENCE = {
    # A job that lost a node asks for as many workers as before until Ray knows that the node is dead (after 5 s), and
    # then this long for nothing; Ray's default is 60 s. It is for the room alone, not for the workers' start, and when
    # it is over Ray Train looks anew at which nodes there are, as often as it takes.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
}


def scaling(workers_per_node: int = 1) -> dict[str, Any]:
    """Arguments for Ray Train's `ScalingConfig`: how many workers, from as few to as many nodes as the job may have.

    One that bends in place gets a range, and Ray Train follows the nodes that are there; any other gets the number of
    nodes that it was started on. Call it in the driver, before the trainer is made.
    """
    nodes = int(os.environ.get("GODWIT_NUM_NODES", "1"))
    low, high = os.environ.get("GODWIT_NODES_MIN"), os.environ.get("GODWIT_NODES_MAX")
    if os.environ.get("GODWIT_ELASTIC") != "in-place" or low is None or high is None:
        return {"num_workers": nodes * workers_per_node}
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    workers = (int(low) * workers_per_node, int(high) * workers_per_node)
    return {"num_workers": workers, "elastic_resize_monitor_interval_s": RESIZE_EVERY_S}


def restored() -> Path | None:
    """The checkpoint that godwit placed on this worker's node, or None to start from nothing."""
    return checkpoint.restored()


def callbacks() -> list[UserCallback]:
    """For `RunConfig(callbacks=...)`; empty outside of godwit."""
    return [callback()] if os.environ.get("GODWIT_RUN_DIR") else []


def callback() -> UserCallback:
    """The callback that tells godwit of reports; it runs in Ray Train's controller, on whichever node that is.

    Ray ends the driver at SIGTERM, and the workers with it; from here on they have the grace to save.
    """
    notice.should_stop()
    return _Reporter(_storage_url())


class _Reporter(UserCallback):  # type: ignore[misc]  # Ray is not typed here
    def __init__(self, storage_url: str | None) -> None:
        self._storage_url = storage_url
        self._count = 0
        self._looks_out = False

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Pass on rank 0's metrics, and where the checkpoint lies if there is one."""
        del run_context
        self._look_out()
        self._count += 1
        first = metrics[0] if metrics else {}
        step = int(first.get("step", self._count))
        total = first.get("total_steps")
        numbers = {k: float(v) for k, v in first.items() if isinstance(v, int | float) and k not in _RESERVED}
        job.report(step, None if total is None else int(total), **numbers)
        if checkpoint is not None and self._storage_url is not None:
            _leave_pointer(step, url_of(str(checkpoint.path), self._storage_url))

    def _look_out(self) -> None:
        """From the first report on: before, there is nothing that could be done on more nodes or fewer."""
        if not self._looks_out and os.environ.get("GODWIT_ELASTIC") == "in-place":
            ray_nodes.start()
        self._looks_out = True


def url_of(path: str, storage_url: str) -> str:
    """The URL of a checkpoint in the store. Ray gives a path as its file system has it, without scheme and host."""
    marker = "/" + "/".join(storage_url.split("/")[-2:]) + "/"  # .../ray/e<epoch>/: the part that we chose
    _, found, rest = path.partition(marker)
    if not found:
        raise ValueError(f"{path} does not lie in {storage_url}: pass storage_path() to RunConfig")
    return f"{storage_url}/{rest}"


def _storage_url() -> str | None:
    url, epoch = os.environ.get("GODWIT_STORAGE_URL"), os.environ.get("GODWIT_EPOCH")
    if not url or not epoch:
        return None
    url = Path(url).as_uri() if url.startswith("/") else url
    return f"{url.rstrip('/')}/ray/e{epoch}"


def _leave_pointer(step: int, url: str) -> None:
    folder = Path(os.environ["GODWIT_RUN_DIR"]) / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{time.time_ns()}.tmp"
    draft.write_text(json.dumps({"step": step, "url": url}))
    draft.replace(draft.with_suffix(".json"))
