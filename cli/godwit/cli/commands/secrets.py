"""`godwit secrets`: what jobs may know and nobody reads back."""

import getpass
import re
import sys
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from godwit.cli import console, figures, output
from godwit.cli.client import ControlPlane, path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.cli.wording import NAME_SHAPE, near_name
from godwit.domain.wire.secrets import VALUE_BYTES_MAX, SecretIn, SecretView, VersionView
from godwit.domain.wire.specs import NAME_PATTERN

app = typer.Typer(rich_markup_mode=None, add_completion=False)
NameArgument = Annotated[str, typer.Argument(help="A secret's name.")]
ProjectOption = Annotated[str, typer.Option(help="Whose secret it is.")]
_LOOPBACK = ("127.", "localhost", "[::1]")
COLUMNS = (
    output.Column("NAME", whole=False),
    output.Column("VERSION", right=True),
    output.Column("VERSIONS", right=True),
    output.Column("SET", right=True),
    output.Column("BY", whole=False),
)
OF_ONE = (
    output.Column("VERSION", right=True),
    output.Column("SET", right=True),
    output.Column("BY", whole=False),
    output.Column("GIVEN TO", whole=False),
)


@app.callback(invoke_without_command=True)
def secrets(
    context: typer.Context, project: ProjectOption = "default", form: output.FormatOption = output.Format.TABLE
) -> None:
    """List the secrets of a project; or set, look at and delete one. No command shows a value."""
    if context.invoked_subcommand is None:
        _list(project, form)


@app.command("list")
def list_all(project: ProjectOption = "default", form: output.FormatOption = output.Format.TABLE) -> None:
    """List the secrets of a project, without their values."""
    _list(project, form)


@app.command("set")
def set_value(
    name: NameArgument,
    project: ProjectOption = "default",
    file: Annotated[Path | None, typer.Option(help="Read the value from this file.")] = None,
) -> None:
    """Set a secret: a new version of it, which attempts that start from now on find.

    The value comes from --file, from standard input, or from a prompt, without the line end after it: never from the
    command line, which every process of this machine may read.
    """
    _refuse_no_name(name)
    control_plane = console.control_plane()
    _refuse_plain_http(control_plane)
    wanted = SecretIn(value=_value(name, file))
    made = control_plane.post(path_of(_all_of(project), name, "versions"), wanted, SecretView)
    output.note(f"{name} is at version {made.version}; `secrets: {{VARIABLE: {name}}}` gives it to a job")


@app.command("versions")
def versions(
    name: NameArgument, project: ProjectOption = "default", form: output.FormatOption = output.Format.TABLE
) -> None:
    """List the versions of a secret, and which attempts have them now."""
    found = list(console.control_plane().pages(path_of(_all_of(project), name, "versions"), VersionView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    rows = [
        (str(one.version), figures.ago(one.created_at, time.time()), one.created_by, ", ".join(one.attempts) or "-")
        for one in found
    ]
    output.table(OF_ONE, rows, "no versions")


@app.command("delete")
def delete(
    name: NameArgument,
    project: ProjectOption = "default",
    version: Annotated[int | None, typer.Option(min=1, help="Only this version.")] = None,
) -> None:
    """Destroy the value of a secret. What runs with it runs on; jobs that need it wait, and say so."""
    rest = () if version is None else ("versions", str(version))
    console.control_plane().delete(path_of(_all_of(project), name, *rest))
    output.note(f"{name if version is None else f'{name}@{version}'} is deleted; end it where it was issued, too")


def _list(project: str, form: output.Format) -> None:
    found = list(console.control_plane().pages(_all_of(project), SecretView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    rows = [
        (one.name, str(one.version), str(one.versions), figures.ago(one.created_at, time.time()), one.created_by)
        for one in found
    ]
    output.table(COLUMNS, rows, "no secrets; set one with `godwit secrets set NAME`")


def _all_of(project: str) -> str:
    return path_of("/v1/projects", project, "secrets")


def _value(name: str, file: Path | None) -> str:
    try:
        if file is not None:
            raw = file.read_bytes()[: VALUE_BYTES_MAX + 2]
        elif sys.stdin.isatty():
            return getpass.getpass(f"value of {name}: ")
        else:
            raw = sys.stdin.buffer.read(VALUE_BYTES_MAX + 2)
        text = raw.decode()
    except OSError as exc:
        raise Failure(f"{file} cannot be read: {exc.strerror}", ExitCode.USAGE) from exc
    except UnicodeDecodeError as exc:
        raise Failure("a secret is text; encode it in base64", ExitCode.USAGE) from exc
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(text.encode()) > VALUE_BYTES_MAX:
        raise Failure(f"a secret has 1 to {VALUE_BYTES_MAX} bytes", ExitCode.USAGE)
    return text


def _refuse_no_name(name: str) -> None:
    if re.fullmatch(NAME_PATTERN, name):
        return
    near = near_name(name)
    meant = f"; did you mean {near}?" if near else ""
    raise Failure(f"a secret cannot be named {name!r} ({NAME_SHAPE}){meant}", ExitCode.USAGE)


def _refuse_plain_http(control_plane: ControlPlane) -> None:
    parts = urlsplit(control_plane.url)
    if parts.scheme == "http" and not parts.netloc.rpartition("@")[2].startswith(_LOOPBACK):
        raise Failure(
            f"{control_plane.url} is plain HTTP, in which the secret would pass in the clear; "
            "set GODWIT_URL to an https:// address, or go through `ssh -L`",
            ExitCode.USAGE,
        )
