"""One line for the trainers that people use; light stand-ins call the glue as they do."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from godwit.sdk import checkpoint


class StandIn(ModuleType):
    """A package with one class in it."""

    def __init__(self, name: str, **classes: type) -> None:
        super().__init__(name)
        self.__dict__.update(classes)
        self.__path__ = []


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of the helper beside packages that are not installed."""
    base = type("Base", (), {})
    packages = {
        "transformers": StandIn("transformers", TrainerCallback=base),
        "lightning": StandIn("lightning"),
        "lightning.pytorch": StandIn("lightning.pytorch"),
        "lightning.pytorch.callbacks": StandIn("lightning.pytorch.callbacks", Callback=base),
    }
    for name, module in packages.items():
        monkeypatch.setitem(sys.modules, name, module)
    yield lambda name: import_module(f"godwit.sdk.{name}")
    for name in ("huggingface", "lightning"):
        sys.modules.pop(f"godwit.sdk.{name}", None)


def train_with_huggingface(callback: Any, output: Path, steps: int) -> SimpleNamespace:
    """What `Trainer._inner_training_loop` does with callbacks after each step (transformers 5)."""
    args = SimpleNamespace(output_dir=str(output))
    state = SimpleNamespace(global_step=0, max_steps=steps, is_world_process_zero=True)
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    while state.global_step < steps and not control.should_training_stop:
        state.global_step += 1
        control = callback.on_step_end(args, state, control, model=None)
        callback.on_log(args, state, control, logs={"loss": 1 / state.global_step, "note": "words"})
        if control.should_save:
            folder = output / f"checkpoint-{state.global_step}"
            folder.mkdir(parents=True)
            (folder / "trainer_state.json").write_text(str(state.global_step))
            control.should_save = False
            callback.on_save(args, state, control)
    return state


def test_the_trainer_of_hugging_face_saves_when_due_and_what_it_saves_is_taken_in(
    glue: Any, in_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = glue("huggingface")
    assert module.resume() is None
    monkeypatch.setattr(checkpoint, "due", lambda step: step in (3, 6))
    train_with_huggingface(module.Callback(), tmp_path / "output", 8)
    assert sorted(path.name for path in checkpoint.directory().iterdir()) == ["checkpoint-3", "checkpoint-6"]
    assert (Path(module.resume()) / "trainer_state.json").read_text() == "6"
    assert len(list((in_job / "saves").iterdir())) == 2
    assert '"step": 8, "total_steps": 8, "metrics": {"loss": 0.125}' in (in_job / "progress.jsonl").read_text()


def test_the_trainer_of_hugging_face_saves_and_ends_when_told_to_stop(glue: Any, in_job: Path, tmp_path: Path) -> None:
    (in_job / "notice").write_text("{}")
    state = train_with_huggingface(glue("huggingface").Callback(), tmp_path / "output", 8)
    assert state.global_step == 1
    assert [path.name for path in checkpoint.directory().iterdir()] == ["checkpoint-1"]


class LightningTrainer:
    """The part of Lightning's Trainer that the callback uses (lightning 2)."""

    def __init__(self, world_size: int = 1, *, is_global_zero: bool = True) -> None:
        self.global_step, self.should_stop = 0, False
        self.world_size, self.is_global_zero = world_size, is_global_zero
        self.estimated_stepping_batches = 10
        self.callback_metrics = {"loss": 0.5, "text": "words"}
        self.strategy = self

    def broadcast(self, verdict: Any, src: int) -> Any:
        assert src == 0
        return verdict

    def barrier(self, name: str) -> None:
        assert name

    def save_checkpoint(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(str(self.global_step))

    def fit(self, callback: Any) -> None:
        while self.global_step < 10 and not self.should_stop:
            self.global_step += 1
            callback.on_train_batch_end(self, None, None, None, self.global_step)


@pytest.mark.parametrize("world_size", [1, 2])
def test_lightning_saves_and_ends_when_told_to_stop(glue: Any, in_job: Path, world_size: int) -> None:
    module = glue("lightning")
    assert module.resume() is None
    (in_job / "notice").write_text("{}")
    trainer = LightningTrainer(world_size)
    trainer.fit(module.Callback())
    assert trainer.global_step == 1
    assert Path(module.resume()).read_text() == "1"
    assert '"total_steps": 10, "metrics": {"loss": 0.5}' in (in_job / "progress.jsonl").read_text()


def test_lightning_without_notice_trains_to_its_end(glue: Any, in_job: Path) -> None:
    trainer = LightningTrainer()
    trainer.fit(glue("lightning").Callback())
    assert trainer.global_step == 10
    assert list(checkpoint.directory().iterdir()) == []
