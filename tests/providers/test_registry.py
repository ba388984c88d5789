"""config.yaml's providers become providers, or an error that says which line is wrong."""

import pkgutil
import random
from pathlib import Path
from typing import Any

import pytest
from godwit.domain.clock import ManualClock
from godwit.domain.errors import InvalidRequest, ProviderUnavailable
from godwit.providers import registry
from godwit.providers.kinds import Kind, Setup


def problem(config: list[dict[str, Any]], home: Path) -> Any:
    with pytest.raises(InvalidRequest) as caught:
        registry.build(config, home)
    return caught.value.problems[0]


def test_this_machine_is_built_from_two_lines(tmp_path: Path) -> None:
    built = registry.build([{"kind": "local", "name": "here"}], tmp_path)
    assert list(built) == ["here"]
    offer = next(iter(built.values())).offers()[0]
    assert (offer.provider, offer.region, offer.instance_type) == ("here", "here", "this-machine")
    assert (offer.price_usd_per_hour, offer.capacity) == (0.0, 1)


def test_an_unknown_kind_names_the_nearest(tmp_path: Path) -> None:
    wrong = problem([{"kind": "locale", "name": "x"}], tmp_path)
    assert (wrong.path, wrong.did_you_mean) == (("providers", 0, "kind"), "local")


def test_an_unknown_simulated_cloud_names_the_nearest(tmp_path: Path) -> None:
    wrong = problem([{"kind": "simulated", "name": "sim-arora"}], tmp_path)
    assert (wrong.path, wrong.did_you_mean) == (("providers", 0, "name"), "sim-aurora")


def test_an_unknown_option_is_refused(tmp_path: Path) -> None:
    wrong = problem([{"kind": "simulated", "name": "sim-aurora", "timeout": 3}], tmp_path)
    assert (wrong.path, wrong.did_you_mean) == (("providers", 0, "timeout"), "timeout_s")


def test_a_time_out_that_is_no_number_is_refused(tmp_path: Path) -> None:
    registry.start_simulated(tmp_path)
    try:
        wrong = problem([{"kind": "simulated", "name": "sim-aurora", "timeout_s": "soon"}], tmp_path)
    finally:
        registry.stop_simulated(tmp_path)
    assert wrong.path == ("providers", 0, "timeout_s")


def test_two_providers_of_one_name_and_this_machine_twice_are_refused(tmp_path: Path) -> None:
    local = {"kind": "local", "name": "local"}
    assert problem([local, {**local, "name": "again"}], tmp_path).path == ("providers", 1, "kind")
    assert problem([local, {"kind": "simulated", "name": "local"}], tmp_path).path == ("providers", 1, "name")
    assert problem([{"kind": "local"}], tmp_path).path == ("providers", 0, "name")


@pytest.mark.parametrize("name", ["", "a/b", "n" * (registry.NAME_CHARACTERS_MAX + 1), 7])
def test_a_name_that_cannot_be_kept_is_refused(tmp_path: Path, name: object) -> None:
    assert problem([{"kind": "local", "name": name}], tmp_path).path == ("providers", 0, "name")


def test_simulated_clouds_that_do_not_run_are_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ProviderUnavailable, match="godwit up"):
        registry.build([{"kind": "simulated", "name": "sim-aurora"}], tmp_path)


def test_stopping_what_never_started_is_no_error(tmp_path: Path) -> None:
    registry.stop_simulated(tmp_path)
    registry.stop_local(tmp_path)


def test_a_cloud_that_needs_credentials_is_added_and_not_written_down(tmp_path: Path) -> None:
    assert "godwit providers add lambda" in problem([{"kind": "lambda", "name": "l"}], tmp_path).message


@pytest.mark.parametrize("name", sorted(registry.KINDS))
def test_every_kind_names_an_adapter_that_is_there(name: str) -> None:
    assert callable(pkgutil.resolve_name(registry.KINDS[name].adapter))


def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(tmp_path: Path) -> None:
    kind = Kind("Some Cloud", "package_that_is_not_there.provider:Adapter", extra="some")
    with pytest.raises(InvalidRequest, match=r"needs package_that_is_not_there.*godwit\[some\]"):
        kind.build(Setup("some", tmp_path, ManualClock(), random.Random(1)))
