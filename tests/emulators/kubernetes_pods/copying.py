"""Copies of JSON values."""

from typing import TypeVar

Value = TypeVar("Value")


def copied(value: Value) -> Value:
    """A copy that shares nothing that can change; `copy.deepcopy` looks for cycles too, and takes much longer."""
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}  # type: ignore[return-value]  # of the same type
    if isinstance(value, list):
        return [copied(each) for each in value]  # type: ignore[return-value]  # likewise
    return value
