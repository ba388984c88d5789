"""What is deleted, and what never is: the last good one, one that is being restored, one that was proven."""

import itertools
import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from godwit.agents.checkpoints import commit, restore, retention
from godwit.agents.checkpoints.commit import Author, Order
from godwit.agents.checkpoints.restore import Place
from godwit.agents.checkpoints.retention import Keep
from godwit.agents.checkpoints.store import Store, StoreUnavailable
from godwit.domain.checkpoints import Manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NOW = 1_790_000_000.0
ROUNDS = itertools.count()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/store", {})


def put(store: Store, step: int, epoch: int = 1, *, single: bool = False) -> Manifest:
    made = store.local_path("").parent / f"made-{next(ROUNDS)}"
    entry = made / f"checkpoint-{step}"
    if single:
        made.mkdir()
        entry.write_text(f"state {step}")
    else:
        (entry / "deep").mkdir(parents=True)
        (entry / "deep" / "model.pt").write_text(f"state {step}")
        (entry / "rng").write_text("x")
    return commit.commit(store, Author("job-1", f"att-{epoch}", epoch), step, entry, NOW)


def files(store: Store) -> list[str]:
    root = store.local_path("")
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def break_one(store: Store, manifest: Manifest, how: str) -> None:
    path = store.local_path(posixpath.join(manifest.root, manifest.files[0].path))
    if how == "missing":
        path.unlink()
    else:
        path.write_text("rotten " if how == "flipped" else "x")


def test_each_that_goes_is_told_also_what_an_earlier_round_began(store: Store) -> None:
    for step in (1, 2, 3, 4):
        put(store, step)
    told: list[Order] = []
    name = commit.manifest_name((1, 1))
    text = store.read_text(f"manifests/{name}").decode()
    store.remove(f"manifests/{name}")
    store.write_text(f"deleting/{name}", text)
    assert retention.retain(store, 1, Keep(2), NOW, told.append) == [(1, 2)]
    assert told == [(1, 1), (1, 2)]
    assert store.names("data") == ["e1-s3", "e1-s4"]


@pytest.mark.parametrize("single", [False, True])
def test_the_newest_stay_and_nothing_is_left_of_the_others(store: Store, single: bool) -> None:
    for step in (1, 2, 3, 4, 5):
        put(store, step, single=single)
    assert retention.retain(store, 1, Keep(3), NOW) == [(1, 2), (1, 1)]
    assert commit.orders(store) == [(1, 5), (1, 4), (1, 3)]
    assert sorted(store.names("data")) == ["e1-s3", "e1-s4", "e1-s5"]
    assert store.names("deleting") == []
    before = files(store)
    assert retention.retain(store, 1, Keep(3), NOW) == []
    assert files(store) == before, "twice is once"


def test_with_fewer_than_wanted_nothing_is_deleted(store: Store) -> None:
    for step in (1, 2):
        put(store, step)
    assert retention.retain(store, 1, Keep(3), NOW) == []


@pytest.mark.parametrize("how", ["missing", "shorter"])
def test_the_damaged_do_not_count_and_the_last_good_one_stays(store: Store, how: str) -> None:
    put(store, 1)
    put(store, 2)
    for step in (3, 4):
        break_one(store, put(store, step), how)
    assert retention.retain(store, 1, Keep(1), NOW) == [(1, 1)]
    assert (1, 2) in commit.orders(store)


def test_what_only_looks_good_is_found_out_before_anything_is_deleted(store: Store) -> None:
    put(store, 1)
    break_one(store, put(store, 2), "flipped")
    assert retention.retain(store, 1, Keep(1), NOW) == []
    put(store, 3)
    assert retention.retain(store, 1, Keep(1), NOW) == [(1, 2), (1, 1)]


def test_what_was_proven_by_a_restore_stays(store: Store) -> None:
    for step in (1, 2, 3):
        put(store, step)
    put(store, 4, epoch=2)
    assert retention.retain(store, 2, Keep(1, frozenset({(1, 1)})), NOW) == [(1, 3), (1, 2)]
    assert commit.orders(store) == [(2, 4), (1, 1)]


def test_what_is_being_restored_stays(store: Store) -> None:
    for step in (1, 2, 3):
        put(store, step)
    retention.mark(store, 1, (1, 1), NOW)
    assert retention.retain(store, 1, Keep(1), NOW) == [(1, 2)]
    retention.unmark(store, 1)
    assert retention.retain(store, 1, Keep(1), NOW) == [(1, 1)]


def test_an_older_attempt_deletes_nothing_once_a_newer_one_looks_or_writes(store: Store) -> None:
    for step in (1, 2, 3):
        put(store, step)
    retention.mark(store, 2, None, NOW)
    assert retention.retain(store, 1, Keep(1), NOW) == []
    assert retention.retain(store, 1, Keep(1), NOW + retention.MARK_S + 1) != [], "a mark of a node that died lapses"
    put(store, 4)
    retention.unmark(store, 2)
    put(store, 9, epoch=2)
    assert retention.retain(store, 1, Keep(1), NOW) == []


def test_what_others_keep_house_for_is_left_alone(store: Store, tmp_path: Path) -> None:
    for step in (1, 2):
        entry = tmp_path / "ray" / f"checkpoint_{step}"
        entry.mkdir(parents=True)
        (entry / "x").write_text("x")
        store.upload(entry / "x", f"ray/e1/checkpoint_{step}/x", "")
        commit.commit_in_place(store, Author("job-1", "att-1", 1), step, store.join(f"ray/e1/checkpoint_{step}"), NOW)
    assert retention.retain(store, 1, Keep(1), NOW) == []
    store.remove_tree("ray/e1/checkpoint_1")
    assert retention.retain(store, 1, Keep(1), NOW) == [(1, 1)], "it is gone: nothing but the manifest was left"


def test_uploads_that_broke_off_are_swept_once_they_are_old(store: Store) -> None:
    for step in (2, 3, 4):
        put(store, step)
    lost = store.local_path("").parent / "lost"
    lost.write_text("x")
    for name in ("e1-s1", "e1-s2-2", "e1-s9"):
        store.upload(lost, f"data/{name}/checkpoint/x", "")
    retention.retain(store, 1, Keep(2), NOW)
    assert sorted(store.names("data")) == ["e1-s3", "e1-s4", "e1-s9"]


class Dying:
    """A store whose writer dies at the n-th change."""

    def __init__(self, store: Store, lives: int) -> None:
        self._store, self._lives = store, lives

    def __getattr__(self, name: str) -> object:
        found = getattr(self._store, name)
        if name not in ("remove", "remove_tree", "write_text"):
            return found

        def change(*args: object) -> object:
            if not self._lives:
                raise StoreUnavailable("it died here")
            self._lives -= 1
            return found(*args)

        return change


def dying_stores(make: Callable[[], Store]) -> Iterator[tuple[Store, Store]]:
    """Stores whose writers die at the first, second, ... change, until one lives through it."""
    for lives in range(100):
        store = make()
        yield store, Dying(store, lives)  # type: ignore[misc]


def test_whoever_dies_at_any_step_leaves_what_stays_and_the_next_round_finishes(tmp_path: Path) -> None:
    rounds = itertools.count()
    died = 0

    def make() -> Store:
        store = Store(f"file://{tmp_path}/{next(rounds)}/store", {})
        for step in (2, 3, 4):
            put(store, step)
        return store

    for store, dying in dying_stores(make):
        try:
            retention.retain(dying, 1, Keep(2), NOW)
        except StoreUnavailable:
            died += 1
            assert {(1, 3), (1, 4)} <= set(commit.orders(store))
            assert all(retention.is_listed(store, commit.read(store, order)) for order in commit.orders(store)), (
                "what has a manifest has its files"
            )
            retention.retain(store, 1, Keep(2), NOW)
            assert commit.orders(store) == [(1, 4), (1, 3)]
            assert sorted(store.names("data")) == ["e1-s3", "e1-s4"]
            assert store.names("deleting") == []
        else:
            break
    assert died >= 5


steps_and_damage = st.lists(
    st.tuples(st.integers(1, 2), st.integers(1, 6), st.sampled_from(["", "", "missing", "shorter", "flipped"])),
    max_size=7,
    unique_by=lambda one: one[:2],
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps_and_damage, st.integers(1, 3))
def test_whatever_is_damaged_what_could_be_restored_can_be_restored_afterwards(
    tmp_path: Path, made: list[tuple[int, int, str]], count: int
) -> None:
    root = tmp_path / f"round-{next(ROUNDS)}"
    store = Store(f"file://{root}/store", {})
    for epoch, step, how in made:
        manifest = put(store, step, epoch)
        if how:
            break_one(store, manifest, how)
    before = restored(store, root / "before")
    retention.retain(store, 2, Keep(count), NOW)
    assert restored(store, root / "after") == before


def restored(store: Store, target: Path) -> Order | None:
    target.mkdir(parents=True)
    found = restore.newest([Place("the store", store, needed=True)], 9, target).found
    return None if found is None else found.manifest.order
