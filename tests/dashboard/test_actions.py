"""Every action of the dashboard is clicked: it asks with its consequences, has its effect, and is in the audit log."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from godwit.control_plane.store import health
from playwright.sync_api import Browser, Locator, Page, StorageState, expect

from tests.control_plane.apis import BEARER, app_of, served
from tests.dashboard.conftest import PATIENCE_MS, kept_of_an_admin
from tests.dashboard.story import Story
from tests.dashboard.test_pages import go
from tests.emulators.emulator import API_KEY
from tests.emulators.lambdalabs.emulator import SHAPES, LambdaEmulator

pytestmark = [pytest.mark.xdist_group("dashboard")]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A fleet of its own, since much is changed here; besides, a job that bends and a service of two versions."""
    told = Story(tmp_path_factory.mktemp("changed"))
    told.run("bends", resources={"nodes": "1..2"}, elastic="in-place")
    told.services.put(name="chat", replicas="1..3", resources={"gpus": "H100:1"})
    told.services.put(name="chat", replicas="1..3", resources={"gpus": "H100:1"}, run="python serve.py --new")
    return told


@pytest.fixture(scope="module")
def address(story: Story) -> Iterator[str]:
    """Where its control plane serves."""
    with served(app_of(story.world)) as url:
        yield url


@pytest.fixture(scope="module")
def key(browser: Browser, address: str) -> StorageState:
    """What a browser keeps of its admin."""
    return kept_of_an_admin(browser, address)


@pytest.fixture(autouse=True)
def _patience() -> None:
    expect.set_options(timeout=PATIENCE_MS)


class Clicks:
    """Does actions on a page, and knows the lines that they left in the audit log."""

    def __init__(self, page: Page, address: str) -> None:
        self._page, self._address = page, address
        self._first = len(self._lines())

    def ask(self, label: str, *, within: Locator | None = None) -> Locator:
        """Click an action; returns what asks whether it is meant."""
        (within or self._page).get_by_role("button", name=label, exact=True).first.click()
        return self._page.get_by_role("dialog").filter(has_text="It is written down who did this.").last

    def do(self, label: str, says: str, question: Locator) -> None:
        """Read what would follow, and say that it is meant."""
        expect(question.get_by_test_id("consequences")).to_contain_text(says)
        question.get_by_role("button", name=label, exact=True).click()
        expect(question).to_be_hidden()

    def written(self) -> list[str]:
        """What the audit log says since, the oldest first; nothing of it was refused."""
        return [line.removeprefix("2xx ") for line in self._lines()[self._first :]]

    def _lines(self) -> list[str]:
        answer = httpx.get(f"{self._address}/v1/audit?limit=300", headers=BEARER).json()
        found = sorted(answer["items"], key=lambda one: int(one["seq"]))
        return [f"{one['status'] // 100}xx {one['method']} {one['path']}" for one in found]


def choose(page: Page, question: Locator, label: str, option: str) -> None:
    """Pick one of a list."""
    question.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_job_is_moved_and_resized(page: Page, address: str, story: Story) -> None:
    clicks = Clicks(page, address)
    go(page, "/jobs/llama-tune")
    question = clicks.ask("Migrate")
    choose(page, question, "Where to", "dear")
    clicks.do("Migrate", "It would go to dear", question)
    go(page, "/jobs/bends")
    question = clicks.ask("Resize")
    question.get_by_label("Nodes").fill("2")
    clicks.do("Resize", "between 1 and 2 nodes", question)
    assert story.world.job(story.world.job("bends").id).nodes_wanted == 2
    training, bends = story.training, story.world.job("bends").id
    assert clicks.written() == [f"POST /v1/jobs/{training}/migrations", f"PUT /v1/jobs/{bends}/size"]


def test_a_service_goes_back_grows_moves_and_is_deleted(page: Page, address: str, story: Story) -> None:
    clicks = Clicks(page, address)
    go(page, "/services/chat")
    clicks.do("Roll back", "takes all requests again", clicks.ask("Roll back"))
    question = clicks.ask("Scale")
    question.get_by_label("Replicas").fill("3")
    clicks.do("Scale", "From 2 to 3 replicas", question)
    question = clicks.ask("Move")
    choose(page, question, "Where to", "dear")
    clicks.do("Move", "start in dear first", question)
    assert story.services.service().replicas == 3
    assert {one.moves_to for one in story.services.replicas()} == {"dear"}
    clicks.do("Delete", "drain and stop", clicks.ask("Delete"))
    expect(page.locator("h1 .state")).to_have_text("deleting")
    chat = "/v1/services/chat"
    assert clicks.written() == [
        f"POST {chat}/rollout", f"PUT {chat}/scale", f"POST {chat}/move", f"DELETE {chat}",
    ]  # fmt: skip


def test_a_node_is_cordoned_returned_drained_and_given_back(page: Page, address: str, story: Story) -> None:
    clicks = Clicks(page, address)
    node = next(one for one in story.world.nodes() if one.state == "ready")
    go(page, f"/fleet?node={node.id}")
    clicks.do("Cordon", "No new work starts there", clicks.ask("Cordon"))
    clicks.do("Uncordon", "New work may start", clicks.ask("Uncordon"))
    clicks.do("Drain", "the machine is given back", clicks.ask("Drain"))
    expect(page.get_by_role("dialog").locator(".state").first).to_have_text("draining")
    clicks.do("Terminate", "is interrupted", clicks.ask("Terminate"))
    expect(page.get_by_role("dialog").locator(".state").first).to_have_text("terminating")
    verbs = ("cordon", "uncordon", "drain", "terminate")
    assert clicks.written() == [f"POST /v1/nodes/{node.id}/{verb}" for verb in verbs]


def test_an_incident_is_closed_and_is_not_tested_while_automation_is_at_it(
    page: Page, address: str, story: Story
) -> None:
    clicks = Clicks(page, address)
    go(page, f"/health/{story.incident}")
    expect(page.get_by_role("button", name="Test again")).to_have_attribute("aria-disabled", "true")
    clicks.do("Close incident", "counts as healthy again", clicks.ask("Close incident"))
    expect(page.locator("h1 .state")).to_have_text("closed")
    assert clicks.written() == [f"POST /v1/incidents/{story.incident}/close"]


def test_the_breaker_is_closed_and_automation_goes_on(page: Page, address: str, story: Story) -> None:
    with story.world.db.write() as tx:
        health.set_breaker(tx, health.Breaker(tripped_at=time.time(), reason="12 of 40 nodes were to be taken out"))
    clicks = Clicks(page, address)
    go(page, "/health")
    alert = page.get_by_role("alert").filter(has_text="The breaker is open")
    expect(alert).to_contain_text("12 of 40 nodes")
    clicks.do("Close the breaker", "may cordon, repair and replace nodes again", clicks.ask("Close the breaker"))
    expect(alert).to_be_hidden()
    assert httpx.get(f"{address}/v1/breaker", headers=BEARER).json()["tripped_at"] is None
    assert clicks.written() == ["POST /v1/breaker/reset"]


def test_an_account_is_removed_and_one_with_nodes_is_not(page: Page, address: str) -> None:
    with LambdaEmulator(SHAPES).serving() as cloud:
        wanted = {"kind": "lambda", "options": {"url": cloud}, "secrets": {"api_key": API_KEY}}
        httpx.post(f"{address}/v1/providers", json=wanted, headers=BEARER, timeout=60).raise_for_status()
    clicks = Clicks(page, address)
    go(page, "/admin?tab=providers")
    held = page.get_by_role("row").filter(has_text="cheap")
    expect(held.get_by_role("button", name="Remove")).to_have_attribute("aria-disabled", "true")
    row = page.get_by_role("row").filter(has_text="lambda")
    clicks.do("Remove", "Its credentials are deleted", clicks.ask("Remove", within=row))
    expect(row).to_be_hidden()
    assert httpx.get(f"{address}/v1/providers/lambda", headers=BEARER).status_code == 404
    assert clicks.written() == ["DELETE /v1/providers/lambda"]


def test_a_quota_is_set_and_a_token_is_made_and_revoked(page: Page, address: str) -> None:
    clicks = Clicks(page, address)
    go(page, "/admin")
    row = page.get_by_role("row").filter(has_text="vision")
    question = clicks.ask("Set quota", within=row)
    question.get_by_label("How many").fill("48")
    clicks.do("Set quota", "It has 64 and holds", question)
    expect(row).to_contain_text("of 48")
    go(page, "/admin?tab=tokens")
    question = clicks.ask("Make a token")
    question.get_by_label("Name").fill("for-a-test")
    clicks.do("Make a token", "Whoever has it", question)
    secret = page.locator("code").filter(has_text=re.compile("^gw_")).inner_text()
    whoami = f"{address}/v1/jobs"
    assert httpx.get(whoami, headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    row = page.get_by_role("row").filter(has_text="for-a-test")
    clicks.do("Revoke", "refused within seconds", clicks.ask("Revoke", within=row))
    expect(row.locator(".state")).to_have_text("revoked")
    assert httpx.get(whoami, headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    put, made, revoked = clicks.written()
    assert (put, made) == ("PUT /v1/projects/vision", "POST /v1/tokens")
    assert revoked.startswith("DELETE /v1/tokens/")
