"""Becomes a program as a user who may do nothing special; run by root in front of a guard's step.

    python -I -S enter.py --uid N [--groups N,N] [--cgroup FOLDER]... -- PROGRAM ARGUMENT...

It needs nothing but the standard library. It joins the cgroups first: that is root's to do. What cannot be given up
ends it with 126 before the program runs; a program that cannot be run is 127, as in a shell.
"""

import ctypes
import os
import resource
import sys
from pathlib import Path

REFUSED, NOT_RUN = 126, 127

# <linux/prctl.h>
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 23, 24, 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522  # <linux/capability.h>
_CAPABILITIES_MAX = 64

_libc = ctypes.CDLL(None, use_errno=True)


def drop(uid: int, groups: list[int]) -> None:
    """Become the user for good, in its own group and these; raises `OSError`."""
    for number in range(_CAPABILITIES_MAX):
        if _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            _checked("drop a capability", _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))
    _raise_locked_memory()
    os.setgroups(groups)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)  # before Linux 4.3 there are none
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked("give up capabilities", _libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())))
    _checked("set no_new_privs", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    os.umask(0o077)


def join(cgroups: list[str]) -> None:
    """Be counted there, with all that this process starts; raises `OSError`."""
    for folder in cgroups:
        Path(folder, "cgroup.procs").write_text(str(os.getpid()))


def _raise_locked_memory() -> None:
    """RDMA and pinned buffers lock memory, as root may without limit (mlock(2)); the cgroup bounds it."""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return  # a container without CAP_SYS_RESOURCE: its limit is for whoever runs it to choose


def _checked(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")


def main(argv: list[str]) -> int:
    """Do as the arguments say; returns only when that failed."""
    uid, groups, cgroups, at = 0, list[int](), list[str](), 0
    while argv[at] != "--":
        name, value = argv[at], argv[at + 1]
        uid = int(value) if name == "--uid" else uid
        groups = [int(one) for one in value.split(",")] if name == "--groups" else groups
        cgroups += [value] if name == "--cgroup" else []
        at += 2
    program = argv[at + 1 :]
    try:
        join(cgroups)
        if uid:
            drop(uid, groups)
    except OSError as exc:
        sys.stderr.write(f"[godwit] the program cannot be confined: {exc}\n")
        return REFUSED
    try:
        os.execvp(program[0], program)  # noqa: S606 - the step as it was composed, without a shell
    except OSError as exc:
        sys.stderr.write(f"[godwit] {program[0]} cannot be run by user {uid}: {exc.strerror}\n")
        return NOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
