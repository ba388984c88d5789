"""What an orderly end says: requests without an end (streams, terminals) are cut off in time, which is no error."""

import asyncio
import logging

CUT_OFF = "timeout graceful shutdown exceeded"
"""What uvicorn (0.54) says of it, and gives the tasks that it cancels."""


class InOrder(logging.Filter):
    """Lets pass all but that."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        why = record.exc_info[1] if record.exc_info else None
        return CUT_OFF not in record.getMessage() and not (
            isinstance(why, asyncio.CancelledError) and CUT_OFF in str(why)
        )


def log_no_cuts() -> None:
    """For this process; harmless to repeat."""
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, InOrder) for one in logger.filters):
        logger.addFilter(InOrder())
