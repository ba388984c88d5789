"""What a node permits is found out by trying, and said."""

import os
import stat
from pathlib import Path

import pytest
from godwit.agents import settings
from godwit.agents.confinement import confined, keeper
from godwit.agents.confinement.confined import Confined
from godwit.agents.runtime.folder import AttemptFolder
from godwit.domain.errors import InvalidRequest

from tests.agents.confinement import places

NEEDED = {"GODWIT_URL": "u", "GODWIT_NODE_DIR": "/n", "GODWIT_NODE_ADDRESS": "a"}


@pytest.mark.parametrize("said", ["auto", "require", "off"])
def test_the_setting_has_three_words_and_the_usual_one_is_auto(said: str) -> None:
    assert settings.from_env(NEEDED).confine == "auto"
    assert settings.from_env(NEEDED | {"GODWIT_CONFINE": said}).confine == said
    with pytest.raises(InvalidRequest, match="it takes auto, require or off"):
        settings.from_env(NEEDED | {"GODWIT_CONFINE": "perhaps"})


def test_off_is_off_and_said(tmp_path: Path) -> None:
    found = keeper.look("off", tmp_path, "python3", 1)
    assert found.words == "none: GODWIT_CONFINE is off"
    folder = AttemptFolder(tmp_path, "att-1")
    folder.make()
    found.confine(folder, places.command("att-1"))
    assert confined.read(folder.root) == Confined()
    step = {"name": "program", "argv": ["sh"], "cwd": "/", "log": "l"}
    assert confined.read(folder.root).steps([step]) == [step]


@places.as_root
def test_a_python_that_others_cannot_run_is_the_reason_for_no_users(node_dir: Path) -> None:
    shut = node_dir / "shut" / "python"
    shut.parent.mkdir(mode=0o700)
    shut.symlink_to("/bin/sh")
    found = keeper.look("auto", node_dir, str(shut), 1)
    assert not found.ids
    assert f"{shut} cannot be run by user" in found.words
    assert "Permission denied" in found.words
    assert stat.S_IMODE(node_dir.stat().st_mode) == 0o700, "nobody walks through where nobody needs to"
    with pytest.raises(
        InvalidRequest, match="GODWIT_CONFINE is require, and programs cannot run as users of their own"
    ):
        keeper.look("require", node_dir, str(shut), 1)


@places.as_root
def test_a_folder_that_others_cannot_reach_is_the_reason_for_no_users(node_dir: Path) -> None:
    python = places.python_of_jobs()
    inner = node_dir / "home" / "node"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    assert not keeper.look("auto", inner, python, 1).ids


@places.as_root
def test_whoever_confines_closes_its_own_files_first(node_dir: Path) -> None:
    (node_dir / "agent.json").write_text("{}")
    (node_dir / "agent.json").chmod(0o644)
    (node_dir / "kept").mkdir(mode=0o755)
    assert keeper.look("require", node_dir, places.python_of_jobs(), 1).words.startswith("user")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in node_dir.iterdir()}
    assert modes == {"agent.json": 0o600, "kept": 0o700}
    assert stat.S_IMODE(node_dir.stat().st_mode) == 0o711
    (node_dir / "later").touch()
    assert stat.S_IMODE((node_dir / "later").stat().st_mode) == 0o600


def seen(gid: int, mode: int) -> os.stat_result:
    return os.stat_result((stat.S_IFCHR | mode, 0, 0, 1, 0, gid, 0, 0, 0, 0))


def test_only_groups_that_open_devices_which_others_cannot_are_kept() -> None:
    assert keeper.device_groups([seen(44, 0o660), seen(109, 0o660), seen(44, 0o660)]) == (44, 109)
    assert keeper.device_groups([seen(0, 0o660), seen(44, 0o666), seen(44, 0o600)]) == ()


@places.as_root
def test_confining_twice_is_confining_once(node_dir: Path) -> None:
    found = places.looked(node_dir)
    folder = AttemptFolder(node_dir, "att-1")
    folder.make()
    found.confine(folder, places.command("att-1"))
    first = confined.read(folder.root)
    found.confine(folder, places.command("att-1"))
    folder.make()
    assert confined.read(folder.root) == first
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o711
    (folder.root / confined.NAME).unlink()  # as if its agent had died half way
    found.confine(folder, places.command("att-1"))
    assert confined.read(folder.root) == first
    first.end()
    first.end()


@places.as_root
def test_a_program_that_criu_saves_keeps_the_agents_user_and_has_a_cgroup(node_dir: Path) -> None:
    found = places.looked(node_dir)
    folder = AttemptFolder(node_dir, "att-1")
    folder.make()
    found.confine(folder, places.command("att-1", process_saves=True))
    how = confined.read(folder.root)
    assert how.uid == 0
    assert len(how.cgroups) == len(found.trees)
    assert folder.run.stat().st_uid == 0
    how.end()


def test_a_program_has_a_home_of_its_own_unless_its_job_names_one() -> None:
    how, folder = Confined(uid=1_879_048_192), Path("/n/attempts/att-1")
    env = how.environment({"HOME": "/root", "PATH": "/usr/bin"}, folder, "/root")
    assert (env["HOME"], env["USER"], env["LOGNAME"]) == (f"{folder}/home", "godwit-job", "godwit-job")
    assert env["PATH"] == f"{folder}/home/.local/bin:/usr/bin"
    assert how.environment({"HOME": "/data", "PATH": "/usr/bin"}, folder, "/root")["HOME"] == "/data"
    assert Confined().environment({"HOME": "/root"}, folder, "/root") == {"HOME": "/root"}
