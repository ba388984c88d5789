"""The adapter reads answers defensively: what cannot be read is an error of ours, and a launch may have happened."""

import random
from collections.abc import Callable

import httpx
import pytest
from godwit.domain.clock import ManualClock
from godwit.domain.errors import ProviderError, ProviderUnavailable, QuotaExceeded, RateLimited, UnknownOutcome
from godwit.domain.offers import Offer
from godwit.providers.protocol import LaunchRequest
from godwit.providers.simulated.client import SimulatedProvider

OFFER = Offer("sim-x", "eu", None, "h100.1x", "H100-SXM", 1, 80, 26, 225, 2.19)  # type: ignore[arg-type]
REQUEST = LaunchRequest(OFFER, f"token-{random.getrandbits(20)}", "me", "true")


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> SimulatedProvider:
    transport = httpx.MockTransport(answer)
    return SimulatedProvider("sim-x", "http://sim", "key", clock=ManualClock(), transport=transport)


def error(status: int, code: str, **headers: str) -> SimulatedProvider:
    body = {"error": {"code": code, "message": "because"}}
    return answering(lambda _: httpx.Response(status, json=body, headers=headers))


@pytest.mark.parametrize("body", ["", "<html>", "[]", "{}", '{"id": 1}'])
def test_a_launch_answered_with_nonsense_may_have_happened(body: str) -> None:
    with pytest.raises(UnknownOutcome):
        answering(lambda _: httpx.Response(201, text=body)).launch(REQUEST)


@pytest.mark.parametrize("body", ["", "<html>", "[]", "{}", '{"instances": [{}]}'])
def test_a_listing_answered_with_nonsense_is_unavailable(body: str) -> None:
    with pytest.raises(ProviderUnavailable):
        answering(lambda _: httpx.Response(200, text=body)).instances()


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_server_error_leaves_a_launch_unknown_and_a_listing_unavailable(status: int) -> None:
    with pytest.raises(UnknownOutcome):
        error(status, "internal").launch(REQUEST)
    with pytest.raises(ProviderUnavailable):
        error(status, "internal").instances()


def test_a_connection_cut_after_sending_leaves_a_launch_unknown() -> None:
    def cut(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("server disconnected", request=request)

    with pytest.raises(UnknownOutcome):
        answering(cut).launch(REQUEST)


def test_a_quota_and_a_rate_limit_are_told_apart() -> None:
    with pytest.raises(QuotaExceeded):
        error(403, "quota_exceeded").launch(REQUEST)
    with pytest.raises(RateLimited) as caught:
        error(429, "too_many_requests", **{"Retry-After": "7"}).launch(REQUEST)
    assert caught.value.retry_after_s == 7.0
    with pytest.raises(RateLimited) as caught:
        error(429, "too_many_requests", **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}).launch(REQUEST)
    assert caught.value.retry_after_s == 1.0


def test_a_listing_whose_cursor_turns_in_a_circle_ends_as_unavailable() -> None:
    circling = answering(lambda _: httpx.Response(200, json={"instances": [], "next_cursor": "1"}))
    with pytest.raises(ProviderUnavailable, match="does not end"):
        circling.instances()


def test_an_error_without_a_readable_reason_still_has_a_class() -> None:
    with pytest.raises(ProviderError, match="answered 418"):
        answering(lambda _: httpx.Response(418, text="short and stout")).offers()
