"""The batch of a step when the number of workers changes."""

import pytest
from godwit.sdk import batch
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None)  # a busy machine may pause longer than any limit
@given(whole=st.integers(1, 4096), world=st.integers(1, 64))
def test_kept_all_workers_together_do_the_whole_batch_and_nobody_much_more_than_others(whole: int, world: int) -> None:
    if whole < world:
        with pytest.raises(ValueError, match="leaves nothing"):
            batch.share(whole, world_size=world, rank=world - 1, how=batch.KEEP)
        return
    shares = [batch.share(whole, world_size=world, rank=rank, how=batch.KEEP) for rank in range(world)]
    assert sum(share.local for share in shares) == whole
    assert max(share.local for share in shares) - min(share.local for share in shares) <= 1
    assert {share.rate_factor for share in shares} == {1.0}


@settings(deadline=None)  # a busy machine may pause longer than any limit
@given(each=st.integers(1, 512), began=st.integers(1, 16), world=st.integers(1, 64))
def test_scaled_each_worker_does_what_it_did_and_the_rate_follows(each: int, began: int, world: int) -> None:
    share = batch.share(each * began, world_size=world, began_with=began, how=batch.SCALE)
    assert (share.local, share.whole) == (each, each * world)
    assert share.rate_factor == pytest.approx(world / began)


def test_the_specification_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GODWIT_BATCH", "scale")
    assert batch.share(64, world_size=4, began_with=2).whole == 128
    monkeypatch.delenv("GODWIT_BATCH")
    assert batch.share(64, world_size=4, began_with=2).whole == 64
    with pytest.raises(ValueError, match="ranks count from 0"):
        batch.share(64, world_size=2, rank=2)
