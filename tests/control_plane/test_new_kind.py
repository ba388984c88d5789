"""A new kind of provider is one package and one line of the registry: nothing else has to know its name."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from godwit.cli import console
from godwit.cli.commands import providers as command
from godwit.control_plane import settings
from godwit.control_plane.roster import Roster
from godwit.control_plane.services import nodes
from godwit.control_plane.services.providers import Accounts
from godwit.control_plane.vault import Vault, new_key
from godwit.domain.errors import InvalidRequest
from godwit.domain.ids import ProviderName
from godwit.domain.nodes import NodeState
from godwit.domain.wire.providers import ProviderIn
from godwit.providers import registry
from godwit.providers.layers import CallMetrics
from godwit.providers.protocol import LaunchRequest

from tests.cli.scripted import ScriptedControlPlane
from tests.control_plane.apis import client_of
from tests.control_plane.world import World

ROOT = Path(__file__).parents[2]
SECRET = "moon-key-4711"
NAME = ProviderName("moon")

PACKAGE = '''"""Moonbase: a cloud that nobody has heard of."""

from godwit.providers.kinds import Kind, Rates

KIND = Kind(
    "Moonbase",
    "moonbase.provider:MoonbaseProvider",
    options={"rooms": "how many machines it has"},
    secrets={"key": "under the doormat"},
    rates=Rates(calls_per_s=1000.0),
)
'''

ADAPTER = '''"""The adapter: everything that the rest of godwit is told of this cloud."""

from dataclasses import replace

from godwit.domain.errors import CredentialsRejected, NoCapacity
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers.protocol import Capabilities, Standing


class MoonbaseProvider:
    def __init__(self, setup):
        self.name, self.capabilities = ProviderName(setup.name), Capabilities()
        self._clock, self._key = setup.clock, setup.secrets["key"]
        self._rooms, self._rented = int(setup.options.get("rooms", 1)), {}

    def check(self):
        if self._key != "moon-key-4711":
            raise CredentialsRejected(f"{self.name}: this key fits no door")
        return Standing("the lander", ("read", "launch"))

    def offers(self):
        left = self._rooms - len(self._rented)
        return [
            Offer(
                self.name, "tranquility", None, "h100.8x", "H100-SXM", 8, 80.0, 208, 1800.0, 2.0, capacity=left,
                seen_at=self._clock.now(),
            )
        ]

    def launch(self, request):
        if len(self._rented) >= self._rooms:
            raise NoCapacity(f"{self.name} is full")
        rented = Instance(
            InstanceId(f"crater-{len(self._rented) + 1}"), self.name, InstanceState.PROVISIONING,
            request.offer.region, None, request.offer.instance_type, request.token, request.owner, False,
            request.offer.price_usd_per_hour, self._clock.now(), "LANDING",
        )
        self._rented[rented.id] = rented
        return rented

    def instances(self):
        return [replace(rented, state=InstanceState.RUNNING) for rented in self._rented.values()]

    def terminate(self, instance_id):
        self._rented.pop(instance_id, None)
'''


@pytest.fixture
def moonbase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package outside the tree, and its one line in the registry."""
    folder = tmp_path / "elsewhere" / "moonbase"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(PACKAGE)
    (folder / "provider.py").write_text(ADAPTER)
    monkeypatch.syspath_prepend(str(folder.parent))
    package = importlib.import_module("moonbase")
    monkeypatch.setattr(registry, "KINDS", {**registry.KINDS, "moonbase": package.KIND})
    yield package
    for name in ("moonbase.provider", "moonbase"):
        sys.modules.pop(name, None)


def added(world: World, metrics: CallMetrics | None = None, **options: int) -> Accounts:
    """The accounts of the world after somebody added one at the new cloud, which its loops then know."""
    roster = Roster(world.providers)
    accounts = Accounts(world.context, roster, Vault(new_key()), Path("/nowhere"), metrics or CallMetrics())
    accounts.add(ProviderIn(kind="moonbase", name=NAME, options=dict(options), secrets={"key": SECRET}))
    world.providers[NAME] = roster[NAME]
    world.watch_instead(roster[NAME])
    return accounts


@pytest.mark.usefixtures("moonbase")
def test_its_entry_in_the_configuration_is_checked_like_any_other(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text("providers:\n- {kind: moonbase, name: moon, rooms: 2}\n")
    entries = settings.read(home).providers
    with pytest.raises(InvalidRequest, match="godwit providers add moonbase"):
        registry.build(entries, home)
    built = registry.build(entries, home, secrets=lambda _name: {"key": SECRET})
    assert built[NAME].offers()[0].capacity == 2
    for wrong, meant in (({"kind": "moonbas"}, "moonbase"), ({"kind": "moonbase", "name": "moon", "room": 1}, "rooms")):
        with pytest.raises(InvalidRequest) as caught:
            registry.build([wrong], home)
        assert caught.value.problems[0].did_you_mean == meant


@pytest.mark.usefixtures("moonbase")
def test_people_are_told_of_it_with_what_it_wants_to_know(
    embedded: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = client_of(embedded).get("/v1/provider-kinds").json()
    (kind,) = [item for item in answer["items"] if item["kind"] == "moonbase"]
    assert (kind["title"], kind["secrets"]) == ("Moonbase", {"key": "under the doormat"})
    scripted = ScriptedControlPlane()
    scripted.on("GET", "/v1/provider-kinds", answer)
    monkeypatch.setattr(console, "control_plane", scripted.client)
    command.kinds()
    assert re.search(r"^moonbase +Moonbase +key$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.usefixtures("moonbase")
def test_its_credentials_are_checked_before_it_is_added(embedded: World) -> None:
    accounts = Accounts(embedded.context, Roster({}), Vault(new_key()), Path("/nowhere"), CallMetrics())
    with pytest.raises(InvalidRequest, match="fits no door"):
        accounts.add(ProviderIn(kind="moonbase", secrets={"key": "found on Mars"}))
    assert accounts.add(ProviderIn(kind="moonbase", secrets={"key": SECRET})).name == "moonbase"


@pytest.mark.usefixtures("moonbase")
def test_a_job_runs_there_because_it_is_cheapest_and_gives_its_machine_back(world: World) -> None:
    metrics = CallMetrics()
    accounts = added(world, metrics, rooms=1)
    assert accounts.check(NAME).account == "the lander"
    world.read_offers()
    (offer,) = world.providers_offers(NAME)
    assert (offer.price_usd_per_hour, offer.capacity) == (2.0, 1)
    _, (agent,) = world.run()
    assert (world.node(agent.node_id).offer.provider, world.node(agent.node_id).instance_id) == (NAME, "crater-1")
    shown = accounts.show(NAME, {})
    assert (shown.offers, shown.nodes) == (1, 1)
    assert shown.calls_by_method["launch"].calls == 1
    world.cancel("digits")
    agent.take_on()
    nodes.terminate(world.context, agent.node_id, "ops")
    world.execute()
    for _ in range(12):
        world.clock.advance(1)
        world.watch()
    assert world.node(agent.node_id).state is NodeState.TERMINATED
    assert world.providers[NAME].instances() == []


@pytest.mark.usefixtures("moonbase")
def test_when_it_is_full_the_next_offer_is_taken_and_what_others_rent_there_is_reported(world: World) -> None:
    added(world, rooms=1)
    world.read_offers()
    moon = world.providers[NAME]
    moon.launch(LaunchRequest(moon.offers()[0], "t1", "another-control-plane", "#!/bin/sh\n"))
    world.submit()
    world.plan()
    assert {node.offer.provider for node in world.nodes()} == {NAME}
    world.execute()
    world.plan()
    assert {node.offer.provider for node in world.nodes()} == {"cheap"}
    world.watch()
    assert world.watches[NAME].foreign.ids == ("crater-1",)
    assert len(moon.instances()) == 1


def imported_by(path: Path) -> set[str]:
    """Every module or package that a source imports by its full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_the_registry_imports_the_packages_of_clouds() -> None:
    clouds = {kind.adapter.split(".")[2] for kind in registry.KINDS.values()} - {"simulated", "local"}
    assert len(clouds) > 8
    knowing = {
        str(path.relative_to(ROOT))
        for folder in ("domain", "scheduler", "providers", "control_plane", "agents", "sdk", "cli")
        for path in (ROOT / folder).rglob("*.py")
        if not clouds & set(path.parts)
        and any(f"{name}.".startswith(f"godwit.providers.{cloud}.") for name in imported_by(path) for cloud in clouds)
    }
    assert knowing == {"providers/godwit/providers/registry.py"}, "ask for a capability or an option, never for a cloud"
