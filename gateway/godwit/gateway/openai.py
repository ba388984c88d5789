"""The OpenAI-compatible routes: which model a request names, and which tokens its answer counts."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
MODELS = "/v1/models"

PREFIX_CHARS = 1_024
"""How much of a prompt's beginning decides where it goes: about as long as a system prompt that many share."""

KEPT = 16_384
"""How much of an answer's beginning and end is looked through for its usage, in bytes."""

_PROMPT = re.compile(rb'"prompt_tokens"\s*:\s*(\d{1,12})')
_COMPLETION = re.compile(rb'"completion_tokens"\s*:\s*(\d{1,12})')


class Unreadable(ValueError):
    """The body is not what these routes take."""


@dataclass(frozen=True)
class Ask:
    """What the gateway reads of a request's body."""

    model: str
    prefix: str


def read(body: bytes) -> Ask:
    """Raises `Unreadable`, with a sentence for the caller."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise Unreadable("the body is not JSON") from exc
    if not isinstance(found, dict):
        raise Unreadable("the body is not a JSON object")
    model = found.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= 256:
        raise Unreadable('the body names no model: set "model"')
    return Ask(model, _prefix(found))


def _prefix(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    if isinstance(messages, list) and messages:
        return json.dumps(messages[:2])[:PREFIX_CHARS]
    return json.dumps(body.get("prompt", body.get("input", "")))[:PREFIX_CHARS]


def problem(status: int, code: str, message: str) -> bytes:
    """An error as OpenAI's API has it."""
    kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


@dataclass
class UsageReader:
    """Sees an answer go by, whole or streamed, and finds its usage; holds on to `KEPT` bytes of each end."""

    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)

    def see(self, chunk: bytes) -> None:
        """The next piece of the answer."""
        if len(self.head) < KEPT:
            self.head += chunk[: KEPT - len(self.head)]
        self.tail += chunk
        if len(self.tail) > 2 * KEPT:
            del self.tail[:-KEPT]

    def tokens(self) -> tuple[int, int]:
        """Tokens in and out; zeros where the replica does not say."""
        for text in (self.tail, self.head):
            at = text.rfind(b'"usage"')
            if at >= 0 and (given := _PROMPT.search(text, at)):
                made = _COMPLETION.search(text, at)
                return int(given[1]), int(made[1]) if made else 0
        return 0, 0
