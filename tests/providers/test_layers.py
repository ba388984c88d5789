"""What all clouds share: reads are repeated and launches are not, rate limits are waited for, and calls are counted."""

import random
from collections.abc import Callable

import pytest
from godwit.domain.clock import ManualClock
from godwit.domain.drills import Drill
from godwit.domain.errors import NoCapacity, ProviderError, ProviderUnavailable, RateLimited, RequestRejected
from godwit.domain.ids import InstanceId
from godwit.providers.kinds import Rates
from godwit.providers.layers import CallMetrics, Limited, Measured, Retrying
from godwit.providers.layers.limiting import PATIENCE_S, PAUSE_MAX_S
from godwit.providers.layers.wrapping import Answer, Layer
from godwit.providers.protocol import Capabilities, LaunchRequest, Provider
from godwit.providers.simulated import catalogue
from godwit.providers.simulated.cloud import Cloud
from godwit.providers.simulated.inprocess import InProcessProvider
from godwit.providers.simulated.paper import PaperMachines
from godwit.providers.simulated.sales import CloudSettings


class Failing(Layer):
    """Fails as often as it is told to, and counts how often it was called."""

    def __init__(self, inner: Provider, errors: list[ProviderError]) -> None:
        super().__init__(inner)
        self.errors, self.called = errors, 0

    def _call(self, method: str, ask: Callable[[], Answer]) -> Answer:
        del method
        self.called += 1
        if self.errors:
            raise self.errors.pop(0)
        return ask()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cloud(clock: ManualClock) -> InProcessProvider:
    spec = catalogue.BUILT_IN["sim-aurora"]
    settings = CloudSettings(spec.name, spec.index, "127.16.1", spec.shapes)
    return InProcessProvider(Cloud(settings, clock, random.Random(7), PaperMachines()), clock)


def launch(provider: Provider, token: str = "t") -> None:
    provider.launch(LaunchRequest(provider.offers()[0], token, "owner", "#!/bin/sh\n"))


def retrying(inner: Provider, slept: list[float]) -> Retrying:
    return Retrying(inner, slept.append, random.Random(1))


def test_a_read_that_finds_the_cloud_away_is_repeated_after_a_growing_pause(cloud: InProcessProvider) -> None:
    failing, slept = Failing(cloud, [ProviderUnavailable(), ProviderUnavailable()]), list[float]()
    assert retrying(failing, slept).offers()
    assert failing.called == 3
    assert 0.1 <= slept[0] <= 0.2 <= slept[1] <= 0.4


def test_a_read_is_repeated_twice_and_no_more(cloud: InProcessProvider) -> None:
    failing = Failing(cloud, [ProviderUnavailable() for _ in range(9)])
    with pytest.raises(ProviderUnavailable):
        retrying(failing, []).instances()
    assert failing.called == 3


def test_a_launch_is_never_repeated(cloud: InProcessProvider) -> None:
    failing = Failing(cloud, [])
    provider = retrying(failing, [])
    offer = provider.offers()[0]
    failing.errors, failing.called = [ProviderUnavailable()], 0
    with pytest.raises(ProviderUnavailable):
        provider.launch(LaunchRequest(offer, "t", "owner", ""))
    assert failing.called == 1


def test_a_pause_that_is_asked_for_is_kept_unless_it_is_long(cloud: InProcessProvider) -> None:
    slept: list[float] = []
    assert retrying(Failing(cloud, [RateLimited(retry_after_s=2.5)]), slept).offers()
    assert slept == [2.5]
    with pytest.raises(RateLimited):
        retrying(Failing(cloud, [RateLimited(retry_after_s=60.0)]), slept).offers()


def test_what_repeating_cannot_help_is_not_repeated(cloud: InProcessProvider) -> None:
    failing = Failing(cloud, [RequestRejected()])
    with pytest.raises(RequestRejected):
        retrying(failing, []).terminate(InstanceId("i-1"))
    assert failing.called == 1


def test_calls_keep_to_the_pace_and_launches_to_their_own(cloud: InProcessProvider, clock: ManualClock) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    limited = Limited(cloud, Rates(calls_per_s=2.0, launches_per_s=0.1), clock, sleep)
    began = clock.now()
    for _ in range(5):
        limited.instances()
    assert clock.now() - began == pytest.approx(2.0)
    launch(limited, "first")
    launch(limited, "second")
    assert clock.now() - began >= 12.0


def test_a_call_that_would_wait_too_long_is_refused_with_the_wait(cloud: InProcessProvider, clock: ManualClock) -> None:
    limited = Limited(cloud, Rates(calls_per_s=0.1), clock, lambda _seconds: None)
    for _ in range(4):
        limited.offers()
    with pytest.raises(RateLimited) as caught:
        limited.offers()
    assert caught.value.retry_after_s > PATIENCE_S


def test_without_a_limit_nobody_waits(cloud: InProcessProvider, clock: ManualClock) -> None:
    slept: list[float] = []
    limited = Limited(cloud, Rates(), clock, slept.append)
    for _ in range(100):
        limited.offers()
    assert slept == []


def test_calls_are_counted_by_how_they_ended(cloud: InProcessProvider) -> None:
    metrics = CallMetrics()
    failing = Failing(cloud, [NoCapacity(), ProviderUnavailable()])
    measured = Measured(failing, metrics)
    for _ in range(3):
        try:
            measured.offers()
        except ProviderError:
            continue
    name = str(cloud.name)
    assert metrics.calls() == {
        (name, "offers", "NoCapacity"): 1,
        (name, "offers", "ProviderUnavailable"): 1,
        (name, "offers", "ok"): 1,
    }
    assert all(seconds >= 0 for seconds in metrics.seconds().values())


def test_a_drill_passes_through_where_it_can_and_is_refused_elsewhere(cloud: InProcessProvider) -> None:
    launch(cloud)
    measured = Measured(cloud, CallMetrics())
    measured.drill(measured.instances()[0].id, Drill.NODE_LOSS)
    with pytest.raises(RequestRejected, match="cannot be drilled"):
        NotDrilled(cloud).drill(InstanceId("i-1"), Drill.NODE_LOSS)


class NotDrilled(Layer):
    """The same cloud, which declares nothing."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities()


def test_a_provider_that_asks_for_fewer_calls_is_left_alone_by_everybody(
    cloud: InProcessProvider, clock: ManualClock
) -> None:
    slept: list[float] = []
    limited = Limited(Failing(cloud, [RateLimited(retry_after_s=20.0)]), Rates(calls_per_s=10.0), clock, slept.append)
    with pytest.raises(RateLimited):
        limited.offers()
    assert limited.instances() == []
    assert slept == [20.0]


def test_a_pause_is_as_long_as_is_asked_for_and_five_minutes_at_the_most(
    cloud: InProcessProvider, clock: ManualClock
) -> None:
    limited = Limited(Failing(cloud, [RateLimited(retry_after_s=9_999.0)]), Rates(), clock, lambda _seconds: None)
    with pytest.raises(RateLimited):
        limited.offers()
    with pytest.raises(RateLimited):
        limited.offers()
    clock.advance(PAUSE_MAX_S)
    assert limited.offers()
