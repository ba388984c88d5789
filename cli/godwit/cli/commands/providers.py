"""`godwit providers`: the configured clouds, how they do, and adding one with its credentials."""

import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from godwit.cli import console, figures, output
from godwit.cli.client import ControlPlane, path_of
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire import plain_yaml
from godwit.domain.wire.providers import CallsView, ProviderIn, ProviderKindView, ProviderView, StandingView
from pydantic import JsonValue
from typer.core import TyperGroup


class OrShow(TyperGroup):
    """What is no command here is the name of a provider to show."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As the base class, with `NAME` for `show NAME`."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=OrShow, rich_markup_mode=None, add_completion=False)
COLUMNS = (
    output.Column("NAME", whole=False),
    output.Column("REACHABLE"),
    output.Column("OFFERS", right=True),
    output.Column("NODES", right=True),
    output.Column("FOREIGN", right=True),
    output.Column("CONTACT", right=True),
    output.Column("DETAIL", whole=False),
)
CALL_COLUMNS = (
    output.Column("METHOD"),
    output.Column("CALLS", right=True),
    output.Column("MEDIAN", right=True),
    output.Column("P99", right=True),
    output.Column("ERRORS", whole=False),
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
    """List the configured clouds, whether they answer, and what they said last; or show, add, check and remove one.

    FOREIGN counts instances in the account that this control plane did not launch; it leaves them alone. `godwit
    providers NAME` shows one provider, with its foreign instances and how calls to it go.
    """
    if context.invoked_subcommand is not None:
        return
    found = list(console.control_plane().pages("/v1/providers", ProviderView))
    if form is not output.Format.TABLE:
        output.show(found, form)
        return
    now = time.time()
    rows = [
        (each.name, "yes" if each.reachable else "no", str(each.offers), str(each.nodes), str(each.foreign),
         figures.ago(each.last_contact_at, now), each.detail or each.offers_trouble)
        for each in found
    ]  # fmt: skip
    output.table(COLUMNS, rows, "no providers are configured; `godwit providers add KIND` adds one")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A provider, from `godwit providers`.")],
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """Show one provider: its trouble, its foreign instances, and how calls to it go (`godwit providers NAME`)."""
    view = console.control_plane().get(path_of("/v1/providers", name), ProviderView)
    if form is not output.Format.TABLE:
        output.show(view, form)
        return
    for line in told(view, time.time()):
        print(textwrap.fill(line, output.terminal_width(), subsequent_indent="  ", break_on_hyphens=False))
    if view.calls is not None and view.calls.calls:
        print(f"\ncalls within {figures.duration(view.calls.window_s)}")
        rows = [_calls(method, calls) for method, calls in view.calls_by_method.items()]
        output.table(CALL_COLUMNS, [*rows, _calls("all", view.calls)], "none")


def told(view: ProviderView, now: float) -> list[str]:
    """A provider in words: how it stands, and what is the matter."""
    standing = "reachable" if view.reachable else "not reachable"
    lines = [
        f"{view.name}: {standing}, last contact {figures.ago(view.last_contact_at, now)}",
        f"{view.offers} offers, refreshed {figures.ago(view.offers_at, now)}; {view.nodes} nodes",
    ]
    if view.detail:
        lines.append(f"trouble: {view.detail}")
    if view.offers_trouble:
        since = "" if view.offers_trouble_since is None else f" for {figures.age(view.offers_trouble_since, now)}"
        lines.append(f"offers cannot be refreshed{since}: {view.offers_trouble}")
    if view.foreign:
        more = f" and {view.foreign - len(view.foreign_ids)} more" if view.foreign > len(view.foreign_ids) else ""
        what = "1 foreign instance" if view.foreign == 1 else f"{view.foreign} foreign instances"
        lines.append(f"{what}, left alone: {', '.join(view.foreign_ids)}{more}")
    return lines


def _calls(method: str, of: CallsView) -> tuple[str, ...]:
    errors = ", ".join(f"{name} {count}" for name, count in of.errors.items())
    return method, str(of.calls), figures.latency(of.median_s), figures.latency(of.p99_s), errors or "none"


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
            options[key] = plain_yaml.load(value)
        except plain_yaml.NotPlain as exc:
            raise Failure(f"--set {key}: the value cannot be read as YAML: {value!r}", ExitCode.USAGE) from exc
    return options


def _standing(of: StandingView) -> tuple[str, ...]:
    quotas = ", ".join(f"{quota.name} {quota.left:g}" for quota in of.quotas if quota.left is not None)
    return of.name, "yes" if of.reachable else "no", ", ".join(of.permitted), quotas, of.detail or of.account
