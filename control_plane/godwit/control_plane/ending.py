"""What an orderly end says: requests without an end (streams, terminals) are cut off in time, which is no error."""

import asyncio
import logging

CUT_OFF = "timeout graceful shutdown exceeded"
"""What uvicorn (0.54) says of it, and gives the tasks that it cancels."""


class InOrder(logging.Filter):
    """Lets pass all but that."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        return CUT_OFF not in record.getMessage() and not _was_cut_off(record.exc_info[1] if record.exc_info else None)


def _was_cut_off(why: BaseException | None) -> bool:
    """Whether a task was cancelled for it: what is seen last may be a cancellation that came of the first."""
    while isinstance(why, asyncio.CancelledError):
        if CUT_OFF in str(why):
            return True
        why = why.__cause__ or why.__context__
    return False


def log_no_cuts() -> None:
    """For this process; harmless to repeat."""
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, InOrder) for one in logger.filters):
        logger.addFilter(InOrder())
