"""When tokens were used last: written down beside the requests, never on their way."""

from concurrent.futures import Future, ThreadPoolExecutor

import structlog
from godwit.control_plane.context import Context
from godwit.control_plane.services import tokens
from godwit.control_plane.services.tokens import USED_EVERY_S

log = structlog.get_logger()

NOTED_MAX = 10_000


class LastUses:
    """Takes notes of the uses of tokens; one thread, which begins with the first of them, writes them down."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._noted: dict[str, float] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="last-uses")

    def note(self, token_id: str, at: float) -> None:
        """A token is used; a use within `USED_EVERY_S` of one that was noted is let pass. Does not block."""
        if at - self._noted.get(token_id, -USED_EVERY_S) < USED_EVERY_S:
            return
        if len(self._noted) >= NOTED_MAX:
            self._noted.clear()  # some are then noted a second time within the minute, which the database lets pass
        self._noted[token_id] = at
        self._writer.submit(tokens.note_use, self._context, token_id, at).add_done_callback(_told)

    def written(self, timeout_s: float) -> None:
        """Wait until all that was noted is written: for tests."""
        self._writer.submit(lambda: None).result(timeout_s)


def _told(done: "Future[None]") -> None:
    error = done.exception()
    if error is not None:
        log.warning("the last use of a token was not written down", why=type(error).__name__)
