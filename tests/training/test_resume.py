"""A run that was stopped and repeated ends bit for bit where an undisturbed one does."""

import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from alexnet.config.identity import NUMERICS
from alexnet.data.pack.prepare import open_data
from alexnet.errors import UserError
from alexnet.runs.result import GitState, read_result
from alexnet.runs.study_plan import Plan
from alexnet.training.checkpoints import checkpoint_to_resume, sealed
from alexnet.training.history import EpochRecord, History
from alexnet.training.module import AlexNetModule
from tests.training.conftest import MakeJob, assert_same_training, checkpoint, epochs, execute

FIXED = ("schedule.epochs=3", "schedule.milestones=[1,2]")
PLATEAU = (
    "schedule=plateau",
    "schedule.epochs=9",
    "schedule.milestones=[]",
    "schedule.patience=1",
    "schedule.max_lr_drops=2",
)


@pytest.fixture(scope="module")
def undisturbed(tiny: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The directory of a run that nothing stopped, by its overrides."""
    done: dict[tuple[str, ...], Path] = {}

    def run(*overrides: str) -> Path:
        if overrides not in done:
            done[overrides] = tmp_path_factory.mktemp("undisturbed")
            result, _ = execute(tiny(*overrides), done[overrides])
            assert result.training is not None and len(result.training.rate_drops) == 2  # worth crossing
        return done[overrides]

    return run


def stop_in(hook: str, epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C arrive once, in a hook of the module, in an epoch."""
    original = getattr(AlexNetModule, hook)

    def interrupted(module: AlexNetModule, *arguments: object) -> object:
        output = original(module, *arguments)
        if module.current_epoch == epoch and (hook != "training_step" or arguments[1] == 2):
            monkeypatch.setattr(AlexNetModule, hook, original)
            raise KeyboardInterrupt
        return output

    monkeypatch.setattr(AlexNetModule, hook, interrupted)


@pytest.mark.parametrize(
    ("schedule", "hook", "epoch", "kept"),
    [
        (FIXED, "training_step", 1, 1),
        (FIXED, "training_step", 0, 0),
        (PLATEAU, "validation_step", 2, 2),
        pytest.param(FIXED, "validation_step", 2, 2, marks=pytest.mark.slow),
        pytest.param(PLATEAU, "training_step", 1, 1, marks=pytest.mark.slow),
    ],
    ids=["in training", "in the first epoch", "in validation", "before a fixed drop", "before a plateau"],
)
def test_interrupt_at_once_and_repeat_ends_as_undisturbed(
    tiny: MakeJob,
    undisturbed: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schedule: tuple[str, ...],
    hook: str,
    epoch: int,
    kept: int,
) -> None:
    stop_in(hook, epoch, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        execute(tiny(*schedule), tmp_path)
    stopped = read_result(tmp_path)
    assert stopped.status == "interrupted" and stopped.message == "interrupted by Ctrl-C"
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert (checkpoint(tmp_path)["epoch"] + 1 if last.exists() else 0) == kept
    expected = undisturbed(*schedule)
    _, screen = execute(tiny(*schedule), tmp_path)
    assert screen.count("val error") == len(epochs(expected)) - 1 - kept  # only what was lost is done again
    assert_same_training(tmp_path, expected)
    assert read_result(tmp_path).status == "finished"


def test_a_run_that_is_stopped_while_it_opens_its_loggers_says_so(
    tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alexnet.training.tracking.start", stop)
    with pytest.raises(KeyboardInterrupt):
        execute(tiny(*FIXED), tmp_path)
    assert read_result(tmp_path).status == "interrupted"
    assert read_result(tmp_path).message == "interrupted by Ctrl-C"


@pytest.mark.parametrize("schedule", [pytest.param(FIXED, marks=pytest.mark.slow), PLATEAU], ids=["epochs", "plateau"])
def test_a_run_stopped_between_its_last_epoch_and_its_result(
    tiny: MakeJob,
    undisturbed: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schedule: tuple[str, ...],
) -> None:
    expected = undisturbed(*schedule)
    with monkeypatch.context() as patch:
        patch.setattr(AlexNetModule, "on_test_start", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(tiny(*schedule), tmp_path)
    assert epochs(tmp_path) == epochs(expected) and not (tmp_path / "predictions.npz").exists()
    result, screen = execute(tiny(*schedule), tmp_path)
    assert "epoch " not in screen
    assert result.training is not None and result.training.epochs == len(epochs(expected)) - 1
    assert_same_training(tmp_path, expected)


def _interrupt(_: AlexNetModule) -> None:
    raise KeyboardInterrupt


def test_a_run_with_no_epoch_left_keeps_its_curves_and_its_best_checkpoint(
    tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny("schedule.epochs=1", "schedule.milestones=[]", "logger=csv")
    with monkeypatch.context() as patch:
        patch.setattr(AlexNetModule, "on_test_start", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(job, tmp_path)
    curves, best = (tmp_path / "metrics.csv", tmp_path / "csv" / "metrics.csv"), tmp_path / "checkpoints" / "best.ckpt"
    before = [file.read_text() for file in curves]
    best.unlink()  # as if killed before it was written
    curves[0].write_text("damaged")
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    training = execute(job, moved)[0].training
    assert training is not None and training.device_hours and training.energy.source
    assert [(moved / file.relative_to(tmp_path)).read_text() for file in curves] == before
    assert (moved / "checkpoints" / "best.ckpt").samefile(moved / "checkpoints" / "last.ckpt")


def test_the_plateau_schedule_drops_and_ends_by_itself(undisturbed: Callable[..., Path]) -> None:
    directory = undisturbed(*PLATEAU)
    rows = epochs(directory)[1:]
    rates = [float(row[2]) for row in rows]
    assert sorted(set(rates), reverse=True) == pytest.approx([1e-2, 1e-3, 1e-4])
    assert 4 <= len(rows) < 9  # ended by its plateaus, not by the limit
    errors = [float(row[7]) for row in rows]
    assert errors[-1] >= min(errors[:-1])


@pytest.fixture(scope="module")
def interrupted(tiny: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was stopped in its second epoch. Not to be changed."""
    directory = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_in("training_step", 1, patch)
        execute(tiny(*FIXED), directory)
    return directory


@pytest.fixture
def stopped(interrupted: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(interrupted, tmp_path / "stopped")


def test_other_images_under_a_checkpoint_are_refused(tiny: MakeJob, stopped: Path) -> None:
    before = (stopped / "checkpoints" / "last.ckpt").read_bytes()
    job = tiny(*FIXED)
    with pytest.raises(UserError, match=r"trained on other images.*restart=true"):
        execute(replace(job, config=tiny(*FIXED, "data.shapes.seed=1").config), stopped)
    assert (stopped / "checkpoints" / "last.ckpt").read_bytes() == before
    assert read_result(stopped).status == "failed"


def test_what_computed_a_part_of_a_run_is_a_fact_of_its_result(
    tiny: MakeJob, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint(stopped)["alexnet"]["threads"]
    other = (f"hardware.threads={before % 2 + 1}", "hardware.precision=bf16-mixed")
    plan = Plan(name="p", overrides=(), ablations=("no_lrn",))
    replace(read_result(stopped), plan=plan).write(stopped)
    saved, code = checkpoint(stopped), GitState(revision="a", dirty=True)
    saved["alexnet"]["facts"]["git"] = asdict(code)
    (stopped / "checkpoints" / "last.ckpt").write_bytes(sealed(saved).getvalue())
    monkeypatch.setattr("alexnet.training.run.git_state", lambda: (GitState(revision="b", dirty=False), ""))
    stop_in("validation_step", 2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        execute(tiny(*FIXED, *other), stopped)
    result, _ = execute(tiny(*FIXED, *other), stopped)  # from the checkpoint of the second part
    assert result.precision == "partly 32-true, partly bf16-mixed"
    parts = sorted(f"partly {threads}" for threads in (before, before % 2 + 1))
    assert result.environment["threads"] == ", ".join(parts)
    assert "partly" not in result.environment["cpu"]
    settings = {"compile": "false", "accumulate_grad_batches": "1"}
    assert settings.items() <= result.environment.items()  # they change the last bits
    assert result.git == replace(code, revision="partly a, partly b")
    assert result.plan == plan  # of the first part: the commands of the others do not name it


@pytest.mark.parametrize("file", ["result.json", "checkpoints/last.ckpt"])
def test_a_directory_of_another_run_is_refused(tiny: MakeJob, stopped: Path, file: str) -> None:
    if file != "result.json":
        (stopped / "result.json").unlink()
    held = (stopped / file).read_bytes()
    other = ("restart=true", "restart=false") if file == "result.json" else ("restart=false",)
    for restart in other:
        with pytest.raises(UserError, match=rf"{file} is of another run, .*seed0.*\(identity .*\), not of .*seed1-"):
            execute(tiny(*FIXED, "seed=1", restart), stopped)
        assert (stopped / file).read_bytes() == held


def test_a_checkpoint_of_other_numerics_is_not_resumed(
    tiny: MakeJob, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexnet.training.checkpoints.NUMERICS", NUMERICS + 1)
    with pytest.raises(UserError, match=rf"NUMERICS {NUMERICS}, .* NUMERICS {NUMERICS + 1}; .*restart=true"):
        execute(tiny(*FIXED), stopped)


@pytest.mark.parametrize("change", ["more", "less", "none"])
def test_a_checkpoint_of_a_version_that_keeps_something_else_is_not_resumed(
    tiny: MakeJob, stopped: Path, change: str
) -> None:
    saved = checkpoint(stopped)
    history = saved["callbacks"].pop("History")
    for record in history["records"]:
        record |= {"newer": 1.0} if change == "more" else {}
        record.pop("rate" if change == "less" else "older", None)
    saved["callbacks"] |= {"History": history} if change != "none" else {}
    (stopped / "checkpoints" / "last.ckpt").write_bytes(sealed(saved).getvalue())
    with pytest.raises(UserError, match=r"last\.ckpt is of another version .*; start over with restart=true"):
        execute(tiny(*FIXED), stopped)


def test_a_checkpoint_without_a_weight_is_one_line(tiny: MakeJob, stopped: Path) -> None:
    saved = checkpoint(stopped)
    del saved["state_dict"]["net.conv2.weight"]
    (stopped / "checkpoints" / "last.ckpt").write_bytes(sealed(saved).getvalue())
    with pytest.raises(UserError, match=r"last\.ckpt: missing.*: net\.conv2\.weight; start over with restart=true"):
        execute(tiny(*FIXED), stopped)


def test_a_changed_checkpoint_is_not_resumed(tiny: MakeJob, stopped: Path) -> None:
    """Its weights may be those of the run, and the rest not: no result would say so."""
    saved = checkpoint(stopped)
    saved["optimizer_states"][0]["param_groups"][0]["weight_decay"] = 0.0
    torch.save(saved, stopped / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt is of another version .* or has been changed; start over with"):
        execute(tiny(*FIXED), stopped)


def test_a_damaged_checkpoint_is_one_line(tiny: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"half a check")
    with pytest.raises(UserError, match=r"last\.ckpt.*restart=true"):
        execute(tiny(*FIXED), tmp_path)


def test_the_records_are_part_of_the_checkpoint(undisturbed: Callable[..., Path], tmp_path: Path) -> None:
    saved = checkpoint(undisturbed(*FIXED))
    (kept,) = [entry for entry in saved["callbacks"].values() if "records" in entry]
    history = History(tmp_path)
    history.load_state_dict(kept)
    assert [record.epoch for record in history.records] == [0, 1, 2]
    assert history.schedule_errors == [record.val_top1_error for record in history.records]
    assert history.state_dict() == kept
    # Without validation images the schedule judges training.
    bare = [record | {"val_top1_error": None} for record in kept["records"]]
    history.load_state_dict(kept | {"records": bare})
    assert history.schedule_errors == [record["train_top1_error"] for record in bare]


def test_the_best_checkpoint_is_that_of_the_lowest_validation_error(
    tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a run was killed after it had written the last one, or stopped in the middle of the next epoch."""
    errors = iter([90.0, 80.0, 80.0, 85.0])
    original = EpochRecord.__init__

    def judged(record: EpochRecord, **values: Any) -> None:
        original(record, **(values | {"val_top1_error": next(errors)}))

    best = tmp_path / "checkpoints" / "best.ckpt"
    monkeypatch.setattr(EpochRecord, "__init__", judged)
    stop_in("training_step", 2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        execute(tiny("schedule.epochs=4", "schedule.milestones=[]"), tmp_path)
    assert torch.load(best, weights_only=True)["epoch"] == 1
    best.unlink()
    monkeypatch.setattr(EpochRecord, "__init__", original)
    monkeypatch.setattr(History, "load_state_dict", _then(History.load_state_dict, EpochRecord, judged, monkeypatch))
    execute(tiny("schedule.epochs=4", "schedule.milestones=[]"), tmp_path)
    assert torch.load(best, weights_only=True)["epoch"] == 1


def _then(
    load: Callable[..., None], record: type, init: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Load a state with the records as they are, then judge those to come."""

    def loading(history: History, state: dict[str, Any]) -> None:
        load(history, state)
        monkeypatch.setattr(record, "__init__", init)

    return loading


def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(
    tiny: MakeJob, undisturbed: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in("training_step", 2, monkeypatch)
    job = tiny(*FIXED)
    with pytest.raises(KeyboardInterrupt):
        execute(job, tmp_path)
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    last, previous = (tmp_path / "checkpoints" / f"{name}.ckpt" for name in ("last", "previous"))
    content = last.read_bytes()
    middle = len(content) // 2
    damaged = (b"", content[:middle], None, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    assert torch.load(previous, weights_only=True)["epoch"] == 0
    for damage in damaged:
        last.unlink(missing_ok=True)  # the best checkpoint may be the same file
        if damage is not None:
            last.write_bytes(damage)
        assert checkpoint_to_resume(job, tmp_path, pack, Console(quiet=True))[0] == previous
    _, screen = execute(job, tmp_path)
    assert re.search(r"last\.ckpt: damaged.*; continuing from previous\.ckpt\n", screen)
    assert screen.count("epoch ") == 2
    assert_same_training(tmp_path, undisturbed(*FIXED))


@pytest.mark.parametrize("name", ["checkpoints/previous.ckpt", "predictions.npz"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_training(tiny: MakeJob, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=rf"{name}: a folder lies in the place of a file; move it away"):
        execute(tiny(*FIXED), tmp_path)


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/last.ckpt", "wandb"])
def test_a_link_in_a_run_directory_is_refused(tiny: MakeJob, tmp_path: Path, name: str) -> None:
    elsewhere, place = tmp_path / "elsewhere", tmp_path / "run" / name
    elsewhere.mkdir()
    (elsewhere / "last.ckpt").write_bytes(b"precious")
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere / "last.ckpt" if name.endswith("ckpt") else elsewhere)
    with pytest.raises(UserError, match=rf"{name}: a symbolic link, which is not followed"):
        execute(tiny(*FIXED), tmp_path / "run")
    assert [(file.name, file.read_bytes()) for file in elsewhere.iterdir()] == [("last.ckpt", b"precious")]
