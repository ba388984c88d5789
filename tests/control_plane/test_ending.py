"""An orderly end is told as one."""

import asyncio
import logging

import pytest
from godwit.control_plane.ending import CUT_OFF, InOrder


def record(text: str, why: BaseException | None = None) -> logging.LogRecord:
    exc_info = None if why is None else (type(why), why, None)
    return logging.LogRecord("uvicorn.error", logging.ERROR, "", 1, text, None, exc_info)


def cancelled_for(cause: BaseException) -> asyncio.CancelledError:
    """What a task group raises for what reached it."""
    found = asyncio.CancelledError()
    found.__context__ = cause
    return found


CUT = asyncio.CancelledError(CUT_OFF)


@pytest.mark.parametrize(
    "cut",
    [
        record(f"Cancel 3 running task(s), {CUT_OFF}"), record("Exception", CUT),
        record("Exception", cancelled_for(cancelled_for(CUT))),
    ],
    ids=["what uvicorn does", "what comes of it", "what comes of that"],
)  # fmt: skip
def test_streams_that_are_cut_off_at_the_end_are_no_errors(cut: logging.LogRecord) -> None:
    assert not InOrder().filter(cut)


@pytest.mark.parametrize(
    "wrong",
    [
        record("Exception in ASGI application"), record("Exception", ValueError(CUT_OFF)),
        record("Exception", cancelled_for(ValueError())), record("Exception", asyncio.CancelledError()),
    ],
    ids=["an error", "one that says so", "cancelled for an error", "cancelled for nothing"],
)  # fmt: skip
def test_whatever_else_happens_is_told(wrong: logging.LogRecord) -> None:
    assert InOrder().filter(wrong)
