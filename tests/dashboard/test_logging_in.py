"""Somebody logs in with an identity provider in a real browser, and lets a command in from there."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from godwit.control_plane.api.dashboard import FOLDER
from godwit.control_plane.hints import Hints
from godwit.control_plane.login.provider import Provider
from godwit.control_plane.store.database import Database, open_engine
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.control_plane.apis import app_of, served
from tests.control_plane.issuer import Issuer, issuing
from tests.control_plane.world import World
from tests.dashboard.conftest import PATIENCE_MS
from tests.dashboard.test_pages import grave_findings

pytestmark = [pytest.mark.xdist_group("dashboard")]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[str, Issuer]]:
    """A control plane with an identity provider: its address, and that provider."""
    if not (FOLDER / "index.html").exists():
        pytest.skip("the dashboard is not built here: run `make dashboard` first")
    bell = Hints()
    db = Database(open_engine(f"sqlite:///{tmp_path / 'godwit.db'}"), bell.announce)
    db.migrate()
    world = World(db, bell, tmp_path)
    listener = socket.create_server(("127.0.0.1", 0))
    # The provider sends browsers back to this address.
    world.context = replace(world.context, url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    with issuing(world.clock.now) as issuer:
        app = app_of(world, Provider(issuer.settings(), world.clock.now))
        with served(app, listener=listener) as address:
            yield address, issuer
    db.close()


@pytest.fixture
def at_the_door(browser: Browser, door: tuple[str, Issuer]) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=door[0], viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


def _seen(page: Page, name: str) -> None:
    """Keep a picture, where somebody wants to look at it."""
    if folder := os.environ.get("GODWIT_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_who_logs_in_comes_to_the_page_that_was_asked_for_and_lets_a_command_in(
    door: tuple[str, Issuer], at_the_door: BrowserContext
) -> None:
    address, _ = door
    begun = httpx.post(f"{address}/v1/login/codes", json={"client": "godwit on laptop"}).json()
    page = at_the_door.new_page()
    page.goto(begun["path"])
    link = page.get_by_role("link", name="Log in with Example")
    link.wait_for()
    assert grave_findings(page) == []
    _seen(page, "login")
    link.click()
    expect(page.get_by_text("godwit on laptop")).to_be_visible()
    expect(page.get_by_text(begun["user_code"])).to_be_visible()
    expect(page.get_by_test_id("person")).to_contain_text("ann@example.com")
    _seen(page, "device")
    page.get_by_role("button", name="Let it in").click()
    expect(page.get_by_role("status").filter(has_text="It is let in")).to_be_visible()
    granted = httpx.post(f"{address}/v1/login/tokens", json={"device_code": begun["device_code"]}).json()
    assert (granted["state"], granted["actor"]) == ("granted", "ann@example.com")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in with Example")).to_be_visible()


def test_who_is_not_let_in_reads_why(door: tuple[str, Issuer], at_the_door: BrowserContext) -> None:
    door[1].people["subject-ann"]["groups"] = ["sales"]
    page = at_the_door.new_page()
    page.goto("/ui/fleet")
    page.get_by_role("link", name="Log in with Example").click()
    expect(page.get_by_role("alert")).to_contain_text("You are in no group that may come in here")
    _seen(page, "refused")
    assert "login=" not in page.url, "a reload says nothing of a login of before"
