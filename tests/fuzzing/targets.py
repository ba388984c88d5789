"""What is fuzzed: a function of bytes that must answer or refuse in its own words, whatever the bytes are.

Cases that once broke one lie in `cases/<name>/` and are tried by every `make test`; `make fuzz` looks for more.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from godwit.agents.checks.kernel import parsing, records
from godwit.agents.checks.kernel.journal import Journal
from godwit.agents.runtime import workdir
from godwit.agents.runtime.workdir import WorkdirRefused
from godwit.cli import specs
from godwit.cli.exits import Failure
from godwit.domain.checkpoints import manifest_from_json
from godwit.domain.errors import CheckpointDamaged

CASES = Path(__file__).parent / "cases"


def specification(content: bytes) -> None:
    """A job specification, from the file to the domain value."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.yaml"
        path.write_bytes(content)
        with contextlib.suppress(Failure):
            specs.from_file(path, {})


def kernel_log(content: bytes) -> None:
    """The kernel's log: bare lines, records of /dev/kmsg, and the journal's entries."""
    parser, journal = parsing.Parser(), Journal.__new__(Journal)  # made anew, it would ask the system's own journal
    journal._now, journal._cursor, journal._position = time.monotonic, "", 0
    parser.feed(content.decode(errors="replace"))
    for raw in content.split(b"\n"):
        record = records.parse(raw, 1_000.0)
        found = [] if record is None else parser.feed(record.text)
        assert all(len(sign.line) <= 2_048 for sign in found)
        json.dumps([[sign.code, sign.reason, dict(sign.evidence)] for sign in found])
        journal._record(raw)


def archive(content: bytes) -> None:
    """A workdir's archive: nothing but the folder it is unpacked to is touched."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "workdir.tar.gz"
        path.write_bytes(content)
        with contextlib.suppress(WorkdirRefused):
            workdir.unpack(path, Path(folder) / "out")
        assert {found.name for found in Path(folder).iterdir()} <= {"workdir.tar.gz", "out"}


def manifest(content: bytes) -> None:
    """A checkpoint's manifest, from a store or a peer: what is read is what would be written."""
    with contextlib.suppress(CheckpointDamaged):
        found = manifest_from_json(content)
        assert found.size_bytes >= 0
        assert manifest_from_json(found.to_json()) == found


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "specification": specification,
    "kernel_log": kernel_log,
    "archive": archive,
    "manifest": manifest,
}
