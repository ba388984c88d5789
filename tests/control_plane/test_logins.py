"""People come in by an identity provider: who is let in, as whom, where to, and how it ends."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from godwit.control_plane.api.access import COOKIE, DASHBOARD_HEADER
from godwit.control_plane.login import states
from godwit.control_plane.login.provider import Provider
from godwit.control_plane.login.section import Line
from godwit.control_plane.services.logins import CALLBACK
from godwit.domain.access import Role
from hypothesis import given
from hypothesis import strategies as st

from tests.control_plane.apis import BEARER, app_of
from tests.control_plane.issuer import Issuer, at_the_provider, issuing
from tests.control_plane.world import World

FROM_DASHBOARD = {DASHBOARD_HEADER: "1"}


@pytest.fixture
def issuer(embedded: World) -> Iterator[Issuer]:
    with issuing(embedded.clock.now) as found:
        yield found


class Site:
    """A control plane that people log in to, and browsers before it."""

    def __init__(self, world: World, issuer: Issuer, **changes: Any) -> None:
        self.app = app_of(world, Provider(issuer.settings(**changes), world.clock.now))
        self.admin = TestClient(self.app, headers=BEARER)

    def browser(self) -> TestClient:
        return TestClient(self.app, raise_server_exceptions=False, follow_redirects=False)

    def away(self, browser: TestClient, to: str = "/ui/") -> dict[str, str]:
        """Begin a login; what the browser brings back from the provider."""
        sent = browser.get("/v1/login/start", params={"to": to})
        assert sent.status_code == 303, sent.text
        return dict(at_the_provider(sent.headers["location"]))

    def log_in(self, browser: TestClient | None = None, to: str = "/ui/") -> tuple[TestClient, Any]:
        """All of it; the browser, and where it ends up."""
        browser = browser or self.browser()
        return browser, browser.get(CALLBACK, params=self.away(browser, to))

    def refused(self, browser: TestClient | None = None) -> str:
        """The reason for which a login fails."""
        return reason(self.log_in(browser)[1])


def reason(answer: Any) -> str:
    assert answer.status_code == 303
    assert COOKIE not in answer.cookies
    where = urlsplit(answer.headers["location"])
    assert (where.path, where.netloc) == ("/ui/", "")
    return str(parse_qs(where.query)["login"][0])


@pytest.fixture
def site(embedded: World, issuer: Issuer) -> Site:
    return Site(embedded, issuer)


def test_who_is_in_a_group_of_the_map_gets_a_session_with_its_role(site: Site) -> None:
    browser, answer = site.log_in(to="/ui/jobs?state=running")
    assert answer.headers["location"] == "/ui/jobs?state=running"
    cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith(COOKIE)).lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    who = browser.get("/v1/sessions/current").json()
    assert (who["actor"], who["role"], who["is_session"], who["is_person"]) == ("ann@example.com", "member", True, True)
    assert browser.post("/v1/breaker/reset", headers=FROM_DASHBOARD).status_code == 403
    (known,) = site.admin.get("/v1/users").json()["items"]
    assert (known["name"], known["role"], known["disabled_at"]) == ("ann@example.com", "member", None)


def test_the_audit_log_says_who_came_in_and_what_they_did_by_name(site: Site) -> None:
    browser, _ = site.log_in()
    browser.post("/v1/jobs/nobody/cancel", headers=FROM_DASHBOARD)
    rows = site.admin.get("/v1/audit").json()["items"]
    assert [(row["actor"], row["route"], row["status"]) for row in rows] == [
        ("ann@example.com", "/v1/jobs/{job}/cancel", 404),
        ("ann@example.com", CALLBACK, 303),
    ]
    assert "code=" not in str(rows)


def test_the_first_line_of_the_map_that_fits_gives_role_and_project(embedded: World, issuer: Issuer) -> None:
    issuer.people["subject-ann"]["groups"] = ["all", "vision"]
    lines = (Line("none-of-hers", Role.ADMIN), Line("vision", Role.VIEWER, "vision"), Line("all", Role.ADMIN))
    browser, _ = Site(embedded, issuer, map=lines).log_in()
    who = browser.get("/v1/sessions/current").json()
    assert (who["role"], who["project"]) == ("viewer", "vision")
    assert browser.get("/v1/nodes").status_code == 403


def test_who_is_in_no_group_of_the_map_stays_out_and_what_they_had_ends(site: Site, issuer: Issuer) -> None:
    browser, _ = site.log_in()
    issuer.people["subject-ann"]["groups"] = ["sales"]
    assert site.refused() == "no-role"
    assert browser.get("/v1/jobs").status_code == 401


def test_a_change_of_groups_counts_for_sessions_of_before_from_the_next_login_on(site: Site, issuer: Issuer) -> None:
    browser, _ = site.log_in()
    issuer.people["subject-ann"]["groups"] = ["admins"]
    assert browser.get("/v1/tokens").status_code == 403
    site.log_in()
    assert browser.get("/v1/tokens").status_code == 200


def test_an_address_of_another_domain_stays_out_and_one_that_is_allowed_comes_in(
    embedded: World, issuer: Issuer
) -> None:
    site = Site(embedded, issuer, domains=("example.com",))
    assert site.refused() == "unverified"
    issuer.people["subject-ann"]["email_verified"] = True
    browser, _ = site.log_in()
    assert browser.get("/v1/jobs").status_code == 200


def test_an_answer_without_the_cookie_of_this_browser_lets_nobody_in(site: Site) -> None:
    back = site.away(site.browser())
    assert reason(site.browser().get(CALLBACK, params=back)) == "too-late"
    victim = site.browser()
    site.away(victim)
    assert reason(victim.get(CALLBACK, params=back)) == "too-late", "the answer to another browser's login"


def test_a_cookie_that_we_did_not_sign_is_none(site: Site) -> None:
    back = site.away(site.browser())
    for cookie in ("", "x", "x.y", ".", "W10=.", "é"):
        headers: Any = {"Cookie": f"{states.COOKIE}={cookie}".encode("latin-1")}
        assert reason(site.browser().get(CALLBACK, params=back, headers=headers)) == "too-late", cookie


def test_a_login_that_took_too_long_is_begun_anew(site: Site, embedded: World) -> None:
    browser = site.browser()
    back = site.away(browser)
    embedded.clock.advance(states.LASTS_S)
    assert reason(browser.get(CALLBACK, params=back)) == "too-late"


def test_an_answer_counts_once(site: Site) -> None:
    browser = site.browser()
    back = site.away(browser)
    kept = dict(browser.cookies)
    assert browser.get(CALLBACK, params=back).headers["location"] == "/ui/"
    again = site.browser()
    again.cookies.update(kept)
    assert reason(again.get(CALLBACK, params=back)) == "unreachable", "the provider takes a code once"


def test_the_providers_own_refusal_is_told(site: Site) -> None:
    browser = site.browser()
    back = site.away(browser)
    answer = browser.get(CALLBACK, params={"state": back["state"], "error": "access_denied"})
    assert reason(answer) == "refused-there"


def test_an_answer_of_another_provider_is_not_taken(site: Site) -> None:
    browser = site.browser()
    back = site.away(browser) | {"iss": "https://evil.example.com"}
    assert reason(browser.get(CALLBACK, params=back)) == "not-believed"


ELSEWHERE = [
    "https://evil.example.com", "//evil.example.com", "/\\evil.example.com", "/ui//evil.example.com", "/ui/../v1/jobs",
    "/ui/..//evil.example.com", "/v1/sessions/codes", "javascript:alert(1)", "/ui/\r\nSet-Cookie: x=y", "/ui/%2e%2e/",
    "/ui/?next=https://evil.example.com", "/uix", "", "/ui/\t/evil.example.com", "/ui/#/x",
]  # fmt: skip


def test_nobody_is_sent_anywhere_but_to_a_page_of_the_dashboard(site: Site) -> None:
    for to in ELSEWHERE:
        assert not states.is_page(to), to
    for to in ELSEWHERE[:4]:
        assert site.log_in(to=to)[1].headers["location"] == "/ui/", to


@given(st.text(alphabet="/ui.\\:%?#@& \t\r\nab", max_size=12).map("/ui/{}".format))
def test_a_page_stays_on_this_host_and_below_the_dashboard_however_it_is_written(path: str) -> None:
    if states.is_page(path):
        where = httpx.URL("http://here.example/").join(path)
        assert (where.host, where.path[:4]) == ("here.example", "/ui/")


def test_two_people_of_one_name_and_a_token_are_told_apart(site: Site, issuer: Issuer) -> None:
    issuer.people["subject-eve"] = {"email": "ann@example.com", "groups": ["admins"]}
    site.log_in()
    issuer.logged_in = "subject-eve"
    browser, _ = site.log_in()
    second = site.admin.get("/v1/users").json()["items"]
    eve = next(one for one in second if one["role"] == "admin")
    assert browser.get("/v1/sessions/current").json()["actor"] == f"ann@example.com ({eve['id']})"
    issuer.people["subject-bot"] = {"email": "ci", "groups": ["vision"]}
    site.admin.post("/v1/tokens", json={"name": "ci", "role": "viewer"})
    issuer.logged_in = "subject-bot"
    assert site.log_in()[0].get("/v1/sessions/current").json()["actor"].startswith("ci (user-")


def test_no_token_is_called_like_a_person(site: Site, issuer: Issuer) -> None:
    issuer.people["subject-ann"]["email"] = "ann"
    site.log_in()
    refused = site.admin.post("/v1/tokens", json={"name": "ann", "role": "viewer"})
    assert refused.status_code == 409


def test_who_is_disabled_is_out_at_once_and_stays_out_until_enabled(site: Site) -> None:
    browser, _ = site.log_in()
    (ann,) = site.admin.get("/v1/users").json()["items"]
    assert site.admin.post(f"/v1/users/{ann['id']}/disable").json()["disabled_at"] is not None
    assert browser.get("/v1/jobs").status_code == 401
    assert site.refused() == "disabled"
    site.admin.post(f"/v1/users/{ann['id']}/enable")
    assert browser.get("/v1/jobs").status_code == 401, "what ended stays ended"
    assert site.log_in()[0].get("/v1/jobs").status_code == 200


def test_an_administrator_does_not_shut_themselves_out(site: Site, issuer: Issuer) -> None:
    issuer.people["subject-ann"]["groups"] = ["admins"]
    browser, _ = site.log_in()
    (ann,) = site.admin.get("/v1/users").json()["items"]
    assert browser.post(f"/v1/users/{ann['id']}/disable", headers=FROM_DASHBOARD).status_code == 409
    assert site.admin.post("/v1/users/user-nobody/disable").status_code == 404


def test_a_session_lasts_as_long_as_the_settings_say_and_ends_with_logging_out(embedded: World, issuer: Issuer) -> None:
    site = Site(embedded, issuer, session_s=600.0)
    browser, _ = site.log_in()
    other, _ = site.log_in()
    assert other.delete("/v1/sessions/current", headers=FROM_DASHBOARD).status_code == 204
    assert other.get("/v1/jobs").status_code == 401
    assert browser.get("/v1/jobs").status_code == 200
    embedded.clock.advance(601.0)
    assert browser.get("/v1/jobs").status_code == 401


def test_without_a_provider_the_page_offers_none(embedded: World) -> None:
    client = TestClient(app_of(embedded), follow_redirects=False)
    assert client.get("/v1/login").json() == {"name": None}
    assert client.get("/v1/login/start").status_code == 404


def test_the_page_offers_the_provider_by_its_name(site: Site) -> None:
    assert site.browser().get("/v1/login").json() == {"name": "Example"}
