"""Home folders of dev environments: which one a new environment begins with, and where it lies."""

from dataclasses import replace

from godwit.control_plane.store import environments
from godwit.domain import lifecycle
from godwit.domain.errors import Conflict
from godwit.domain.jobs import Job
from sqlalchemy import Connection


def continued(conn: Connection, job: Job) -> Job:
    """A dev environment begins with the home of the last one of its name in its project, and counts epochs on from it.

    So what that one still sends late is older than whatever this one saves. Raises `Conflict` while that one lives.
    """
    if job.spec.dev is None:
        return job
    former = environments.newest(conn, job.project, job.spec.name)
    if former is None or former.spec.dev is None:
        return job
    if not lifecycle.is_final(former.state):
        name = job.spec.name
        raise Conflict(f"{name} is {former.state}; `godwit attach {name}` opens a terminal there once it runs")
    home_of = former.spec.dev.home_of or former.id
    return replace(job, spec=replace(job.spec, dev=replace(job.spec.dev, home_of=home_of)), epoch=former.epoch)


def folder_of(job: Job) -> str:
    """The folder of a job's checkpoints in a store: its own, or that of the environment whose home it goes on with."""
    home_of = None if job.spec.dev is None else job.spec.dev.home_of
    return home_of or job.id
