"""The dashboard's map of 5,000 nodes with 40,000 GPUs in a real browser: until it is drawn, and while somebody pans."""

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import uvicorn
from fastapi import FastAPI
from godwit.control_plane import keyring
from playwright.sync_api import Page, sync_playwright

from benchmarks.figures import Figure, at_least, at_most
from benchmarks.fleet_page import app_over, seeded_context

GOAL_S, GOAL_FPS = 2.0, 30.0
LOADS, FRAMES = 5, 90
PATIENCE_MS = 60_000.0

DRAWN = "canvas.map[data-drawn]"
DRAWN_AT = "performance.getEntriesByName('fleet drawn')[0].startTime"
PAN = """async frames => {
  const map = document.querySelector('canvas.map'), box = map.getBoundingClientRect()
  const event = (type, x, y) => new PointerEvent(type, {pointerId: 1, bubbles: true, clientX: x, clientY: y})
  const at = (type, x, y) => map.dispatchEvent(event(type, x, y))
  map.setPointerCapture = () => {}
  const frame = () => new Promise(requestAnimationFrame)
  at('pointerdown', box.x + 400, box.y + 200)
  await frame()
  const began = performance.now()
  for (let i = 0; i < frames; i++) {
    at('pointermove', box.x + 400 + 200 * Math.sin(i / 15), box.y + 200 + 80 * Math.cos(i / 15))
    await frame()
  }
  const took = performance.now() - began
  at('pointerup', box.x + 400, box.y + 200)
  return 1000 * frames / took
}"""
"""Moves the map at each frame that the browser gives, as a hand would; answers frames per second."""


def measure() -> Iterator[Figure]:
    """Loads with an empty cache of answers, then pans over the whole fleet and close to it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("there is no chromium here; on Debian: apt-get install chromium")
    token = keyring.new_token()
    with seeded_context() as context, _served(app_over(context, token)) as url, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(base_url=url, viewport={"width": 1440, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        _log_in(page, token)
        loads = [_load(page) for _ in range(LOADS)]
        whole = float(page.evaluate(PAN, FRAMES))
        for _ in range(6):
            page.get_by_role("button", name="Zoom in").click()
        page.wait_for_timeout(500)
        close = float(page.evaluate(PAN, FRAMES))
        browser.close()
    yield Figure(
        "dashboard: fleet drawn", median(loads), "s", at_most(GOAL_S), "40,000 GPUs, from the address to the map"
    )
    yield Figure("dashboard: panning over all of it", whole, "frames/s", at_least(GOAL_FPS), "no GPU draws here")
    yield Figure("dashboard: panning, six steps closer", close, "frames/s", at_least(GOAL_FPS))


def _log_in(page: Page, token: str) -> None:
    page.goto("/ui/fleet")
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Log in").click()
    page.locator(DRAWN).wait_for()


def _load(page: Page) -> float:
    """Seconds from the address to the map, by the page's own clock."""
    page.goto("/ui/fleet")
    page.locator(DRAWN).wait_for()
    return float(page.evaluate(DRAWN_AT)) / 1000


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    """The application behind a real server."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)
