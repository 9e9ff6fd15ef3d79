"""How many updates are one turn of Lightning's loop changes no number."""

from pathlib import Path

import lightning as L
import pytest

from alexnet.training import module
from alexnet.training.history import History
from tests.training.conftest import MakeJob, assert_same_training, checkpoint, execute


@pytest.mark.parametrize(("long_enough", "turns"), [(0.0, [1, 2, 3, 4] * 2), (1e9, [1, 3, 4, 4])])
def test_turns_of_one_update_and_of_many(
    tiny: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    long_enough: float,
    turns: list[int],
) -> None:
    """Four updates an epoch, two epochs; turns double, and end with the epoch."""
    execute(tiny(), tmp_path / "usual")
    seen: list[int] = []
    original = History.on_train_batch_end

    def counted(self: History, trainer: L.Trainer, *arguments: object) -> None:
        seen.append(trainer.fit_loop.batch_idx + 1)
        original(self, trainer, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "LONG_ENOUGH", long_enough)
    monkeypatch.setattr(History, "on_train_batch_end", counted)
    execute(tiny(), tmp_path / "other")
    assert seen == turns
    assert checkpoint(tmp_path / "other")["global_step"] == 8
    assert_same_training(tmp_path / "usual", tmp_path / "other")
