"""One number from a Prometheus, over its HTTP API (prometheus.io/docs, "HTTP API", instant queries).

Services name the Prometheus that they are scaled by, so it must be one that the operator allows: a control plane asks
no other address for anybody. Redirects are not followed, answers are bounded in size and time.
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from godwit.control_plane import outward
from godwit.domain.errors import GodwitError, InvalidRequest, Problem

TIMEOUT_S = 5.0
"""A query that takes longer answers too late to scale by: measures count for half a minute."""

ANSWER_BYTES_MAX = 64 * 1024
ALLOWED_MAX = 100


class NoNumber(GodwitError):
    """A query gave no single number; see what it gives in Prometheus, and mend it or what it measures."""


def allowed(section: object, path: Path) -> tuple[str, ...]:
    """The addresses that `prometheus` in the settings allows. Raises `InvalidRequest`."""
    if section is None:
        return ()
    found = [one for one in section if _is_address(one)] if isinstance(section, list) else []
    if not isinstance(section, list) or len(found) < len(section) or len(section) > ALLOWED_MAX:
        raise InvalidRequest(f"{path}: prometheus must be a list of http(s)://host[:port][/path], not {section!r}")
    return tuple(str(one).rstrip("/") for one in found)


def _is_address(value: object) -> bool:
    return isinstance(value, str) and re.match(r"^https?://[^?#\s@]+$", value) is not None


def address(url: str, known: Sequence[str]) -> str:
    """The allowed address that a service means; the first without one. Raises `InvalidRequest` for any other."""
    if not known:
        message = "no Prometheus may be asked; its operator allows some with `prometheus` in config.yaml"
        raise InvalidRequest(problems=[Problem(("autoscale", "on"), message)])
    if url and url not in known:
        message = f"the Prometheus at {url} may not be asked"
        raise InvalidRequest(problems=[Problem(("autoscale", "url"), message, tuple(known))])
    return url or known[0]


def ask(url: str, query: str, *, transport: httpx.BaseTransport | None = None) -> float:
    """The one number that a query gives now. Blocks for `TIMEOUT_S` or so. Raises `NoNumber`."""
    wanted = {"query": query, "timeout": f"{TIMEOUT_S:g}s"}
    # Whom the operator named may lie in a private network, as most do; never where a cloud keeps its credentials.
    way = outward.Judged(private=True, total_s=2 * TIMEOUT_S) if transport is None else transport
    client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, transport=way)
    try:
        with client, client.stream("GET", f"{url}/api/v1/query", params=wanted) as answer:
            text = _bounded(answer)
            if answer.is_redirect:
                raise NoNumber(f"{url} answers with a redirect, which is not followed")
    except httpx.HTTPError as exc:
        raise NoNumber(f"{url} does not answer: {exc or type(exc).__name__}") from exc
    return number(text)


def _bounded(answer: httpx.Response) -> bytes:
    text = b""
    for part in answer.iter_bytes():
        text += part
        if len(text) > ANSWER_BYTES_MAX:
            raise NoNumber(f"its answer is longer than {ANSWER_BYTES_MAX} bytes; sum() or max() over all series")
    return text


def number(text: bytes) -> float:
    """The number in an answer. Raises `NoNumber`, with what Prometheus said where it said something."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise NoNumber("its answer is no JSON; is there a Prometheus at that address?") from exc
    if not isinstance(said, dict) or said.get("status") != "success":
        error = said.get("error") if isinstance(said, dict) else None
        raise NoNumber(f"the query failed: {str(error or 'no reason given')[:300]}")
    value = _value(said.get("data"))
    try:
        found = float(value)
    except (TypeError, ValueError) as exc:
        raise NoNumber("its answer holds no number where one should be") from exc
    if not math.isfinite(found) or found < 0:
        raise NoNumber(f"the query gives {found}, and a need is a number that is not negative")
    return found


def _value(data: Any) -> Any:
    result, kind = (data.get("result"), data.get("resultType")) if isinstance(data, dict) else (None, None)
    if kind == "vector" and isinstance(result, list):
        if len(result) != 1:
            raise NoNumber(f"the query gives {len(result)} series, and one is needed: sum() or max() over them")
        result = result[0].get("value") if isinstance(result[0], dict) else None
    elif kind != "scalar":
        raise NoNumber(f"the query gives a {str(kind)[:40]}, and a vector of one or a scalar is needed")
    if not isinstance(result, list) or len(result) != 2:
        raise NoNumber("its answer holds no value where one should be")
    return result[1]
