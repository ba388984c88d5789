"""What is shipped: one namespace that no other package's folders can collide with, whole."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("domain", "scheduler", "providers", "control_plane", "gateway", "agents", "sdk", "cli")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a wheel built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_everything_lies_in_the_namespace(shipped: set[str]) -> None:
    """A top-level `agents` or `cli` would overwrite, or be overwritten by, packages that people have."""
    assert {name.split("/")[0] for name in shipped if ".dist-info/" not in name} == {"godwit"}
    assert "godwit/__init__.py" not in shipped


def test_every_source_file_is_shipped(shipped: set[str]) -> None:
    for folder in FOLDERS:
        source = ROOT / folder
        files = {str(path.relative_to(source)) for path in (source / "godwit").rglob("*") if path.is_file()}
        missing = {name for name in files if "__pycache__" not in name} - shipped
        assert not missing
