"""Rules of the house that no other tool checks; each failure names the file and what to do."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from godwit.providers import registry

ROOT = Path(__file__).parent.parent
FOLDERS = ("domain", "scheduler", "providers", "control_plane", "gateway", "agents", "sdk", "cli")
LINES_MAX = 300
NAMELESS = re.compile(r"(^|_)(utils?|helpers?|common|managers?|misc)(_|$)|Manager$|Helper$|Utils?$")
# A registry's host name in a file makes an installation depend on where it was written.
REGISTRIES = re.compile(
    r"(pypi\.org|pythonhosted\.org|npmjs\.(org|com)|proxy\.golang|docker\.io/|ghcr\.io|quay\.io|download\.pytorch)"
)
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".sh", ".json", ".cfg", ".ini", ""}


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


TRACKED = _tracked()
SOURCES = [path for path in TRACKED if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in FOLDERS]


def _named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_source_folder_is_a_portion_of_one_namespace(folder: str) -> None:
    hides_the_others = ROOT / folder / "godwit" / "__init__.py"
    assert not hides_the_others.exists(), "remove it: with it, Python sees no other folder of the namespace"
    assert (ROOT / folder / "godwit" / folder / "__init__.py").exists()
    assert (ROOT / folder / "godwit" / folder / "py.typed").exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_source_folder_explains_itself(folder: str) -> None:
    assert (ROOT / folder / "README.md").exists(), "write one: its vocabulary, its flow, and how to add a part"


def test_every_source_folder_is_packaged_checked_and_layered() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = config["tool"]
    assert set(tools["hatch"]["build"]["dev-mode-dirs"]) == set(FOLDERS)
    assert set(tools["hatch"]["build"]["targets"]["wheel"]["sources"]) == set(FOLDERS)
    assert set(tools["mypy"]["mypy_path"].split(":")) == set(FOLDERS)
    assert set(tools["importlinter"]["root_packages"]) == {f"godwit.{folder}" for folder in FOLDERS}
    assert set(FOLDERS) < set(tools["mypy"]["files"])


def test_the_directions_of_imports_are_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    kinds = [contract["type"] for contract in contracts]
    assert kinds.count("layers") == 1
    assert kinds.count("forbidden") >= 3


def test_no_source_file_is_too_long_to_read_in_one_go() -> None:
    long = [path for path in SOURCES if len(path.read_text().splitlines()) > LINES_MAX]
    assert _named(long) == [], f"split them by what they know: more than {LINES_MAX} lines"


def test_no_module_or_class_is_named_after_nothing() -> None:
    nameless = [path for path in SOURCES if NAMELESS.search(path.stem)]
    assert _named(nameless) == [], "find the noun: such a name says that it is not found yet"
    classes = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCES
        for name in re.findall(r"^class (\w+)", path.read_text(), re.MULTILINE)
        if NAMELESS.search(name)
    ]
    assert classes == []


def test_no_text_names_a_package_registry() -> None:
    own = Path(__file__)
    naming = [
        path
        for path in TRACKED
        if path != own and path.suffix in TEXT_SUFFIXES and REGISTRIES.search(path.read_text(errors="replace"))
    ]
    assert _named(naming) == [], "leave it to the reader's own configuration"


def test_every_record_of_a_decision_says_what_was_refused() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    numbers = [record.name[:4] for record in records]
    # Several are written at once, each under a number that was given out before: some may never be.
    assert [number for number in numbers if numbers.count(number) > 1] == [], "a number is one record's"
    assert len(numbers) > int(numbers[-1]) - 10, "take the next number"
    for record in records:
        text = record.read_text()
        assert [part for part in ("## Problem", "## Decision", "## Refused") if part not in text] == [], record.name


def test_the_table_of_providers_has_a_row_for_each_kind() -> None:
    page = (ROOT / "docs" / "providers.md").read_text()
    missing = [kind for kind in registry.KINDS if f"| `{kind}` |" not in page]
    assert not missing
