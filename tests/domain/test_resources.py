"""How people write what they need, and what they are told when they write it wrong."""

import pytest
from godwit.domain.errors import InvalidRequest
from godwit.domain.resources import GpuAsk, parse_gpus, parse_infra


@pytest.mark.parametrize(
    ("text", "ask"),
    [
        ("H100:8", GpuAsk(8, ("H100",))),
        ("h100", GpuAsk(1, ("H100",))),
        ("A100-80GB:4", GpuAsk(4, ("A100-80GB",))),
        ("0", GpuAsk()),
        ("L4:0.5", GpuAsk(1, ("L4",), milli=500)),
        ("L4:.25", GpuAsk(1, ("L4",), milli=250)),
    ],
)
def test_an_ask_is_read_as_written(text: str, ask: GpuAsk) -> None:
    assert parse_gpus(text) == ask


def test_a_share_reads_as_it_is_written_and_one_too_small_is_refused() -> None:
    assert str(parse_gpus("L4:0.5")) == "L4:0.5"
    for text in ("L4:0.0", "L4:0.01"):
        with pytest.raises(InvalidRequest) as caught:
            parse_gpus(text)
        assert caught.value.problems[0].did_you_mean == "L4:0.5"
    with pytest.raises(InvalidRequest):
        parse_gpus("L4:1.5")


def test_a_family_accepts_its_variants_only() -> None:
    ask = parse_gpus("H100:8")
    assert ask.accepts("H100-SXM", 80)
    assert not ask.accepts("H200-SXM", 141)


def test_a_misspelt_model_gets_a_near_match() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_gpus("H10O:8")
    assert caught.value.problems[0].did_you_mean == "H100"


def test_more_gpus_than_any_machine_has_points_to_nodes() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_gpus("H100:64")
    assert caught.value.problems[0].did_you_mean == "H100:8 with `nodes: 8`"


def test_infra_narrows_from_provider_to_zone() -> None:
    region = parse_infra("lambda/us-east")
    assert region.covers("lambda", "us-east", "a")
    assert not region.covers("lambda", "us-west", None)
