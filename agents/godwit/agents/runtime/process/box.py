"""The box: what the guard runs instead of Ray for a program that cannot save itself.

    python -I -m godwit.agents.runtime.process.box FOLDER [--setup]

It makes a room (`rooms`), brings the program back from its newest save or starts it anew, saves it at the cadence, and
once more when it is told to go (SIGTERM). It needs no agent for that, except to fetch an older save when this node
cannot restore one: it leaves `run/refused.json`, and reads `run/older.json`. It ends with the program, with its code.

    FOLDER/box.json     {"criu": [...], "interval_s": 600.0}
    FOLDER/box/         logs of CRIU, and what must not be among the program's files
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from godwit.agents.runtime.guard import write_whole
from godwit.agents.runtime.process import criu, files, rooms, saves
from godwit.agents.runtime.process.inside import as_seen_inside
from godwit.agents.runtime.process.saves import NotSaved, Saved

LOOK_EVERY_S = 0.2
"""How often the cadence is looked at, and an answer of the agent's."""

SAVE_MAX_S = 600.0
"""What CRIU may take: 600 GB of memory at the 1 GB/s of a usual disk. A program that stands still for longer than that
had better run on."""

TOLD_TO_GO = 128 + signal.SIGTERM


class Box:
    """One program in its room."""

    def __init__(self, folder: Path) -> None:
        spec = json.loads((folder / "box.json").read_text())
        self._folder, self._run, self._checkpoints = folder, folder / "run", folder / "checkpoints"
        self._criu: list[str] = spec["criu"]
        self._interval_s: float = spec["interval_s"]
        self._notes = folder / "box"
        self._first = 0  # the room's first process
        self._root_pid = 0  # the program's, as the room knows it
        self._number = 0  # of the newest save
        self._refused = ""  # why the last save failed

    def run(self) -> int:
        """Run the program to its end; returns its exit code."""
        self._notes.mkdir(exist_ok=True)
        write_whole(self._folder / "base.json", json.dumps(files.listing(self._folder)))
        write_whole(self._run / "saver.pid", str(os.getpid()))
        rooms.see_here(self._folder)
        self._first = rooms.begin()
        code = TOLD_TO_GO if self._begin() is False else self._watch()
        write_whole(self._run / "exit_code", f"{code}\n")
        os.kill(self._first, signal.SIGKILL)  # and with it whatever is left in the room
        return code

    def _begin(self) -> bool:
        """Bring the program back, or start it; False when told to go meanwhile."""
        restored = self._run / "restored"
        entry = restored.read_text().strip() if restored.exists() else ""
        while entry:
            why = self._restore(Path(entry))
            if why is None:
                break
            self._say(f"{Path(entry).name} cannot be restored on this node: {why}")
            older = self._older_than(Path(entry).name, why)
            if older is None:
                return False
            entry = older
            if not entry:
                self._say("there is nothing older to go on from; the program starts anew")
        if not entry:
            self._start()
        write_whole(self._run / "program.pid", str(os.getpid()))
        return True

    def _start(self) -> None:
        rooms.next_pid(rooms.FIRST_PID)
        ready, told = os.pipe()
        if os.fork() == 0:
            self._become_program(told)
        os.close(told)
        with os.fdopen(ready) as answer:
            self._root_pid = int(answer.read() or 0)
        if self._root_pid == 0:
            raise OSError("the program could not be started in its room")

    def _become_program(self, told: int) -> None:
        try:
            os.setsid()
            os.chdir(rooms.HERE / "workdir")
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            log = os.open(rooms.HERE / "output.log", os.O_WRONLY | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.write(told, str(os.getpid()).encode())
            signal.pthread_sigmask(signal.SIG_SETMASK, set())
            os.execvpe("sh", ["sh", str(rooms.HERE / "run.sh")], as_seen_inside(os.environ, self._folder))  # noqa: S606
        finally:
            os._exit(127)

    def _watch(self) -> int:
        """See the program to its end, and save it meanwhile."""
        saved_at = time.monotonic()
        while (code := self._ended()) is None:
            if _told_to_go():
                return self._leave()
            if time.monotonic() - saved_at >= self._cadence_s():
                self._save(stay=True)
                saved_at = time.monotonic()
            signal.sigtimedwait({signal.SIGCHLD}, LOOK_EVERY_S)
        return code

    def _leave(self) -> int:
        """Save it as it is and end it; what cannot be saved is told to go as any program is."""
        if self._save(stay=False):
            return TOLD_TO_GO
        rooms.tell_all(signal.SIGTERM)
        while (code := self._ended()) is None:  # the guard ends it once the grace is over
            signal.sigtimedwait({signal.SIGCHLD}, LOOK_EVERY_S)
        return code

    def _save(self, *, stay: bool) -> bool:
        draft, began = saves.draft(self._checkpoints, self._number + 1), time.monotonic()
        why = self._no_room() or self._dump(draft, stay=stay)
        if why:
            shutil.rmtree(draft, ignore_errors=True)
            if why != self._refused and self._lives():
                self._say(f"the program cannot be saved now and runs on: {why}")
            self._refused = why
            return False
        self._refused = ""
        self._number = saves.complete(draft, self._run, self._root_pid, time.monotonic() - began).number
        return True

    def _lives(self) -> bool:
        """Whether the program has not ended; a zombie has."""
        state = _text(Path(f"/proc/{self._root_pid}/stat")).rpartition(")")[2].strip()
        return bool(state) and not state.startswith(("Z", "X"))

    def _no_room(self) -> str:
        """Say why a save would not fit on the disk; nothing when it does."""
        needed = saves.memory_bytes(
            {int(path.parent.name): _text(path) for path in Path("/proc").glob("[0-9]*/status")}
        )
        free = shutil.disk_usage(self._checkpoints).free
        return (
            f"its memory is {needed >> 20} MiB, and {free >> 20} MiB are free on the disk" if needed > free / 2 else ""
        )

    def _dump(self, draft: Path, *, stay: bool) -> str:
        """Save into `draft`; says why it could not."""
        log, script, why = self._notes / "dump.log", self._notes / "stages.sh", self._notes / "files.log"
        pack = [sys.executable, "-I", "-S", files.__file__, "pack", str(self._folder), str(draft)]
        script.write_text(
            "#!/bin/sh\n"
            '[ "$CRTOOLS_SCRIPT_ACTION" = post-dump ] || exit 0\n'  # everything is saved, and nothing runs yet
            f"exec {shlex.join(pack)} 2>{shlex.quote(str(why))}\n"
        )
        script.chmod(0o700)
        why.unlink(missing_ok=True)
        argv = criu.dump(self._criu, self._root_pid, draft / "images", log, script, stay=stay)
        ended = self._carry_out(argv)
        return "" if ended == "" else _text(why).strip() or criu.said(_text(log), ended)

    def _restore(self, entry: Path) -> str | None:
        """Bring the program back from an entry; says why it could not, with everything as it was before."""
        aside, log = self._notes / "aside", self._notes / "restore.log"
        try:
            saved = saves.read(entry)
            files.lay(saved.path, self._folder, aside)
            ended = self._carry_out(criu.restore(self._criu, saved.images, log))
            if ended == "":
                self._go_on(saved)
                return None
            why = criu.said(_text(log), ended)
        except (NotSaved, OSError, ValueError, tarfile.TarError) as exc:
            why = str(exc)
        rooms.empty()  # what a restore leaves that broke off half way
        files.lift(self._folder, aside)
        return why

    def _go_on(self, saved: Saved) -> None:
        self._root_pid, self._number = saved.root_pid, saved.number
        shutil.rmtree(self._notes / "aside", ignore_errors=True)
        rooms.next_pid(max(rooms.FIRST_PID, rooms.greatest_pid()))

    def _older_than(self, name: str, why: str) -> str | None:
        """The entry before one that cannot be restored, "" when there is none; None when told to go meanwhile.

        There is no bound: an agent that does not answer will be another one, and the control plane ends an attempt
        that does not come to run.
        """
        answer = self._run / "older.json"
        write_whole(self._run / "refused.json", json.dumps({"entry": name, "why": why}))
        while not _told_to_go():
            said = json.loads(_text(answer) or "{}")
            if said.get("than") == name:
                return str(said["entry"])
            time.sleep(LOOK_EVERY_S)
        return None

    def _carry_out(self, argv: list[str]) -> str:
        """Run CRIU in the room, in bounded time; says how it failed."""
        with (self._notes / "criu.out").open("wb") as out:
            try:
                done = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            except OSError as exc:
                return f"{argv[0]} cannot be run: {exc}"
        deadline = time.monotonic() + SAVE_MAX_S
        while (code := done.poll()) is None:
            if time.monotonic() > deadline:
                done.kill()
                done.wait()
                return f"CRIU took longer than {SAVE_MAX_S:g} s"
            signal.sigtimedwait({signal.SIGCHLD}, LOOK_EVERY_S)
        return "" if code == 0 else f"CRIU ended with code {code}: {_text(self._notes / 'criu.out')[-200:].strip()}"

    def _ended(self) -> int | None:
        """The exit code of the program once it ended. It is the only child beside the room's first process."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 128 + signal.SIGKILL
            if pid == 0:
                return None
            if pid == self._first:
                return 128 + signal.SIGKILL  # nothing lives in a room without its first process
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code

    def _cadence_s(self) -> float:
        try:
            return float(json.loads((self._run / "cadence.json").read_text())["interval_s"])
        except (OSError, ValueError, KeyError, TypeError):
            return self._interval_s  # nothing was measured yet

    def _say(self, text: str) -> None:
        with (self._folder / "output.log").open("ab") as log:
            log.write(f"[godwit] {text}\n".encode())


def _told_to_go() -> bool:
    return signal.SIGTERM in signal.sigpending()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def set_up(folder: Path, command: str) -> None:
    """Become the set-up command, which sees the paths that the program will see. Raises `OSError`."""
    rooms.see_here(folder)
    os.chdir(rooms.HERE / "workdir")
    os.execvpe("sh", ["sh", "-c", command], as_seen_inside(os.environ, folder))  # noqa: S606


def main() -> int:
    """Run the box of the folder that is named, or what `--setup COMMAND` says in it."""
    folder = Path(sys.argv[1])
    if sys.argv[2:3] == ["--setup"]:
        set_up(folder, sys.argv[3])
    rooms.die_with_parent()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    return Box(folder).run()


if __name__ == "__main__":
    sys.exit(main())
