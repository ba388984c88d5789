"""What the design promises, checked against what really runs and what the database says."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from godwit.control_plane.store import queries
from godwit.control_plane.store.database import Database
from godwit.domain import lifecycle
from godwit.domain.intents import FOR_AGENTS, FOR_PROVIDERS
from godwit.domain.jobs import Job, JobState
from godwit.domain.wire import agents as wire
from godwit.providers.simulated.inprocess import InProcessProvider

from tests.simulation.machines import SimMachine
from tests.simulation.programs import Program


class Violation(AssertionError):
    """An invariant of the design does not hold."""


def runs(machines: Iterable[SimMachine]) -> list[tuple[SimMachine, wire.StartAttempt]]:
    """Every attempt of which a process is alive somewhere."""
    return [(machine, run.command) for machine in machines for run in machine.runs.values() if run.alive]


def check_now(machines: Iterable[SimMachine]) -> None:
    """No double run, but of replicas that nobody asks any more, and no GPU with two attempts. Raises `Violation`."""
    epochs: dict[str, set[int]] = defaultdict(set)
    gpus: dict[tuple[str, int], str] = {}
    for machine, command in runs(machines):
        if command.serve is None:
            epochs[command.job_id].add(command.epoch)
        for gpu in command.gpus:
            other = gpus.setdefault((machine.id, gpu), command.attempt_id)
            if other != command.attempt_id:
                raise Violation(f"GPU {gpu} of {machine.id} runs {other} and {command.attempt_id}")
    twice = {job_id: seen for job_id, seen in epochs.items() if len(seen) > 1}
    if twice:
        raise Violation(f"double run: {twice}")


def is_quiet(database: Database, clouds: Iterable[InProcessProvider], names: Iterable[str]) -> bool:
    """Whether nothing is bought, nothing lives, nothing is owed and every job is over."""
    if any(cloud.cloud.live() for cloud in clouds):
        return False
    if not all(lifecycle.is_final(job.state) for job in _jobs(database, names)):
        return False
    with database.read() as conn:
        return not queries.nodes(conn) and not queries.pending_intents(conn, FOR_PROVIDERS | FOR_AGENTS)


def unfinished(database: Database, clouds: Iterable[InProcessProvider], names: Iterable[str]) -> str:
    """What keeps a world from being quiet, for a person."""
    jobs = [(j.spec.name, str(j.state)) for j in _jobs(database, names) if not lifecycle.is_final(j.state)]
    with database.read() as conn:
        nodes = [(n.id, str(n.state), n.detail) for n in queries.nodes(conn)]
        intents = [(i.kind, i.node_id, i.detail) for i in queries.pending_intents(conn, FOR_PROVIDERS | FOR_AGENTS)]
    return f"jobs {jobs}, nodes {nodes}, intents {intents}, live {[cloud.cloud.live() for cloud in clouds]}"


def check_end(database: Database, programs: Mapping[str, Program], machines: Iterable[SimMachine]) -> None:
    """No job lost, each with the end that its program has; no attempt and no process left. Raises `Violation`."""
    for job in _jobs(database, programs):
        program = programs[job.spec.name]
        wanted = JobState.SUCCEEDED if program.fails_at is None else JobState.FAILED
        if job.state is not wanted:
            raise Violation(f"{job.spec.name} is {job.state} ({job.detail}); its program should make it {wanted}")
        if program.fails_at is not None and job.exit_code != 3:
            raise Violation(f"{job.spec.name} failed with exit code {job.exit_code}, not the program's own 3")
    with database.read() as conn:
        if queries.live_attempts(conn):
            raise Violation("an attempt never ended")
    if runs(machines):
        raise Violation("something still runs")


def _jobs(database: Database, names: Iterable[str]) -> list[Job]:
    with database.read() as conn:
        return [queries.job(conn, name) for name in sorted(names)]
