"""The adapter to machines of one's own. Each is a node as a whole, one at a time."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import asyncssh
from godwit.domain import errors
from godwit.domain.errors import InvalidRequest, Problem
from godwit.domain.ids import InstanceId, ProviderName
from godwit.domain.offers import Instance, InstanceState, Offer
from godwit.providers.kinds import Setup
from godwit.providers.protocol import Capabilities, LaunchRequest, Quota, Standing, StartupHook
from godwit.providers.ssh_hosts import hosts, programs
from godwit.providers.ssh_hosts.host_keys import HostKeys
from godwit.providers.ssh_hosts.hosts import Host
from godwit.providers.ssh_hosts.memory import Memory
from godwit.providers.ssh_hosts.programs import Facts, Machine, Shape
from godwit.providers.ssh_hosts.shells import Shells

SHAPE_S = 300.0
"""How long what a host has is believed: GPUs are not swapped by the minute, and drivers take seconds to ask."""

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Tokens become names of files on the hosts."""

Look = list[Machine] | errors.ProviderError
"""What one host told of its machines, or why it did not."""


class SshHostsProvider:
    """A `Provider` over a pool. The hosts' lock folders are the truth; the home keeps what was last known of them.

    Safe to call from several threads; several control planes may share hosts, each host has one machine at a time.
    """

    def __init__(self, setup: Setup) -> None:
        self._name = ProviderName(setup.name)
        self._clock, self._rng = setup.clock, setup.rng
        self._hosts = hosts.parse(setup.options.get("hosts"))
        self._python = str(setup.options.get("python", ""))
        folder = setup.home / "ssh_hosts" / setup.name
        pinned = setup.options.get("known_hosts")
        host_keys = HostKeys(setup.name, folder / "known_hosts", None if pinned is None else Path(str(pinned)))
        key = _key(setup.secrets.get("private_key", ""))
        via = hosts.jump(setup.options.get("via"))
        self._shells = Shells(setup.name, key, host_keys, setup.seconds("timeout_s", 15.0), setup.clock, via)
        self._memory = Memory(folder / "machines.json")
        self._shapes: dict[Host, tuple[float, Shape]] = {}

    def __repr__(self) -> str:
        return f"SshHostsProvider({self._name!r})"

    @property
    def name(self) -> ProviderName:
        """The name under which it is configured."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """No spot; disks outlive their machines, since the hosts stay. The script's limit is ours."""
        return Capabilities(volumes=True, client_token=True, startup=StartupHook.SSH, startup_limit_bytes=65_536)

    def close(self) -> None:
        """Close its connections."""
        self._shells.close()

    def check(self) -> Standing:
        """Look at every host, also at silent ones; tells which are away and why. Raises when none answers."""
        looks = self._look(also_silent=True)
        self._demand_one(looks)
        away = [error.message for error in looks.values() if isinstance(error, errors.ProviderError)]
        account = "; ".join([f"{len(looks) - len(away)} of {len(looks)} hosts answer", *away])
        free = sum(_is_free(look) for look in looks.values())
        return Standing(account, ("read",), (Quota("hosts", float(len(looks)), float(free)),))

    def offers(self) -> Sequence[Offer]:
        """One offer per host that is free and answers."""
        looks = self._look()
        self._demand_one(looks)
        free = [host for host, look in looks.items() if _is_free(look)]
        shapes = self._shapes_of(free)
        return [self._offer(host, shapes[host]) for host in free if host in shapes and not shapes[host].trouble]

    def launch(self, request: LaunchRequest) -> Instance:
        """Make a host a node. The same token answers the same machine."""
        host = self._checked(request)
        facts = Facts(
            _id(host, request.token), request.token, request.owner, request.offer.instance_type,
            host.price_usd_per_hour, self._clock.now(),
        )  # fmt: skip
        mark = f"ssh-{self._rng.getrandbits(64):016x}"
        program = programs.call(
            "launch", request.token, mark, programs.written(facts), self._python, request.startup_script
        )
        known = self._memory.of(request.token)
        self._memory.sending(host.name, known or facts)
        try:
            machine = self._launched(host, program)
        except errors.UnknownOutcome:
            raise  # it stays written down, until the host was looked at
        except errors.ProviderError:
            if known is None:
                self._memory.refused(facts)
            raise
        if machine.facts.instance_type != request.offer.instance_type:
            raise self._used(request.token)
        return self._instance(host, machine)

    def instances(self) -> Sequence[Instance]:
        """Every machine of every host, in the order of launch; those of a host that is away as they were last known.

        A machine on a host that is away is `UNKNOWN`: it may well run.
        """
        looks = self._look()
        self._demand_one(looks)
        found: dict[str, Instance] = {}  # a host with two addresses in the pool has its machine once
        for host, look in looks.items():
            for machine in look if not isinstance(look, errors.ProviderError) else self._remembered(host):
                instance = self._instance(host, machine)
                if instance.state is not InstanceState.UNKNOWN or instance.id not in found:
                    found[instance.id] = instance
        return sorted(found.values(), key=lambda instance: instance.created_at)

    def terminate(self, instance_id: InstanceId) -> None:
        """Ask the host to end a machine and free itself. A machine of a host that left the pool is unknown here."""
        name, _, token = instance_id.rpartition("/")
        host = self._named(name)
        if host is None or not _TOKEN.fullmatch(token):
            return
        lines = self._lines(host, self._shells.run(host, programs.call("terminate", token)))
        self._demand_done(host, lines)

    def _checked(self, request: LaunchRequest) -> Host:
        """The host of a launch. Raises `RequestRejected` for what it cannot be."""
        if len(request.startup_script.encode()) > self.capabilities.startup_limit_bytes:
            raise errors.RequestRejected(f"{self._name}: the startup script exceeds its limit")
        if not _TOKEN.fullmatch(request.token):
            raise errors.RequestRejected(f"{self._name}: a token is letters, digits, dots and hyphens")
        host = self._named(request.offer.region)
        if host is None:
            raise errors.RequestRejected(f"{self._name}: there is no host {request.offer.region} in the pool")
        known = self._memory.of(request.token)
        if known is not None and known.id != _id(host, request.token):
            raise self._used(request.token)
        # One that was not asked since we started is taken for what we offered; its agent tells what it has.
        _, shape = self._shapes.get(host, (0.0, None))
        if shape is not None and shape.instance_type != request.offer.instance_type:
            what = f"{self._name}: {host.name} is {shape.instance_type}, not {request.offer.instance_type}"
            raise errors.RequestRejected(what)
        return host

    def _launched(self, host: Host, program: str) -> Machine:
        text = self._shells.run(host, program, launching=True)
        try:
            lines = programs.answers(text)
            machines = programs.machines(lines)
        except programs.Unreadable as exc:
            raise errors.UnknownOutcome(f"{self._name}: {host.name} gave {exc}") from exc
        self._demand_done(host, lines)
        if ("taken", "") in lines:
            raise errors.NoCapacity(f"{self._name}: {host.name} already is a node")
        if not machines:
            raise errors.UnknownOutcome(f"{self._name}: {host.name} did not say what became of a launch")
        return machines[0]

    def _look(self, *, also_silent: bool = False) -> Mapping[Host, Look]:
        number = self._memory.look()
        answers = self._shells.run_everywhere(self._hosts, programs.call("look"), also_silent=also_silent)
        return {host: self._seen(host, answer, number) for host, answer in answers.items()}

    def _seen(self, host: Host, answer: str | errors.ProviderError, number: int) -> Look:
        if isinstance(answer, errors.ProviderError):
            return answer
        try:
            machines = programs.machines(self._lines(host, answer))
        except errors.ProviderUnavailable as unreadable:
            return unreadable
        self._memory.seen(host.name, [machine.facts for machine in machines], number)
        return machines

    def _remembered(self, host: Host) -> Iterable[Machine]:
        return [Machine(facts, "") for facts in self._memory.on(host.name)]

    def _shapes_of(self, wanted: Sequence[Host]) -> Mapping[Host, Shape]:
        now = self._clock.now()
        stale = [host for host in wanted if host not in self._shapes or now - self._shapes[host][0] > SHAPE_S]
        answers = self._shells.run_everywhere(stale, programs.call("probe")) if stale else {}
        for host, answer in answers.items():
            self._shapes.pop(host, None)  # what it had may not be there any more
            if isinstance(answer, errors.ProviderError):
                continue  # not offered; `check` tells what is the matter with it
            with suppress(programs.Unreadable):
                self._shapes[host] = (now, programs.shape(programs.answers(answer)))
        return {host: self._shapes[host][1] for host in wanted if host in self._shapes}

    def _lines(self, host: Host, text: str) -> list[tuple[str, str]]:
        try:
            lines = programs.answers(text)
            programs.machines(lines)
        except programs.Unreadable as exc:
            raise errors.ProviderUnavailable(f"{self._name}: {host.name} gave {exc}") from exc
        return lines

    def _demand_done(self, host: Host, lines: list[tuple[str, str]]) -> None:
        for word, rest in lines:
            if word == "broken":
                raise errors.ProviderUnavailable(f"{self._name}: {host.name}: {rest}")

    def _demand_one(self, looks: Mapping[Host, Look]) -> None:
        """Raises when no host answered: then it is us, the network or the key, and the list would say nothing."""
        failures = [look for look in looks.values() if isinstance(look, errors.ProviderError)]
        if len(failures) < len(looks):
            return
        refused = all(isinstance(failure, errors.CredentialsRejected) for failure in failures)
        raise next((f for f in failures if refused or not isinstance(f, errors.CredentialsRejected)), failures[0])

    def _named(self, name: str) -> Host | None:
        return next((host for host in self._hosts if host.name == name), None)

    def _used(self, token: str) -> errors.RequestRejected:
        return errors.RequestRejected(f"{self._name}: {token} was used to launch something else")

    def _offer(self, host: Host, shape: Shape) -> Offer:
        return Offer(
            self._name, host.name, None, shape.instance_type, shape.gpu_model, shape.gpu_count, shape.gpu_memory_gib,
            shape.cpus, shape.memory_gib, host.price_usd_per_hour, capacity=1, seen_at=self._clock.now(),
        )  # fmt: skip

    def _instance(self, host: Host, machine: Machine) -> Instance:
        facts = machine.facts
        return Instance(
            InstanceId(facts.id), self._name, machine.state, host.name, None, facts.instance_type, facts.token,
            facts.owner, False, facts.price_usd_per_hour, facts.created_at, machine.word or "host away",
        )  # fmt: skip


def _id(host: Host, token: str) -> str:
    return f"{host.name}/{token}"


def _is_free(look: Look) -> bool:
    return not isinstance(look, errors.ProviderError) and all(machine.word in programs.OVER for machine in look)


def _key(text: str) -> asyncssh.SSHKey:
    """The private key, as its file has it or in one line of base64, as a prompt takes it."""
    try:
        whole = text if "-----BEGIN" in text else base64.b64decode(text, validate=True).decode()
        return asyncssh.import_private_key(whole.strip() + "\n")
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        what = "private_key is no private key without a passphrase: make one with ssh-keygen -N ''; base64 -w0 its file"
        # Without its cause, which may quote the key.
        raise InvalidRequest(problems=[Problem(("private_key",), what)]) from None
