"""What people do with the dashboard: it moves by itself, asks before it acts, and says why somebody may not."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.control_plane.apis import BEARER
from tests.dashboard.conftest import PATIENCE_MS, log_in
from tests.dashboard.story import Story
from tests.dashboard.test_pages import go

pytestmark = [pytest.mark.xdist_group("dashboard")]


@pytest.fixture(autouse=True)
def _patience() -> None:
    expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def onlooker(window: BrowserContext, address: str) -> Iterator[Page]:
    """A page of somebody who may only look."""
    wanted = {"name": "onlooker", "role": "viewer"}
    made = httpx.post(f"{address}/v1/tokens", json=wanted, headers=BEARER)
    assert made.status_code == 201, made.text
    page = window.new_page()
    log_in(page, made.json()["secret"])
    yield page
    httpx.delete(f"{address}/v1/tokens/{made.json()['id']}", headers=BEARER)


def test_a_fault_shows_by_itself(page: Page, story: Story) -> None:
    expect(page.get_by_test_id("line")).to_have_text("live")
    expect(page.get_by_test_id("broken")).to_contain_text("incident")
    before = page.get_by_test_id("broken").inner_text()
    story.break_a_gpu()
    expect(page.get_by_test_id("broken")).not_to_have_text(before, use_inner_text=True)
    expect(page.get_by_text("xid:79")).to_have_count(2)


def test_a_job_is_cancelled_after_its_consequences_were_read(page: Page, story: Story) -> None:
    story.world.submit("mistake", nodes=12)
    go(page, "/jobs/mistake")
    page.get_by_role("button", name="Cancel job").click()
    question = page.get_by_role("dialog", name="Cancel mistake?")
    expect(question.get_by_test_id("consequences")).to_contain_text("It leaves the queue")
    question.get_by_role("button", name="Leave it").click()
    expect(question).to_be_hidden()
    page.get_by_role("button", name="Cancel job").click()
    question.get_by_role("button", name="Cancel job").click()
    expect(page.locator("h1 .state")).to_have_text("cancelled")
    go(page, "/admin?tab=audit")
    expect(page.get_by_role("table", name="Audit log")).to_contain_text("/cancel")


def test_what_somebody_may_not_do_is_shown_with_the_reason(onlooker: Page) -> None:
    go(onlooker, "/jobs/pretrain")
    button = onlooker.get_by_role("button", name="Cancel job")
    expect(button).to_have_attribute("aria-disabled", "true")
    button.hover()
    expect(onlooker.get_by_role("tooltip").filter(has_text="Needs the role member; yours is viewer")).to_be_visible()
    go(onlooker, "/admin?tab=tokens")
    expect(onlooker.get_by_text("Needs the role admin")).to_be_visible()


def test_a_link_with_a_code_opens_it_once(browser: Browser, address: str) -> None:
    code = httpx.post(f"{address}/v1/sessions/codes", headers=BEARER).json()
    for outcome in ("Overview", "godwit"):
        context = browser.new_context(base_url=address)
        page = context.new_page()
        page.goto(code["path"])
        expect(page.get_by_role("heading", level=1)).to_have_text(outcome)
        assert "code=" not in page.url
        context.close()


def test_keys_go_everywhere(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    for keys, heading in (("gf", "Fleet"), ("gj", "Jobs"), ("gh", "Health"), ("go", "Overview")):
        for key in keys:
            page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def test_output_comes_as_it_is_printed(page: Page, story: Story) -> None:
    go(page, "/jobs/llama-tune")
    output = page.get_by_label("Output", exact=True)
    expect(output).to_contain_text("step 59")
    story.prints("and on it goes\n")
    expect(output).to_contain_text("and on it goes")
