"""How providers do, as the API shows it: trouble and since when, how calls go, and what is there that is not ours."""

from dataclasses import replace
from pathlib import Path

import pytest
from godwit.control_plane.contacts import Contact
from godwit.control_plane.loops import Loops
from godwit.control_plane.reconcilers.instances import OfferWatch
from godwit.control_plane.roster import Roster
from godwit.control_plane.services.providers import Accounts
from godwit.control_plane.vault import Vault, new_key
from godwit.domain.errors import NotFound
from godwit.domain.ids import ProviderName
from godwit.domain.wire.providers import ProviderView
from godwit.providers.layers import CallMetrics, Measured
from godwit.providers.protocol import Capabilities
from godwit.providers.simulated.faults import Faults

from tests.control_plane.apis import client_of
from tests.control_plane.world import World

CHEAP = ProviderName("cheap")
AWAY = Faults(unavailable=True)


def accounts(world: World, metrics: CallMetrics | None = None) -> Accounts:
    roster = Roster(world.context.providers)
    return Accounts(world.context, roster, Vault(new_key()), Path("/nowhere"), metrics or CallMetrics())


def test_a_refresh_that_fails_says_why_and_since_when_and_when_the_last_one_succeeded(embedded: World) -> None:
    offers = OfferWatch(embedded.context, embedded.providers[CHEAP])
    assert (offers.trouble, offers.trouble_since, offers.refreshed_at) == ("", None, None)
    offers.step()
    refreshed_at = embedded.clock.now()
    assert offers.refreshed_at == refreshed_at
    embedded.clouds["cheap"].set_faults(AWAY)
    embedded.clock.advance(60)
    began = embedded.clock.now()
    for _ in range(3):
        offers.step()
        embedded.clock.advance(60)
    assert "unavailable" in offers.trouble
    assert (offers.trouble_since, offers.refreshed_at) == (began, refreshed_at)
    embedded.clouds["cheap"].set_faults(Faults())
    offers.step()
    assert (offers.trouble, offers.trouble_since, offers.refreshed_at) == ("", None, embedded.clock.now())


def test_offers_that_fail_by_a_fault_of_our_own_are_in_trouble_too(embedded: World) -> None:
    class Senseless:
        """Its offers cannot be read."""

        name, capabilities = CHEAP, Capabilities()

        def offers(self) -> list[object]:
            raise KeyError("price")

    offers = OfferWatch(embedded.context, Senseless())  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        offers.step()
    assert "log" in offers.trouble
    assert offers.trouble_since == embedded.clock.now()


def test_a_provider_is_shown_with_its_recent_calls_by_method_and_by_error(embedded: World) -> None:
    metrics = CallMetrics()
    measured = Measured(embedded.providers[CHEAP], metrics)
    embedded.context = replace(embedded.context, providers={**embedded.providers, CHEAP: measured})
    embedded.watch_instead(measured)
    embedded.clock.advance(1)
    embedded.watch()
    embedded.clouds["cheap"].set_faults(AWAY)
    embedded.watch()
    OfferWatch(embedded.context, measured).step()
    shown = accounts(embedded, metrics).show("cheap", {})
    assert shown.calls is not None
    assert (shown.calls.calls, shown.calls.errors) == (3, {"ProviderUnavailable": 2})
    assert shown.calls_by_method["instances"].errors == {"ProviderUnavailable": 1}
    assert (shown.calls_by_method["offers"].calls, shown.calls_by_method["instances"].calls) == (1, 2)
    assert None not in (shown.calls.median_s, shown.calls.p99_s)
    untouched = accounts(embedded, metrics).show("dear", {}).calls
    assert untouched is not None
    assert (untouched.calls, untouched.median_s) == (0, None)


def test_what_the_watches_saw_is_what_is_shown(embedded: World) -> None:
    seen = Contact(
        listed_at=5.0, trouble="", offers_at=4.0, offers_trouble="503", offers_trouble_since=4.5, foreign=3,
        foreign_ids=("i-1", "i-2", "i-3"),
    )  # fmt: skip
    embedded.read_offers()
    cheap, dear = accounts(embedded).overview({"cheap": seen})
    assert (cheap.reachable, cheap.last_contact_at, cheap.offers) == (True, 5.0, 1)
    assert (cheap.offers_at, cheap.offers_trouble, cheap.offers_trouble_since) == (4.0, "503", 4.5)
    assert (cheap.foreign, cheap.foreign_ids) == (3, ["i-1", "i-2", "i-3"])
    assert (dear.reachable, dear.detail) == (False, "not contacted yet")
    with pytest.raises(NotFound, match="godwit providers"):
        accounts(embedded).show("nobody", {})


def test_the_loops_tell_what_their_watches_saw(embedded: World) -> None:
    loops = Loops(embedded.context)
    assert loops.contacts() == {}
    loops.stop()
    loops.watch(embedded.providers[CHEAP])  # its thread has nothing to do any more
    assert loops.contacts() == {"cheap": Contact()}


def test_one_provider_can_be_asked_for_by_name(world: World) -> None:
    client = client_of(world)
    one = client.get("/v1/providers/cheap")
    assert one.status_code == 200
    assert ProviderView.model_validate(one.json()) in [
        ProviderView.model_validate(item) for item in client.get("/v1/providers").json()["items"]
    ]
    assert client.get("/v1/providers/nobody").status_code == 404
