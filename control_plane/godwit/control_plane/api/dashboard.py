"""The dashboard's files, as `make dashboard` built them: under /ui/, to anybody; what they show needs a session.

Any other path under /ui/ is a page of the application and gets its index, so that links into it work.
"""

from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from godwit.control_plane.api.state import Godwit, State

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "dashboard" / "static"

PATHS_MAX = 1_024

PROTECTED: Mapping[str, str] = {
    # What it needs and no more: charts and the component library set styles on elements, and the icon is in the page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",  # the same, for browsers that do not know the last of these
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

OVER_TLS: Mapping[str, str] = {**PROTECTED, "Strict-Transport-Security": "max-age=31536000"}
"""A browser that came over TLS once comes back over TLS for a year. Subdomains are somebody else's business."""

_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>godwit</title>
<h1>The dashboard is not built here</h1>
<p>This control plane runs from a source checkout. Run <code>make dashboard</code> there once, and load this page again.
Packages of godwit bring it along.</p></html>"""


def protected(state: State, request: Request) -> Mapping[str, str]:
    """Headers of everything here: people reach this control plane over TLS where its own address says so."""
    return OVER_TLS if request.url.scheme == "https" or state.context.url.startswith("https://") else PROTECTED


@router.get("/")
async def root(state: Godwit, request: Request) -> Response:
    """To the dashboard."""
    return RedirectResponse("/ui/", status_code=307, headers=dict(protected(state, request)))


@router.get("/ui")
@router.get("/ui/{path:path}")
async def page(state: Godwit, request: Request, path: str = "") -> Response:
    """A file of the dashboard, or its index. What is named by its own hash may be kept for ever, the rest not."""
    found, always = _file(path), protected(state, request)
    if found is not None and path.startswith("assets/"):
        return FileResponse(found, headers={**always, "Cache-Control": "public, max-age=31536000, immutable"})
    if path.startswith("assets/"):  # of a build before: an index in its place would be taken for a script
        return Response("no such file\n", 404, dict(always), media_type="text/plain")
    index = FOLDER / "index.html"
    headers = {**always, "Cache-Control": "no-cache"}
    if found is None and not index.is_file():
        return HTMLResponse(_NOT_BUILT, 503, headers=headers)
    return FileResponse(found or index, headers=headers)


def _file(path: str) -> Path | None:
    """The file that is meant, if it lies in the folder."""
    if not path or len(path) > PATHS_MAX or "\0" in path:
        return None
    named = (FOLDER / path).resolve()
    return named if named.is_relative_to(FOLDER.resolve()) and named.is_file() else None
