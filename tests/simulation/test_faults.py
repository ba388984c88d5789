"""Whatever goes wrong: no double run, no GPU given twice, no lost job, no leaked machine."""

import os
from collections import Counter
from pathlib import Path

import pytest
from godwit.control_plane.services.archives import Shelf
from godwit.domain.jobs import Attempt, Outcome, Slot
from godwit.scheduler import repair
from godwit.scheduler.plan import EndAttempt
from godwit.scheduler.snapshot import Snapshot

from tests import databases
from tests.simulation.harsh import KINDS, HarshWorld
from tests.simulation.invariants import Violation

SEEDS = int(os.environ.get("GODWIT_SIMULATION_SEEDS", "300"))
FIRST = int(os.environ.get("GODWIT_SIMULATION_FIRST_SEED", "0"))
BATCH = 10


def run_seed(
    seed: int, folder: Path, kinds: frozenset[str] | None = None, of: type[HarshWorld] = HarshWorld
) -> HarshWorld:
    """One world, from its seed to quiet. Raises `Violation` with what happened until then."""
    database = databases.in_memory()
    world = of(seed, database, Shelf(folder), kinds)
    try:
        world.run()
    except Exception as exc:
        story = "\n".join(world.story)
        replay = f"GODWIT_SIMULATION_FIRST_SEED={seed} GODWIT_SIMULATION_SEEDS=1 pytest -k invariant {__file__}"
        raise Violation(f"seed {seed}: {exc!r}\nof {sorted(world.kinds)}:\n{story}\nrepeat with: {replay}") from exc
    finally:
        world.close()
        database.close()
    return world


def run_seeds(count: int, folder: Path, kinds: frozenset[str] = frozenset(), of: type[HarshWorld] = HarshWorld) -> None:
    """Several worlds, one after the other, with these kinds of faults besides those of every world."""
    for seed in range(count):
        run_seed(seed, folder / str(seed), kinds, of)


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, BATCH))
def test_no_fault_breaks_an_invariant(first: int, tmp_path: Path) -> None:
    for seed in range(first, min(first + BATCH, FIRST + SEEDS)):
        run_seed(seed, tmp_path / str(seed))


def test_all_kinds_of_faults_together_break_no_invariant_and_each_happens(tmp_path: Path) -> None:
    seen = Counter[str]()
    for seed in range(10_000, 10_004):
        seen += run_seed(seed, tmp_path / str(seed), frozenset(KINDS)).seen
    assert set(KINDS) <= set(seen), seen


def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    first, second = (run_seed(7, tmp_path / name, frozenset(KINDS)) for name in ("a", "b"))
    assert first.story == second.story
    assert first.elapsed_s == second.elapsed_s


def test_giving_work_away_before_the_lease_ends_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The simulation can fail: without the lease rule it sees a double run."""
    careful = repair.is_safe

    def careless(slot: Slot, snapshot: Snapshot, now: float) -> str | None:
        node = snapshot.node_by_id.get(slot.node_id)
        unheard = node is not None and node.state not in repair.HEARD_STATES
        return "it was not heard for a while" if unheard else careful(slot, snapshot, now)

    monkeypatch.setattr(repair, "is_safe", careless)
    with pytest.raises(Violation, match="double run"):
        run_seeds(20, tmp_path)


def test_believing_a_failure_too_soon_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Likewise without waiting for evidence whose fault a failure was: a lost node's job is given up."""

    def hasty(attempt: Attempt, _failed_at: float, _snapshot: Snapshot) -> EndAttempt:
        return EndAttempt(attempt.id, Outcome.FAILED, "it said so")

    monkeypatch.setattr(repair, "_whose_fault", hasty)
    with pytest.raises(Violation, match="should make it succeeded"):
        run_seeds(20, tmp_path)
