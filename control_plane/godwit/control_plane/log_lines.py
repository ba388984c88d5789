"""How the log of a control plane or a worker is written."""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from godwit.domain.plain_text import visible

_PLAIN = (bool, int, float, type(None))
"""What is written by itself, in the words of the format; all else (an error, a list) may have anything in it."""


def in_plain_text(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: whoever reads the log in a terminal is not at the mercy of what strangers call their things."""
    return {key: value if isinstance(value, _PLAIN) else visible(str(value)) for key, value in event.items()}


def configure() -> None:
    """Log lines to standard error, one event each."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            in_plain_text,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
