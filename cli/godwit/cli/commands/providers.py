"""`godwit providers`: the configured clouds, how they do, and adding one with its credentials."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
import yaml
from godwit.cli import console, figures, output
from godwit.cli.client import ControlPlane
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.views import ProviderIn, ProviderKindView, ProviderView, StandingView
from pydantic import JsonValue

app = typer.Typer(rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("NAME", whole=False),
    output.Column("REACHABLE"),
    output.Column("OFFERS", right=True),
    output.Column("NODES", right=True),
    output.Column("CONTACT", right=True),
    output.Column("DETAIL", whole=False),
)
KIND_COLUMNS = (
    output.Column("KIND"),
    output.Column("WHAT", whole=False),
    output.Column("CREDENTIALS", whole=False),
)
STANDING_COLUMNS = (
    output.Column("NAME", whole=False),
    output.Column("REACHABLE"),
    output.Column("MAY", whole=False),
    output.Column("QUOTA LEFT", whole=False),
    output.Column("DETAIL", whole=False),
)


@app.callback(invoke_without_command=True)
def providers(context: typer.Context, form: output.FormatOption = output.Format.TABLE) -> None:
    """List the configured clouds, whether they answer, and what they said last; or add, check and remove one."""
    if context.invoked_subcommand is not None:
        return
    found = list(console.control_plane().pages("/v1/providers", ProviderView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    rows = [
        (each.name, "yes" if each.reachable else "no", str(each.offers), str(each.nodes),
         figures.ago(each.last_contact_at, now), each.detail)
        for each in found
    ]  # fmt: skip
    output.table(COLUMNS, rows, "no providers are configured; `godwit providers add KIND` adds one")


@app.command("kinds")
def kinds(form: output.FormatOption = output.Format.TABLE) -> None:
    """List the kinds of clouds there are, and which credentials each needs."""
    found = list(console.control_plane().pages("/v1/provider-kinds", ProviderKindView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    rows = [(kind.kind, kind.title, ", ".join(kind.secrets) or "none") for kind in found]
    output.table(KIND_COLUMNS, rows, "there are none")


@app.command("add")
def add(
    kind: Annotated[str, typer.Argument(help="A kind, from `godwit providers kinds`.")],
    name: Annotated[str | None, typer.Option(help="What to call the account; the kind, when left out.")] = None,
    option: Annotated[list[str] | None, typer.Option("--set", help="An option, as key=value (YAML).")] = None,
    secret_file: Annotated[
        list[str] | None, typer.Option("--secret-file", help="A credential from a file, as key=path.")
    ] = None,
) -> None:
    """Add an account at a cloud. Credentials are asked for, checked with one read, and stored encrypted.

    Without a terminal they are read from standard input, one line each, in the order that `kinds` shows. One of
    several lines, such as a PEM key, comes from a file.
    """
    control_plane = console.control_plane()
    wanted = _kind(control_plane, kind)
    from_files = _files(secret_file or [])
    secrets = {key: from_files.get(key) or _ask(wanted.title, key, where) for key, where in wanted.secrets.items()}
    request = ProviderIn(kind=kind, name=name, options=_options(option or []), secrets=secrets)
    view = control_plane.post("/v1/providers", request, ProviderView)
    output.note(f"{view.name} is added; `godwit offers --infra {view.name}` shows what it sells in a moment")


@app.command("check")
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Accounts; all, when left out.")] = None,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Ask each cloud how the account stands: reachable, permitted to do what, quota left. Exits 1 if any fails."""
    control_plane = console.control_plane()
    chosen = names or [each.name for each in control_plane.pages("/v1/providers", ProviderView)]
    found = [control_plane.post(f"/v1/providers/{name}/check", None, StandingView) for name in chosen]
    if form is not output.Format.TABLE:
        output.show(found, form)
    else:
        output.table(STANDING_COLUMNS, [_standing(each) for each in found], "no providers are configured")
    if not all(each.reachable for each in found):
        raise typer.Exit(int(ExitCode.FAILED))


@app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="An account that was added.")]) -> None:
    """Forget an account and its credentials; refused while it holds nodes."""
    console.control_plane().delete(f"/v1/providers/{name}")
    output.note(f"{name} is forgotten")


def _kind(control_plane: ControlPlane, kind: str) -> ProviderKindView:
    found = {each.kind: each for each in control_plane.pages("/v1/provider-kinds", ProviderKindView)}
    if kind not in found:
        raise Failure(f"no provider kind is called {kind!r} (kinds: {', '.join(sorted(found))})", ExitCode.USAGE)
    return found[kind]


def _ask(title: str, key: str, where: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    value: str = typer.prompt(f"{title}: {key} ({where})", hide_input=True, err=True)
    return value.strip()


def _files(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, _, path = pair.partition("=")
        try:
            found[key] = Path(path).expanduser().read_text()
        except OSError as exc:
            raise Failure(f"--secret-file {key}: {path!r} cannot be read: {exc.strerror}", ExitCode.USAGE) from exc
    return found


def _options(pairs: list[str]) -> dict[str, JsonValue]:
    options: dict[str, JsonValue] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key:
            raise Failure(f"--set takes key=value, not {pair!r}", ExitCode.USAGE)
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as exc:
            raise Failure(f"--set {key}: the value cannot be read as YAML: {value!r}", ExitCode.USAGE) from exc
    return options


def _standing(of: StandingView) -> tuple[str, ...]:
    quotas = ", ".join(f"{quota.name} {quota.left:g}" for quota in of.quotas if quota.left is not None)
    return of.name, "yes" if of.reachable else "no", ", ".join(of.permitted), quotas, of.detail or of.account
