"""`godwit dashboard`: open the dashboard in a browser, as whoever asks."""

import webbrowser
from typing import Annotated

import typer
from godwit.cli import console, output
from godwit.domain.wire.access import CodeView

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def dashboard(
    opens: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser here, or only print.")] = True,
) -> None:
    """Print an address that opens the dashboard once, within two minutes, and open it in a browser.

    The browser's session may do what your token may, and lasts twelve hours.
    """
    plane = console.control_plane()
    code = plane.post("/v1/sessions/codes", None, CodeView)
    url = f"{plane.url}{code.path}"
    print(url)
    # Without a browser here (over SSH, in a container) the address is taken to one by hand.
    if opens and output.is_terminal() and not webbrowser.open(url):
        output.note("no browser could be opened here; open the address above in one within two minutes")
