"""The dashboard in a real browser, before the real API over a fleet with a story."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from godwit.control_plane.api.dashboard import FOLDER
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, StorageState, sync_playwright

from tests.control_plane.apis import TOKEN, app_of, served
from tests.dashboard.story import Story

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 40_000.0
"""For anything that a page should show: generous, since tests wait for conditions and machines are busy."""


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The fleet that all tests look at; a test that changes it says so in its name."""
    return Story(tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="session")
def address(story: Story) -> Iterator[str]:
    """Where its control plane serves."""
    if not (FOLDER / "index.html").exists():
        pytest.skip("the dashboard is not built here: run `make dashboard` first")
    with served(app_of(story.world)) as url:
        yield url


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """What drives the browser.

    Its event loop runs in this thread until it is closed, and as long as it does no other may: a test elsewhere that
    the same worker has next would fail. So it is each module's own.
    """
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """One browser for all tests of a module, without a window and without a word to anybody else."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM} here, so nobody looks at the dashboard; `make test` says how to get it")
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET), timeout=PATIENCE_MS)
    yield browser
    browser.close()


@pytest.fixture
def window(browser: Browser, address: str) -> Iterator[BrowserContext]:
    """A window of its own, with nothing remembered, as wide as a desk's."""
    context = browser.new_context(
        base_url=address, viewport={"width": 1440, "height": 900}, timezone_id="Europe/Zurich", locale="en-GB"
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


def log_in(page: Page, token: str = TOKEN, path: str = "/ui/") -> None:
    """Come to a page through the door."""
    page.goto(path)
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("navigation").first.wait_for()


@pytest.fixture(scope="module")
def key(browser: Browser, address: str) -> StorageState:
    """What a browser keeps of an admin who logged in."""
    return kept_of_an_admin(browser, address)


def kept_of_an_admin(browser: Browser, address: str) -> StorageState:
    """Log in once, and take along what opens the same session in other windows."""
    context = browser.new_context(base_url=address)
    context.set_default_timeout(PATIENCE_MS)
    log_in(context.new_page())
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture
def page(browser: Browser, address: str, key: StorageState) -> Iterator[Page]:
    """A page, as wide as a desk's, on which an admin is logged in."""
    context = browser.new_context(base_url=address, storage_state=key, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto("/ui/")
    yield page
    context.close()
