"""The command answers at once, and says how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from godwit.cli import main
from godwit.cli.exits import MEANINGS, ExitCode

from tests.cli.scripted import Godwit

HEAVY = ("httpx", "pydantic", "rich", "yaml", "godwit.domain")
HELP_S = 0.3


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import json, sys; sys.argv = ['godwit', '--help']\n"
        "from godwit.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted(name for name, module in sys.modules.items() if module)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = json.loads(ended.stdout.splitlines()[-1])
    assert [name for name in loaded if name.startswith(HEAVY)] == []


def test_help_answers_in_under_a_third_of_a_second() -> None:
    # The time of the processor, and the best of several: what is asserted is the work to be done, not how busy this
    # machine is. Nothing is waited for, so on a machine at rest it is the time that passes.
    best_s = min(_processor_s() for _ in range(5))
    assert best_s < HELP_S


def _processor_s() -> float:
    before = os.times()
    subprocess.run([sys.executable, "-m", "godwit.cli.main", "--help"], capture_output=True, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_help_lists_every_command_and_every_exit_code() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "godwit.cli.main", "--help"], capture_output=True, text=True, check=True
    )
    assert all(name in ended.stdout for name in main.COMMANDS)
    assert set(MEANINGS) == set(ExitCode)
    assert all(meaning.split(";")[0] in " ".join(ended.stdout.split()) for meaning in MEANINGS.values())


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_of_the_table_has_help_of_its_own(
    name: str, godwit: Godwit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert godwit(name, "--help") == 0
    assert "Usage: godwit" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "code"), [(("down", "--home", "/not/there"), 0), (("explan",), 2)])
def test_a_reader_that_has_left_is_no_error(words: tuple[str, ...], code: int) -> None:
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as left:
        command = [sys.executable, "-m", "godwit.cli.main", *words]
        ended = subprocess.run(command, stdout=left, stderr=subprocess.PIPE, text=True, env=buffered, check=False)
    assert ended.returncode == code
    assert "BrokenPipe" not in ended.stderr


def test_a_misspelt_command_gets_a_near_match(godwit: Godwit, capsys: pytest.CaptureFixture[str]) -> None:
    assert godwit("explan", "digits") == ExitCode.USAGE
    assert "did you mean explain?" in capsys.readouterr().err


def test_a_bug_is_told_in_a_sentence_without_a_traceback(
    godwit: Godwit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_args: 1 / 0)
    assert godwit("ps") == ExitCode.FAILED
    told = capsys.readouterr().err
    assert "bug in godwit" in told
    assert "GODWIT_DEBUG=1" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("words", "told"),
    [(("up", "--detach"), "`systemctl start godwit`"), (("down",), "`systemctl stop godwit`")],
)
def test_a_home_that_is_another_users_is_left_alone(
    words: tuple[str, ...],
    told: str,
    godwit: Godwit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert godwit(*words, "--home", str(tmp_path)) == ExitCode.FAILED
    assert told in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
