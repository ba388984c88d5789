"""An attempt's output on its way to the control plane: read from its file, bounded, resumable.

The file is the buffer. `Tail` remembers how much of it was stored; what lies further back than the bound is skipped
with a marker line. Offsets count the bytes of what was *sent*, markers included.
"""

import codecs
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from godwit.agents.redaction import Mask
from godwit.agents.runtime.guard import write_whole
from godwit.domain.wire.logs import LogChunk

BACKLOG_BYTES_MAX = 8 * 1024 * 1024
"""How much unsent output of one attempt is worth sending once the control plane is back."""

CHUNK_BYTES = 128 * 1024
"""Half of what `LogChunk.text` may hold; a chunk is on its way for a fraction of a heartbeat."""


def _question_marks(error: UnicodeError) -> tuple[str, int]:
    # One mark for each bad byte, so that text and file have the same length and offsets stay true.
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


codecs.register_error("godwit-marks", _question_marks)


@dataclass
class _Position:
    """How much was sent: `sent` counts stored bytes, `file` bytes of the file; `marker` goes before what follows."""

    sent: int = 0
    file: int = 0
    marker: str = ""


class Tail:
    """Reads one attempt's log from where the control plane has it. Not for several threads at once."""

    def __init__(self, output: Path, attempt_id: str, epoch: int, mask: Callable[[], Mask] = Mask) -> None:
        self._output, self._mask = output, mask
        self._attempt_id = attempt_id
        self._epoch = epoch
        self._saved = output.with_name("output.sent")
        self._at = _Position(**json.loads(self._saved.read_text())) if self._saved.exists() else _Position()

    def chunk(self, *, final: bool = False) -> LogChunk | None:
        """The next chunk, or None when all is sent. Unless `final`, a character or secret that is cut in two waits.

        Raises what `mask` raises: while it is not known what is secret, nothing leaves.
        """
        try:
            size = self._output.stat().st_size
        except FileNotFoundError:
            return None
        if size == self._at.file and not self._at.marker:
            return None
        self._skip_backlog(size)
        text = self._at.marker or self._read(final=final)
        return (
            LogChunk(attempt_id=self._attempt_id, epoch=self._epoch, offset=self._at.sent, text=text) if text else None
        )

    def stored(self, next_offset: int) -> None:
        """The control plane has everything up to `next_offset`."""
        ahead = next_offset - self._at.sent
        if self._at.marker:
            # A marker stands for nothing in the file, so it is stored whole or sent again.
            if ahead >= len(self._at.marker):
                self._at = _Position(next_offset, self._at.file, "")
        elif ahead >= 0:
            # More than the chunk: it was stored before this agent started again.
            self._at = _Position(next_offset, self._at.file + ahead)
        else:
            # It has lost what it had; go on from where it is, with the same bytes if the file has them in place.
            back = self._at.file + ahead
            self._at = _Position(next_offset, max(0, back))
        self._save()

    def _read(self, *, final: bool) -> str:
        raw, is_last = self._covered(final=final)
        if not final or not is_last:
            raw = raw[: len(raw) - _cut_character(raw)]
        return raw.decode("utf-8", "godwit-marks").replace("\0", "?")

    def _covered(self, *, final: bool) -> tuple[bytes, bool]:
        """The next bytes of the file without the secrets in them, and whether the file ends with them."""
        mask = self._mask()
        back = min(self._at.file, mask.reach)  # a secret may begin before them, and end after
        with self._output.open("rb") as file:
            file.seek(self._at.file - back)
            raw = file.read(back + CHUNK_BYTES + mask.reach)
        is_all = len(raw) < back + CHUNK_BYTES + mask.reach
        known = len(raw) - (mask.undecided(raw) if is_all and not final else 0)
        end = min(known, back + CHUNK_BYTES)
        return mask.covered(raw)[back:end], is_all and end == len(raw)

    def _skip_backlog(self, size: int) -> None:
        behind = size - self._at.file
        if behind <= BACKLOG_BYTES_MAX or self._at.marker:
            return
        keep_from = size - BACKLOG_BYTES_MAX // 2
        marker = f"\n[godwit] {keep_from - self._at.file} bytes of output were dropped\n"
        self._at = _Position(self._at.sent, keep_from, marker)
        self._save()  # before it is sent: a restarted agent must send the same bytes at the same offset

    def _save(self) -> None:
        write_whole(self._saved, json.dumps(asdict(self._at)))


def _cut_character(raw: bytes) -> int:
    """How many bytes at the end belong to a character that is not complete; 0 when it is, or is no UTF-8 anyway."""
    for back in range(1, min(4, len(raw) + 1)):
        byte = raw[-back]
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < length else 0
    return 0
