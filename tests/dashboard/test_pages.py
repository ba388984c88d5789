"""Every page, on a desk and on a phone: it shows what it is for, fits its window, and everybody can use it."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.dashboard.conftest import PATIENCE_MS
from tests.dashboard.story import Story

pytestmark = [pytest.mark.xdist_group("dashboard")]

AXE = Path(__file__).parents[2] / "control_plane" / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")

PAGES = {
    "/": ("Overview", "xid:79"),
    "/fleet": ("Fleet", "H100-SXM"),
    "/jobs": ("Jobs", "12 needed together"),
    "/jobs/llama-tune": ("llama-tune", "59 of 120"),
    "/jobs/pretrain": ("pretrain", "holds 16 of 64 H100"),
    "/jobs/broken-import": ("broken-import", "No module named 'datasets'"),
    "/services": ("Services", "2 of 2"),
    "/services/chat": ("chat", "sheds 3/s"),
    "/market": ("Market", "$2.50"),
    "/costs": ("Costs", "vision"),
    "/costs?by=job": ("Costs", "llama-tune"),
    "/admin": ("Admin", "H100 16 of 64"),
    "/admin?tab=providers": ("Admin", "Foreign machines"),
    "/admin?tab=people": ("Admin", "Nobody logged in with an identity provider yet"),
    "/admin?tab=tokens": ("Admin", "Make a token"),
    "/admin?tab=audit": ("Admin", "Audit"),
    "/device": ("Let a command in", "The code that it shows"),
    "/health": ("Health", "repairing"),
    "/health/{incident}": ("xid:79", "made its first new step"),
}
"""By address: the heading, and something of the story that the page must show."""

ALSO_IN_THE_DARK = ("/", "/fleet", "/jobs/llama-tune", "/costs")
"""Axe takes a second for a page; these have every kind of letter and ground that there is."""


def grave_findings(page: Page) -> list[str]:
    """What axe finds wrong that keeps people out."""
    page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(result => result.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in GRAVE]


def overflow_px(page: Page) -> int:
    """By how much the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_every_page_shows_its_part_of_the_story_and_fits(
    browser: Browser, address: str, key: StorageState, story: Story, width: int, scheme: Any
) -> None:
    seen_at = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    context = browser.new_context(base_url=address, storage_state=key, **seen_at)
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.goto("/ui/")
    for path, (heading, shown) in PAGES.items():
        go(page, path.format(incident=story.incident))
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
        expect(page.get_by_text(shown).first).to_be_attached()
        assert overflow_px(page) <= 0, path
        if scheme == "light" or path in ALSO_IN_THE_DARK:
            assert grave_findings(page) == [], path
    assert [text for text in said if "Content Security Policy" in text] == [], "it breaks its own policy"
    context.close()


def go(page: Page, path: str) -> None:
    """Follow a link into the application."""
    page.evaluate(
        "path => { history.pushState(null, '', '/ui' + path); dispatchEvent(new PopStateEvent('popstate')) }", path
    )


def test_a_click_on_the_map_tells_the_story_of_a_node(page: Page, story: Story) -> None:
    go(page, f"/fleet?node={story.world.nodes()[0].id}")
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text("What happened")).to_be_visible(timeout=PATIENCE_MS)
    expect(drawer.get_by_role("button", name="Drain")).to_be_visible()
