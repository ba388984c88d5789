"""The agent: joins, then keeps a heartbeat and a command loop going until it is sent away."""

import fcntl
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from importlib.metadata import version

import structlog
from godwit.agents import core, joining, machine, pauses, settings, tracing
from godwit.agents.accelerators import faults
from godwit.agents.caring import Caring
from godwit.agents.checkpoints.arrears import Arrears
from godwit.agents.checkpoints.copying import Copying
from godwit.agents.checks.active.running import ActiveChecks
from godwit.agents.checks.monitor import Monitor
from godwit.agents.confinement import keeper
from godwit.agents.core import Core
from godwit.agents.dev.relaying import Terminals
from godwit.agents.effects import HealthEvent, Noticed
from godwit.agents.link import Dismissed, Forgotten, Link, Unreachable
from godwit.agents.metrics import loads
from godwit.agents.node import Node
from godwit.agents.notices import watch
from godwit.agents.notices.sigterm import Sigterm
from godwit.agents.renewing import Renewal
from godwit.agents.runtime.guard import boottime_s
from godwit.agents.runtime.process import probe
from godwit.agents.runtime.ray_cluster import NodeFacts
from godwit.agents.runtime.standby_keeper import StandbyKeeper
from godwit.agents.settings import Settings
from godwit.domain.errors import GodwitError, InvalidRequest
from godwit.domain.wire.agents import CommandsRequest

log = structlog.get_logger()

COMMANDS_WAIT_S = 20.0
"""How long a poll for commands may hang; below the usual idle limits of proxies (30 to 60 s)."""

REPEATED_PAUSE_S = 0.25
"""Pause after a poll that brought nothing new: a start that waits for an older attempt to leave is repeated."""

GOING_S = 30.0
"""How long a dismissed agent waits for its attempts' processes to be gone."""


def main() -> int:
    """Run the agent; returns the exit code: 0 means told to go for good, anything else asks to be started again."""
    try:
        chosen = settings.from_env(os.environ)
    except InvalidRequest as exc:
        print(f"godwit agent: {exc.message}", file=sys.stderr)  # noqa: T201 - nothing is set up to log yet
        return 2
    chosen.node_dir.mkdir(parents=True, exist_ok=True)
    chosen.node_dir.chmod(0o700)  # the journal and the credential name tokens
    with (chosen.node_dir / "agent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.error("another agent runs for this node; leaving it alone", node_dir=str(chosen.node_dir))
            return 3
        return Agent(chosen).run()


class Agent:
    """Everything of one agent process."""

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._link = Link(chosen.url)
        self._gone = threading.Event()
        self._leased = threading.Event()
        self._sigterm = Sigterm(chosen.notice_s)
        self._heartbeat_s, self._lease_s = 1.0, 15.0
        self._rng = random.Random()  # noqa: S311 - spreads a fleet's calls
        self._is_forgotten = False
        self._on_answer: Callable[[bool], None] = lambda _answered: None
        self._abilities = probe.probe(os.environ, simulated=chosen.simulated)
        self._keeper = keeper.look(chosen.confine, chosen.node_dir, chosen.python, len(machine.joined_gpus(chosen)))

    def run(self) -> int:
        """Join, resume, and serve until dismissed."""
        chosen = self._settings
        try:
            joined = joining.join(chosen, self._link, self._abilities, self._rng, self._keeper.words)
        except Dismissed as exc:
            log.warning("not admitted; leaving for good", reason=exc.message)
            return 0
        self._heartbeat_s, self._lease_s = joined.heartbeat_s, joined.lease_s
        devices = machine.known_devices(chosen.node_dir)
        facts = NodeFacts(chosen.address, os.cpu_count() or 1, chosen.python, chosen.simulated, devices)
        url, tls = joined.url or chosen.url, joining.tls_of(joined, chosen.node_dir)
        self._link = Link(url, joined.credential, tls)
        self._terminals = Terminals(chosen.node_dir, url, joined.credential, tls)
        self._renewal = Renewal(chosen.node_dir, joined, self._link, self._terminals)
        state = core.load(chosen.node_dir, joining.agent_id(chosen.node_dir))
        node = Node(self._settings.node_dir, self._settings.node_dir / "lease", self._link, facts)
        self._core = Core(state, self._settings.node_dir, node.carry_out)
        node.abilities, node.keeper = self._abilities, self._keeper
        node.trace = tracing.open_trace(os.environ, joined.node_id)
        node.standby = self._standby = self._keep_standby(node, facts)
        monitor = self._look_after(node, self._standby)
        node.report = lambda event: self._core.apply(lambda state, now: state.runtime(event, now))
        node.copy = Copying(chosen.node_dir, os.environ, self._core.health).take
        node.clear_leftovers({attempt.attempt_id for attempt in state.live()})
        self._core.apply(lambda state, now: state.resume(now))
        monitor.start()
        self._show_metrics(monitor)
        on_paper = machine.joined_gpus(chosen) if chosen.simulated else None
        self._loads = loads.watch(on_paper, monitor.figures, self._core.runs)
        self._standby.start()
        Arrears(self._settings.node_dir, node.report).start()
        self._listen_for_notices()
        threading.Thread(target=self._take_commands, name="commands", daemon=True).start()
        self._beat()
        monitor.stop()
        return self._leave()

    def _listen_for_notices(self) -> None:
        if self._settings.spot:
            self._sigterm.listen()
        found = watch.sources(self._settings, os.environ, self._sigterm)
        watch.NoticeWatch(found, self._noticed).start()

    def _show_metrics(self, monitor: Monitor) -> None:
        """Serve metrics, where that was asked for."""
        if self._settings.metrics is None:
            return
        from godwit.agents.metrics import showing  # noqa: PLC0415 - on most nodes nobody asks, and it brings a server

        beats, core = showing.Beats(), self._core
        self._on_answer = lambda answered: beats.answered() if answered else beats.unanswered()
        facts = showing.Facts(
            version("godwit"), socket.gethostname(), self._settings.node_dir, beats, monitor.seen, core.count,
            core.lease_left_s, monitor.grades,
        )  # fmt: skip
        showing.serve(facts, self._settings.metrics)

    def _noticed(self, event: Noticed) -> None:
        if event.within_s is not None:
            self._standby.retire()
        self._core.noticed(event)

    def _keep_standby(self, node: Node, facts: NodeFacts) -> StandbyKeeper:
        chosen = self._settings
        gpus = [gpu.index for gpu in machine.joined_gpus(chosen)]
        lease_path = chosen.node_dir / "lease"
        return StandbyKeeper(
            chosen.node_dir, lease_path, facts, gpus, node.is_idle, wanted=chosen.warm_ray, keeper=self._keeper
        )

    def _look_after(self, node: Node, standby: StandbyKeeper) -> Monitor:
        """Passive checks, active checks and repairs, wired to the core."""
        chosen, gpus = self._settings, machine.joined_gpus(self._settings)
        folder, simulated = chosen.node_dir, chosen.simulated
        kind = {"simulated": simulated, "shared": chosen.shared}

        def in_use() -> set[int]:
            return self._core.held() | (set() if node.checks is None else node.checks.trying)

        def tell(event: HealthEvent) -> None:
            checks.proven.hear(event)
            self._core.health(event)

        monitor = Monitor(folder, gpus, report=tell, held=in_use, poll_s=chosen.poll_s, **kind)
        caring = Caring(folder, monitor, gpus, tell, **kind)
        injected = (lambda: faults.active(folder)) if simulated else None
        node.gpus, node.found = lambda: gpus, tell
        node.drills = (lambda: faults.of_work(folder)) if simulated else None
        node.checks = checks = ActiveChecks(node.gpus, caring.hear, injected)
        caring.check, node.care, caring.apart = checks.start, caring.take, standby.away
        return monitor

    def _beat(self) -> None:
        """Heartbeats until dismissed. A failed one is followed by the next: the lease is the bound."""
        failed, is_first = 0, True
        while not self._gone.is_set():
            self._core.urgent.clear()
            last = self._is_over()
            sent_at, more = boottime_s(), False
            try:
                request = self._core.heartbeat(self._loads.untold())
                reply = self._link.heartbeat(request, pauses.patience_s(self._lease_s))
            except Dismissed as exc:
                log.warning("sent away", reason=exc.message)
                self._is_forgotten = isinstance(exc, Forgotten)
                return
            except Unreachable as exc:
                failed += 1
                self._on_answer(False)
                if failed == 1:
                    log.warning("heartbeat not answered", reason=exc.message)
                is_first = True
                time.sleep(self._pause_s(failed, exc))
            else:
                failed, pause_s = 0, pauses.next_beat_s(reply.heartbeat_s, self._rng, is_first=is_first)
                is_first = False
                self._on_answer(True)
                self._loads.told(request.load)
                self._heartbeat_s, self._lease_s = reply.heartbeat_s, reply.lease_s
                self._renewal.answered(reply.credential)
                more = self._core.answered(sent_at, reply)
                if not self._leased.is_set():
                    self._leased.set()
                    self._standby.look()
            self._core.tick()
            if last:
                return
            if not more and not failed:
                self._core.urgent.wait(pause_s)

    def _pause_s(self, failed: int, exc: Unreachable) -> float:
        """The pause after the `failed`th call in a row that brought no answer."""
        return pauses.again_s(failed, pauses.longest_s(self._heartbeat_s, self._lease_s), self._rng, exc.after_s)

    def _is_over(self) -> bool:
        """Whether the machine goes down and nothing runs here any more: one heartbeat is still tried."""
        return self._sigterm.heard.is_set() and self._core.count()[0] == 0

    def _take_commands(self) -> None:
        self._leased.wait()  # a start that came before the first lease would be refused
        failed = 0
        while not self._gone.is_set():  # no bound: this is what the agent is for
            try:
                known = self._core.intents()[-768:] + self._terminals.known()
                reply = self._link.commands(CommandsRequest(known=known, wait_s=COMMANDS_WAIT_S))
            except Dismissed:
                self._core.urgent.set()  # the heartbeat will hear it too, and decides
                time.sleep(1.0)
                continue
            except Unreachable as exc:
                failed += 1
                time.sleep(self._pause_s(failed, exc))
                continue
            failed = 0
            self._terminals.take(reply.terminals)
            before = self._core.intents()
            for command in reply.commands:
                self._core.command(command)
            if reply.commands and self._core.intents() == before:
                time.sleep(REPEATED_PAUSE_S)

    def _leave(self) -> int:
        """Stop everything; the exit code says that this is for good, unless something would not die."""
        self._gone.set()
        self._standby.retire()  # else it would start another one once its node is idle
        self._core.apply(lambda state, now: state.fenced([a.attempt_id for a in state.live()], now))
        deadline = time.monotonic() + GOING_S
        while self._core.count()[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        self._standby.close()
        if self._is_forgotten:
            # Started again, it asks to join with the token of its machine, and is told whether that is for good.
            joining.forget(self._settings.node_dir)
        # Whoever was only asked to end, on a machine that stays, is started again.
        return 1 if self._core.count()[0] or self._sigterm.heard.is_set() or self._is_forgotten else 0


def exit_code() -> int:
    """Run `main`, and turn an error that a person can act on into one line."""
    try:
        return main()
    except GodwitError as exc:
        log.error("the agent ends", error=exc.message)
        return 1
