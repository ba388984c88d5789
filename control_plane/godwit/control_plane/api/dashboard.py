"""The dashboard's files, as `make dashboard` built them: under /ui/, to anybody; what they show needs a session.

Any other path under /ui/ is a page of the application and gets its index, so that links into it work.
"""

from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "dashboard" / "static"

PATHS_MAX = 1_024

PROTECTED: Mapping[str, str] = {
    # Charts and the component library set styles on elements; scripts come from our own files only.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>godwit</title>
<h1>The dashboard is not built here</h1>
<p>This control plane runs from a source checkout. Run <code>make dashboard</code> there once, and load this page again.
Packages of godwit bring it along.</p></html>"""


@router.get("/")
async def root() -> Response:
    """To the dashboard."""
    return RedirectResponse("/ui/", status_code=307, headers=dict(PROTECTED))


@router.get("/ui")
@router.get("/ui/{path:path}")
async def page(path: str = "") -> Response:
    """A file of the dashboard, or its index. What is named by its own hash may be kept for ever, the rest not."""
    found = _file(path)
    if found is not None and path.startswith("assets/"):
        return FileResponse(found, headers={**PROTECTED, "Cache-Control": "public, max-age=31536000, immutable"})
    if path.startswith("assets/"):  # of a build before: an index in its place would be taken for a script
        return Response("no such file\n", 404, dict(PROTECTED), media_type="text/plain")
    index = FOLDER / "index.html"
    headers = {**PROTECTED, "Cache-Control": "no-cache"}
    if found is None and not index.is_file():
        return HTMLResponse(_NOT_BUILT, 503, headers=headers)
    return FileResponse(found or index, headers=headers)


def _file(path: str) -> Path | None:
    """The file that is meant, if it lies in the folder."""
    if not path or len(path) > PATHS_MAX or "\0" in path:
        return None
    named = (FOLDER / path).resolve()
    return named if named.is_relative_to(FOLDER.resolve()) and named.is_file() else None
