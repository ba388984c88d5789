"""Images, compose file and units: pinned, locked, and naming only what is there. No container engine is needed."""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from godwit.control_plane import settings
from godwit.control_plane.vault import Vault
from godwit.gateway import settings as gateway_settings
from godwit.providers.registry import KINDS

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PINNED = re.compile(r"^[\w./-]+:\d+\.\d+(\.\d+)?-[\w.-]+(@sha256:[0-9a-f]{64})?$")
IMAGES = ("control-plane", "gateway", "cloud")


def _stages() -> dict[str, list[str]]:
    """The instructions of each stage, with lines that go on joined."""
    stages: dict[str, list[str]] = {}
    current: list[str] = []
    for line in DOCKERFILE.replace("\\\n", " ").splitlines():
        begun = re.fullmatch(r"FROM (\S+) AS (\S+)", line)
        if begun:
            current = stages.setdefault(begun[2], [])
        if line and not line.startswith("#"):
            current.append(line)
    return stages


def _inherited(stage: str) -> list[str]:
    lines = _stages()[stage]
    base = lines[0].split()[1]
    return (_inherited(base) if base in _stages() else []) + lines


def test_bases_are_pinned_to_one_release() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert PINNED.match(base)
    bases = {lines[0].split()[1] for lines in _stages().values()}
    assert bases <= {"${PYTHON_IMAGE}", *_stages()}
    foreign = [one["image"] for one in COMPOSE["services"].values() if "build" not in one]
    assert foreign
    assert [image for image in foreign if not PINNED.match(image)] == [], "and what is ours is built, not pulled"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_nobody_and_says_how_it_does(image: str) -> None:
    lines = _inherited(image)
    assert [line for line in lines if line.startswith("USER")][-1] == "USER 10001:10001"
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    module = re.search(r'"-m", "([\w.]+)"', next(line for line in reversed(lines) if line.startswith("CMD")))
    assert module
    assert find_spec(module[1]), f"{module[1]} is what {image} starts"


def test_what_is_copied_is_there_and_sent_to_the_builder() -> None:
    copied = [word for line in DOCKERFILE.splitlines() if line.startswith("COPY ") and "--from" not in line
              for word in line.split()[1:-1]]  # fmt: skip
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(fnmatch.fnmatch(name, one) for one in sent), f"{name} is left out by .dockerignore"


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_may_do_no_more_than_it_must(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "healthcheck" in service or service.get("build", {}).get("target") in IMAGES
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), "this machine only"


def test_the_proxy_leads_to_both_control_planes_and_nowhere_else() -> None:
    planes = [one for name, one in COMPOSE["services"].items() if name.startswith("control-plane")]
    assert len({one["environment"]["GODWIT_REPLICA"] for one in planes}) == len(planes) == 2
    wanted = {f"cloud:{one['environment']['GODWIT_PORT']}" for one in planes}
    assert set(re.findall(r"server (\S+:\d+)", (ROOT / "deploy/compose/nginx.conf").read_text())) == wanted


def test_whoever_calls_simulated_machines_lives_in_their_network() -> None:
    """Their addresses are the cloud's own loopback: from any other container they are somebody else's, or nobody's."""
    living = {name for name, one in COMPOSE["services"].items() if one.get("network_mode") == "service:cloud"}
    assert living == {"control-plane-a", "control-plane-b", "worker-a", "worker-b", "gateway"}
    assert COMPOSE["services"]["cloud"]["ports"] == ["127.0.0.1:${GODWIT_GATEWAY_PUBLISHED:-8800}:8800"]


def test_every_variable_that_is_set_is_one_that_is_read() -> None:
    names = {name for one in COMPOSE["services"].values() for name in one.get("environment", {})}
    names |= set(re.findall(r"\b(GODWIT_\w+)=", DOCKERFILE))
    names = {name.removesuffix("_FILE") for name in names}
    source = "".join(path.read_text() for folder in ("control_plane", "gateway", "cli")
                     for path in (ROOT / folder / "godwit").rglob("*.py"))  # fmt: skip
    unread = {name for name in names if name.startswith("GODWIT_") and f'"{name}"' not in source}
    assert unread == set()


def test_the_control_planes_take_their_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "deploy/compose/config.yaml", tmp_path / "config.yaml")
    monkeypatch.setenv("GODWIT_PORT", "7462")
    monkeypatch.setenv("GODWIT_LISTEN", "0.0.0.0")
    read = settings.read(tmp_path)
    assert (read.port, read.listen, read.url) == (7462, "0.0.0.0", "http://proxy:8080")
    assert read.simulated


def test_the_gateway_takes_its_command_line_and_its_token_from_a_file(tmp_path: Path) -> None:
    command = next(line for line in reversed(_stages()["gateway"]) if line.startswith("CMD"))
    arguments = json.loads(command.removeprefix("CMD "))[3:]
    (tmp_path / "token").write_text("gw_its_own\n")
    env = {**COMPOSE["services"]["gateway"]["environment"], "GODWIT_TOKEN_FILE": str(tmp_path / "token")}
    read = gateway_settings.read(arguments, env)
    assert (read.port, read.url, read.token) == (8800, "http://proxy:8080", "gw_its_own")


def test_secrets_are_files_and_every_one_of_them_is_made(tmp_path: Path) -> None:
    assert [value for one in COMPOSE["services"].values() for value in one.get("environment", {}).values()
            if re.search(r"://\S*:\S*@", value)] == []  # fmt: skip
    shutil.copy(ROOT / "deploy/compose/secrets.sh", tmp_path)
    command = ["sh", str(tmp_path / "secrets.sh")]
    subprocess.run(command, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert {f"./deploy/compose/secrets/{name}" for name in made} == {one["file"] for one in COMPOSE["secrets"].values()}
    assert made["database_password"].strip() in made["database_url"]
    assert made["broker_password"].strip() in made["broker_url"]
    Vault(made["credentials_key"].strip().encode())
    sealing = [name for name, one in COMPOSE["services"].items()
               if {"credentials_key"} <= {str(secret) for secret in one.get("secrets", ())}
               and "GODWIT_CREDENTIALS_KEY_FILE" in one["environment"]]  # fmt: skip
    assert sealing == ["control-plane-a", "control-plane-b", "worker-a", "worker-b"]
    subprocess.run(command, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made, (
        "a second call keeps them"
    )
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_what_images_install_is_what_the_project_asks_for_at_the_releases_that_tests_use() -> None:
    def asked(*words: str) -> list[str]:
        command = [sys.executable, "deploy/requirements.py", *words]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()

    assert {"httpx>=0.28,<1", "psycopg[binary]>=3.2.9,<4"} <= set(asked("server,postgres"))
    constraints = asked()
    assert any(line.startswith("ray==") for line in constraints)
    assert [line for line in constraints if "[" in line or "==" not in line] == [], "pip takes no extras there"
    told = re.search(r"^ARG PROVIDERS=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert told is not None
    for extras in re.findall(r"requirements\.py (\S+) >", DOCKERFILE.replace("requirements.py >", "")):
        for providers in (told[1], "ssh", ""):
            shell = ["sh", "-c", f"PROVIDERS={providers}; echo {extras}"]
            wanted = subprocess.run(shell, check=True, capture_output=True, text=True).stdout.strip()
            assert any(line.startswith("kubernetes") for line in asked(wanted)) == ("kubernetes" in wanted)


def test_images_have_what_every_kind_of_provider_needs_unless_told_otherwise() -> None:
    told = re.search(r"^ARG PROVIDERS=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert told is not None
    assert set(told[1].split(",")) == {kind.extra for kind in KINDS.values()} - {""}


def _ends_well(command: list[str]) -> bool:
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


def test_the_compose_file_is_one_for_compose() -> None:
    found = [command for command in (["docker", "compose"], ["docker-compose"]) if _ends_well([*command, "version"])]
    if not found:
        pytest.skip("neither docker compose nor docker-compose is here; the file was read as YAML only")
    command = [*found[0], "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here; the units were not verified")
    units = sorted((ROOT / "deploy" / "systemd").iterdir())
    for unit in units:
        text = unit.read_text().replace("/opt/godwit/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text)
    command = [analyze, "verify", *(str(tmp_path / unit.name) for unit in units)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_the_units_start_takes_its_arguments() -> None:
    folder = ROOT / "deploy" / "systemd"
    started = [re.search(r"^ExecStart=\S+ -m (\S+) (.*)$", unit.read_text(), re.MULTILINE) for unit in folder.iterdir()]
    lines = [[found[1], *found[2].split()] for found in started if found]
    assert ["godwit.control_plane", "serve", "--home", "/var/lib/godwit"] in lines
    assert ["godwit.control_plane", "work", "--home", "/var/lib/godwit", "--port", "7463"] in lines
    (gateway,) = (line[1:] for line in lines if line[0] == "godwit.gateway")
    assert gateway_settings.read(gateway, {"GODWIT_URL": "http://plane"}).port == 8800
