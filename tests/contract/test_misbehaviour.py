"""When a cloud misbehaves, the caller learns what to do next: the error's class says it."""

import logging
import time

import pytest
from godwit.domain.errors import (
    CredentialsRejected,
    NoCapacity,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    UnknownOutcome,
)
from godwit.domain.offers import InstanceState
from godwit.providers.simulated.faults import Faults

from tests.contract.rigs import SLEEP, Rig


def _set(rig: Rig, faults: Faults) -> None:
    assert rig.set_faults is not None
    rig.set_faults(faults)


def test_a_listing_is_complete_across_pages(faulty_rig: Rig) -> None:
    launched = [faulty_rig.provider.launch(faulty_rig.request()).id for _ in range(5)]
    listed = [instance.id for instance in faulty_rig.provider.instances()]
    assert [i for i in listed if i in launched] == launched, "pages of two, in the order of launch, none left out"
    assert len(set(listed)) == len(listed)


def test_a_launch_whose_answer_is_lost_has_an_unknown_outcome_and_is_found_by_its_token(faulty_rig: Rig) -> None:
    request = faulty_rig.request("token-lost-answer")
    _set(faulty_rig, Faults(lose_answers=1))
    with pytest.raises(UnknownOutcome):
        faulty_rig.impatient.launch(request)
    found = [i for i in faulty_rig.provider.instances() if i.token == "token-lost-answer"]
    assert len(found) == 1
    if faulty_rig.provider.capabilities.client_token:
        again = faulty_rig.provider.launch(request)
        assert again.id == found[0].id
        assert len([i for i in faulty_rig.provider.instances() if i.token == "token-lost-answer"]) == 1


def test_a_launch_answered_too_late_has_an_unknown_outcome(faulty_rig: Rig) -> None:
    request = faulty_rig.request("token-late")
    _set(faulty_rig, Faults(delay_s=2.0))
    with pytest.raises(UnknownOutcome):
        faulty_rig.impatient.launch(request)
    _set(faulty_rig, Faults())
    assert [i.token for i in faulty_rig.provider.instances()].count("token-late") == 1


def test_a_listing_answered_too_late_is_unavailable(faulty_rig: Rig) -> None:
    _set(faulty_rig, Faults(delay_s=2.0))
    with pytest.raises(ProviderUnavailable):
        faulty_rig.impatient.instances()


def test_an_answer_that_is_late_but_in_time_is_an_answer(faulty_rig: Rig) -> None:
    # The patient client: the other one's half second is soon over on a machine with much else to do.
    _set(faulty_rig, Faults(delay_s=0.1))
    assert faulty_rig.provider.offers()


def test_a_launch_that_failed_before_creating_creates_nothing(faulty_rig: Rig) -> None:
    request = faulty_rig.request("token-5xx")
    _set(faulty_rig, Faults(fail_launches=1))
    with pytest.raises(ProviderUnavailable if faulty_rig.promises_on_5xx else UnknownOutcome):
        faulty_rig.provider.launch(request)
    assert "token-5xx" not in [i.token for i in faulty_rig.provider.instances()]
    assert faulty_rig.provider.launch(request).token == "token-5xx"


def test_refused_capacity_counts_down_or_lasts_until_cleared(faulty_rig: Rig) -> None:
    offer = faulty_rig.offer()
    _set(faulty_rig, Faults(refuse_capacity={offer.instance_type: 1}))
    with pytest.raises(NoCapacity):
        faulty_rig.provider.launch(faulty_rig.request())
    faulty_rig.provider.launch(faulty_rig.request())
    _set(faulty_rig, Faults(refuse_capacity={"*": -1}))
    for _ in range(3):
        with pytest.raises(NoCapacity):
            faulty_rig.provider.launch(faulty_rig.request())


def test_a_rate_limit_says_how_long_to_wait(faulty_rig: Rig) -> None:
    _set(faulty_rig, Faults(rate_limit=1))
    with pytest.raises(RateLimited) as caught:
        faulty_rig.provider.instances()
    if faulty_rig.says_retry_after:
        assert caught.value.retry_after_s == 1.0
    assert caught.value.retry_after_s > 0
    faulty_rig.provider.instances()


def test_while_the_cloud_is_down_every_call_is_unavailable(faulty_rig: Rig) -> None:
    request = faulty_rig.request()
    _set(faulty_rig, Faults(unavailable=True))
    for call in (
        faulty_rig.provider.offers,
        faulty_rig.provider.instances,
        lambda: faulty_rig.provider.terminate(faulty_rig.provider.instances()[0].id),
    ):
        with pytest.raises(ProviderUnavailable):
            call()
    with pytest.raises(ProviderUnavailable if faulty_rig.promises_on_5xx else UnknownOutcome):
        faulty_rig.provider.launch(request)


def test_a_listing_that_lags_does_not_have_the_newest_machine_yet(faulty_rig: Rig) -> None:
    _set(faulty_rig, Faults(list_lag_s=3.0))
    instance = faulty_rig.provider.launch(faulty_rig.request())
    assert faulty_rig.listed(instance.id) is None
    faulty_rig.wait_for(lambda: faulty_rig.listed(instance.id) is not None)


def test_a_state_never_seen_before_is_unknown_and_keeps_the_vendors_word(faulty_rig: Rig) -> None:
    instance = faulty_rig.running()
    _set(faulty_rig, Faults(state_word="hibernating"))
    listed = faulty_rig.listed(instance.id)
    assert listed is not None
    assert listed.state is InstanceState.UNKNOWN
    assert listed.detail == faulty_rig.unknown_word


def test_a_token_used_for_something_else_is_rejected_where_tokens_are_known(faulty_rig: Rig) -> None:
    if not faulty_rig.provider.capabilities.client_token:
        return
    request = faulty_rig.request("token-reused")
    faulty_rig.provider.launch(request)
    other = next(o for o in faulty_rig.provider.offers() if o.instance_type != request.offer.instance_type)
    with pytest.raises(RequestRejected):
        faulty_rig.provider.launch(type(request)(other, "token-reused", "control-plane-1", SLEEP))


def test_a_wrong_key_is_rejected_and_never_shown(networked_rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert networked_rig.with_wrong_key is not None
    assert networked_rig.secret is not None
    request = networked_rig.request()
    for call in (
        networked_rig.with_wrong_key.check,
        networked_rig.with_wrong_key.offers,
        lambda: networked_rig.with_wrong_key.launch(request),
    ):
        with pytest.raises(CredentialsRejected) as caught:
            call()
        assert "wrong-key" not in str(caught.value)
    networked_rig.provider.offers()
    shown = repr(networked_rig.provider) + repr(networked_rig.with_wrong_key) + caplog.text
    assert networked_rig.secret not in shown
    assert "wrong-key" not in shown


def test_a_cloud_that_cannot_be_reached_is_unavailable_also_for_a_launch(networked_rig: Rig) -> None:
    assert networked_rig.unreachable is not None
    request = networked_rig.request()
    for call in (networked_rig.unreachable.instances, lambda: networked_rig.unreachable.launch(request)):
        with pytest.raises(ProviderUnavailable) as caught:
            call()
        assert str(networked_rig.secret) not in str(caught.value)


def test_every_error_is_one_of_ours_and_names_the_provider(faulty_rig: Rig) -> None:
    for faults in (Faults(unavailable=True), Faults(rate_limit=1), Faults(refuse_capacity={"*": 1})):
        request = faulty_rig.request()
        _set(faulty_rig, faults)
        with pytest.raises(ProviderError, match=str(faulty_rig.provider.name)):
            faulty_rig.provider.launch(request)
        _set(faulty_rig, Faults())


def test_a_call_never_takes_much_longer_than_its_time_out(networked_rig: Rig) -> None:
    _set(networked_rig, Faults(delay_s=5.0))
    began = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        networked_rig.impatient.offers()
    assert time.monotonic() - began < 3.0
