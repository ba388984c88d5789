"""A wrong specification is answered with one clear message: the line, what is accepted, and a near match."""

import re
from pathlib import Path
from typing import Any

import pytest
from godwit.cli import specs, yaml_source
from godwit.cli.exits import ExitCode, Failure
from godwit.domain.wire.pages import FieldProblem

GOOD = "name: digits\nrun: python train.py\n"


def _read(tmp_path: Path, text: str, options: specs.Options | None = None) -> specs.Given:
    file = tmp_path / "train.yaml"
    file.write_text(text)
    return specs.from_file(file, options or {})


def _refusal(tmp_path: Path, text: str, options: specs.Options | None = None) -> str:
    with pytest.raises(Failure) as caught:
        _read(tmp_path, text, options)
    assert caught.value.code is ExitCode.USAGE
    return caught.value.message.replace(f"{tmp_path}/", "")


def test_a_good_specification_is_read_with_its_workdir_beside_it(tmp_path: Path) -> None:
    given = _read(tmp_path, GOOD + "workdir: .\nresources: {gpus: 'H100:1', nodes: 2}\n")
    assert given.spec.name == "digits"
    assert given.workdir == tmp_path


@pytest.mark.parametrize(("written", "read"), [("off", "off"), ('"off"', "off"), ("10m", "10m"), ("auto", "auto")])
def test_off_means_off_although_yaml_takes_it_for_false(tmp_path: Path, written: str, read: str) -> None:
    assert _read(tmp_path, GOOD + f"hang_after: {written}\n").spec.hang_after == read


def test_an_unknown_key_names_its_line_the_near_match_and_the_accepted_keys(tmp_path: Path) -> None:
    told = _refusal(tmp_path, GOOD + "resources:\n  gpu: H100:1\n")
    assert told.startswith("train.yaml:4: resources.gpu: unknown key; did you mean gpus? (accepted: gpus, nodes, ")
    assert "   4 |   gpu: H100:1" in told


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("resources: {nodes: 8..2}", ["train.yaml:3: resources.nodes", "did you mean 2..8?"]),
        ("resources: {gpus: 'H100:99'}", ["train.yaml:3: resources.gpus", "99 GPUs on one node is impossible"]),
        ("resources: {gpus: 'H10O:1'}", ["no GPU model is called", "did you mean H100?"]),
        ("resources: {spot: nevr}", ["did you mean never?", "auto, never, only"]),
        ("resources: {nodes: [2]}", ["resources.nodes: cannot be [2]", "2..8"]),
        ("resources: H100", ["resources: must hold keys of its own, not the text 'H100'"]),
        ("resources: {infra: lambda}", ["must be a list", "did you mean [lambda]?"]),
        ("resources: {infra: ['a/b/c/d']}", ["provider/region/zone"]),
        ("env: {A: 1}", ["env.A: must be text, not the number 1", 'did you mean "1"?']),
        ("retries: {max: -1}", ["retries.max: -1 is too small; at least 0"]),
        ("checkpoint: {store: 'ftp://x/y'}", ["checkpoint.store", "s3://bucket/prefix"]),
        ("checkpoint: {interval: often}", ["cannot read 'often' as a time between", "auto, 10m, 5m..30m"]),
        ("checkpoint: {interval: 30m..5m}", ["checkpoint.interval", "did you mean 5m..30m?"]),
        ("checkpoint: {interval: 10}", ["checkpoint.interval", "auto, 10m, 5m..30m"]),
        ("checkpoint: {keep: 0}", ["checkpoint.keep: 0 is too small; at least 1"]),
        ("kind: dev\nreplicas: 2", ["replicas is not for kind: dev"]),
        ("kind: dev\nidle_after: soon", ["idle_after: cannot be 'soon'"]),
        ("idle_after: 1h", ["idle_after is not for kind: train"]),
        ("replicas: 3", ["replicas is not for kind: train"]),
        ("kind: service\nreplicas: 4..2", ["replicas: cannot read '4..2' as replicas"]),
        ("budget: 4", ["budget: unknown key; did you mean budget_usd?"]),
        ("budget_usd: 0", ["budget_usd: 0 is too small; more than 0"]),
        ("count: 0", ["count: 0 is too small; at least 1"]),
        ("count: 10001", ["count: 10001 is too large; at most 10000"]),
        ("priority: hgih", ["priority: cannot be 'hgih'; did you mean high?", "low, normal, high, -1000 to 1000"]),
        ("priority: 1001", ["priority: cannot be 1001", "-1000 to 1000"]),
        ("after: [Prep!]", ["after.0: cannot be 'Prep!'", "{job: prep, when: ended}"]),
        ("after: [{job: prep, when: failed}]", ["after.0", "{job: prep, when: ended}"]),
        ("after: prep", ["after: must be a list, not the text 'prep'; did you mean [prep]?"]),
        ("run_time: 6 hours", ["run_time: cannot be '6 hours'", "90s, 15m, 6h, 2d"]),
        ("preflight: alwys", ["did you mean always?", "auto, never, always"]),
        ("hang_after: soon", ["hang_after: cannot be 'soon'", "auto, off, 90s, 15m, 6h, 2d"]),
        ("hang_after: 10", ["hang_after: cannot be 10", "auto, off, 90s"]),
        ("run_time: 99999d", ["run_time: 99999d is longer than ten years"]),
        ("deadline: 2026-12-01T18:00:00", ["names no time zone", "did you mean 2026-12-01T18:00:00Z?"]),
        ("deadline: 2020-12-01T18:00:00Z", ["deadline: 2020-12-01T18:00:00Z is in the past"]),
        ("deadline: friday", ["deadline: cannot read 'friday' as an instant", "+48h"]),
        ("workdir: 3", ["workdir: must be a folder, not 3"]),
        ("workdir_digest: abc", ["did you mean workdir?"]),
        ("setup: ''", ["setup: must not be empty"]),
    ],
)
def test_what_is_wrong_is_said_in_words(tmp_path: Path, line: str, words: list[str]) -> None:
    told = _refusal(tmp_path, f"{GOOD}{line}\n")
    assert [word for word in words if word not in told] == []


def test_jobs_of_an_array_must_have_names_too(tmp_path: Path) -> None:
    told = _refusal(tmp_path, f"name: {'a' * 62}\nrun: x\ncount: 11\n")
    assert "the last job of the array would be called" in told
    assert f"did you mean {'a' * 60}?" in told


def test_a_date_stays_the_text_that_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_790_000_000.0)
    given = _read(tmp_path, GOOD + "deadline: 2030-12-01T18:00:00+01:00\nenv: {DAY: 2026-12-01}\n")
    assert given.spec.deadline == "2030-12-01T18:00:00+01:00"
    assert given.spec.env == {"DAY": "2026-12-01"}


@pytest.mark.parametrize("name", ["cli.md", "jobs.md", "dev.md"])
def test_the_specifications_that_the_documentation_shows_are_accepted(name: str, tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / name
    shown = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    assert [_read(tmp_path, text).spec.name for text in shown]


def test_a_name_with_shell_characters_is_refused_with_one_that_would_do(tmp_path: Path) -> None:
    told = _refusal(tmp_path, "name: 'Digits; rm -rf /'\nrun: x\n")
    assert told.startswith("train.yaml:1: name: cannot be 'Digits; rm -rf /'; did you mean digits-rm-rf?")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert "run: this key is missing" in _refusal(tmp_path, "name: digits\n")


def test_several_problems_come_in_the_order_of_their_lines(tmp_path: Path) -> None:
    told = _refusal(tmp_path, "nam: a\nrun: x\nresources: {spot: no-way}\n")
    places = [line.split(": ")[0] for line in told.splitlines() if line.startswith("train.yaml")]
    assert places == sorted(places)
    assert len(places) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nname: b\n", "train.yaml:2: name is given twice; it is also in line 1"),
        ("name: [a\n", "this is not YAML"),
        ("a: &x [1]\nb: *x\n", "train.yaml:2: aliases (*name) are not accepted"),
        ("[" * 100 + "]" * 100, "nested deeper than 32 levels"),
        ("- a\n- b\n", "is a mapping of keys"),
        ("", "is empty"),
        ("1: a\n", "train.yaml:1: a key must be text"),
        ("a: 1\n---\nb: 2\n", "this is not YAML"),
        ("name: !!python/object:os.system {}\n", "train.yaml:1: tags such as"),
        ("name: !boom x\n", "this is not YAML"),
    ],
)
def test_yaml_that_is_broken_or_harmful_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in _refusal(tmp_path, text)


def test_a_file_of_more_than_a_mebibyte_is_not_read(tmp_path: Path) -> None:
    assert "larger than 1 MiB" in _refusal(tmp_path, "#" * (yaml_source.SIZE_MAX_BYTES + 1))


def test_a_binary_file_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"name: a\n\xff\xfe")
    with pytest.raises(Failure, match=r"x.yaml:2: this is not UTF-8 text"):
        specs.from_file(tmp_path / "x.yaml", {})


def test_a_command_given_in_place_of_a_file_is_understood(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="godwit run -- "):
        specs.from_file(tmp_path / "nothing", {})


def test_an_option_wins_over_the_file_and_is_what_a_complaint_names(tmp_path: Path) -> None:
    wanted: dict[tuple[str, ...], tuple[str, Any]] = {("resources", "gpus"): ("--gpus", "H100:2")}
    assert _read(tmp_path, GOOD + "resources: {gpus: 'A100:1'}\n", wanted).spec.resources.gpus == "H100:2"
    wrong: dict[tuple[str, ...], tuple[str, Any]] = {("name",): ("--name", "a;b")}
    assert _refusal(tmp_path, GOOD, wrong).startswith("--name: cannot be 'a;b'")


@pytest.mark.parametrize(
    ("command", "name", "run"),
    [
        (["python", "train.py", "--lr", "3"], "train", "python train.py --lr 3"),
        (["echo hi && date"], "echo", "echo hi && date"),
        (["sh", "-c", "a b"], "a", "sh -c 'a b'"),
        (["sh", "-c", "python train.py 1/9 loss"], "train", "sh -c 'python train.py 1/9 loss'"),
    ],
)
def test_a_command_becomes_a_job_with_a_name_of_its_own(command: list[str], name: str, run: str) -> None:
    given = specs.from_command(command, {})
    assert (given.spec.name, given.spec.run) == (name, run)


def test_what_the_control_plane_refuses_is_traced_back_to_the_line(tmp_path: Path) -> None:
    given = _read(tmp_path, GOOD + "resources:\n  gpus: H100:16\n")
    refused = [FieldProblem(path=["body", "resources", "gpus"], message="no machine has 16", did_you_mean="H100:8")]
    told = given.failure(refused, "").message.replace(f"{tmp_path}/", "")
    assert told.splitlines() == [
        "train.yaml:4: resources.gpus: no machine has 16; did you mean H100:8?",
        "     4 |   gpus: H100:16",
    ]
