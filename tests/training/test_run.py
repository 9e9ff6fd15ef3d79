"""A whole run, from its job to the files that it leaves."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import Callback

from alexnet.commands.train import do
from alexnet.config.compose import validate
from alexnet.data.augment import Augmenter, CropGeometry
from alexnet.data.pack.prepare import open_data, prepare
from alexnet.errors import UserError
from alexnet.evaluation import first_layer, probabilities
from alexnet.net.alexnet import AlexNet
from alexnet.runs.arrays import read_first_layer
from alexnet.runs.directory import LOCK_FILE
from alexnet.runs.result import Result, read_result
from alexnet.terminal import Terminal
from alexnet.training.module import AlexNetModule
from tests.conftest import Compose, checked
from tests.data.samples import class_folders
from tests.test_files import HOLD
from tests.training.conftest import (
    FEW,
    NARROW,
    Finished,
    MakeJob,
    assert_same_training,
    checkpoint,
    epochs,
    execute,
    state,
)


def files(directory: Path) -> dict[str, int]:
    """When each file was last written."""
    return {str(file): file.stat().st_mtime_ns for file in directory.rglob("*") if file.is_file()}


def test_it_leaves_what_it_promises(finished: Finished, tiny: MakeJob) -> None:
    directory, result, screen = finished
    names = {str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file()}
    assert names - {"uncommitted.patch"} == {
        ".lock",
        "config.yaml",
        "packages.txt",
        "result.json",
        "predictions.npz",
        "probabilities.npz",
        "first_layer.npz",
        "metrics.csv",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
    }
    assert yaml.safe_load((directory / "config.yaml").read_text()) == tiny().tree
    assert read_result(directory) == result
    assert "Traceback" not in screen and screen.count("val error") == 2


def test_probabilities_of_all_classes_are_kept_where_they_are_small(
    tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 classes for 20 validation and 40 test images, two views, 4 bytes each; `finished` has written them."""
    job, needed = tiny("schedule.epochs=1", "schedule.milestones=[]"), 20 * (20 + 40) * 2 * 4
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    monkeypatch.setattr("alexnet.training.module.KEPT_BYTES", needed)
    assert AlexNetModule(job.config, job.tree, pack).predictions.keep_probabilities
    monkeypatch.setattr("alexnet.training.module.KEPT_BYTES", needed - 1)
    (tmp_path / "probabilities.npz").write_bytes(b"of the net in training, by alexnet evaluate")
    execute(job, tmp_path)
    assert not (tmp_path / "probabilities.npz").exists()


def test_the_result_says_what_ran(finished: Finished, tiny: MakeJob) -> None:
    directory, result, _ = finished
    assert (result.status, result.message, result.run) == ("finished", None, directory.name)
    assert (result.ablation, result.recipe, result.experiment, result.seed) == ("baseline", "paper", "demo", 0)
    assert result.pairing_key == tiny().pairing_key and result.changes == {} and result.claims == {}
    assert result.data.images == {"train": 60, "val": 20, "test": 40} and result.data.classes == 20
    assert result.training is not None
    assert (result.training.epochs, result.training.steps) == (2, 8)
    assert result.training.device_hours is not None and result.training.energy is not None
    assert 0.9 * result.training.seconds < 3600 * result.training.device_hours < 60
    assert [asdict(drop) for drop in result.training.rate_drops] == [{"epoch": 1, "rate": pytest.approx(0.001)}]
    assert result.parameters == sum(
        value.numel() for key, value in checkpoint(directory)["state_dict"].items() if key.startswith("net.")
    )
    assert result.versions["torch"] == torch.__version__.split("+")[0] and result.device.startswith("cpu")


def test_the_errors_follow_from_the_predictions(finished: Finished) -> None:
    directory, result, _ = finished
    with np.load(directory / "predictions.npz") as predictions:
        for split, images in (("val", 20), ("test", 40)):
            labels = predictions[f"{split}/labels"]
            assert np.bincount(labels).tolist() == [images // 20] * 20
            for view in ("center", "ten_crop"):
                classes = predictions[f"{split}/{view}/top5_classes"]
                shown = result.errors[split][view]
                assert shown.images == images == len(classes)
                assert shown.top1 == sum(classes[:, 0] != labels) / images
                assert shown.top5 == sum(label not in row for label, row in zip(labels, classes, strict=True)) / images


def test_there_is_a_row_per_epoch(finished: Finished) -> None:
    directory, result, _ = finished
    with (directory / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "4"), ("1", "8")]
    assert [float(row["rate"]) for row in rows] == pytest.approx([0.01, 0.001])
    for row in rows:
        assert 0 < float(row["train_loss"]) < 10 and 0 < float(row["val_loss"]) < 10
        for split, images in (("train", 60), ("val", 20)):
            for top in ("top1", "top5"):  # whole images, in percent
                wrong = float(row[f"{split}_{top}_error"]) * images / 100
                assert wrong == pytest.approx(round(wrong), abs=1e-9)
        assert float(row["images_per_second"]) * float(row["seconds"]) == pytest.approx(60)
    # The last epoch's validation and the final centre crop are one network on one set of images.
    assert float(rows[-1]["val_top1_error"]) == pytest.approx(100 * result.errors["val"]["center"].top1)


def test_the_checkpoint_rebuilds_the_network_that_predicted(finished: Finished) -> None:
    directory, _, _ = finished
    saved = checkpoint(directory)
    config = validate(saved["alexnet"]["config"])
    pack = open_data(config.data, config.scale.image_size, show_progress=False)
    assert saved["alexnet"]["class_names"] == pack.class_names
    assert saved["alexnet"]["data_fingerprint"] == pack.fingerprint
    weights = {key.removeprefix("net."): w for key, w in saved["state_dict"].items() if key.startswith("net.")}
    net = AlexNet(config, num_classes=20, seed=99)
    net.load_state_dict(weights)
    net.eval()
    geometry = CropGeometry(image_size=config.scale.image_size, crop_size=config.scale.crop_size)
    augmenter = Augmenter(pack.statistics, geometry, crops=config.crops, color=config.color)
    with torch.no_grad():
        images = torch.from_numpy(pack.splits["test"].gather(np.arange(40)))
        seen = probabilities(net, augmenter, images)
    with np.load(directory / "predictions.npz") as predictions:
        for view, scores in seen.items():
            top = scores.topk(5, dim=1)
            np.testing.assert_allclose(
                top.values.numpy(), predictions[f"test/{view}/top5_probabilities"], rtol=1e-4, atol=1e-6
            )
    untrained = AlexNet(config, num_classes=20, seed=0).state_dict()
    assert all(not torch.equal(value, weights[key]) for key, value in untrained.items())


def test_the_first_layer_is_the_one_in_the_checkpoint(finished: Finished) -> None:
    directory, _, _ = finished
    layer = read_first_layer(directory)
    assert layer.columns == 2
    np.testing.assert_array_equal(layer.kernels, checkpoint(directory)["state_dict"]["net.conv1.weight"].numpy())


@pytest.mark.parametrize(
    ("change", "first", "columns"), [("columns.kind=one", "conv1", 1), ("depth.remove=[1]", "conv2", 2)]
)
def test_the_first_layer_of_other_nets(compose: Compose, change: str, first: str, columns: int) -> None:
    net = AlexNet(compose(change), num_classes=20, seed=0)
    layer = first_layer(net)
    assert layer.columns == columns
    np.testing.assert_array_equal(layer.kernels, net.get_parameter(f"{first}.weight").detach().numpy())


def test_a_result_that_names_another_seed_is_not_shown(finished: Finished, tiny: MakeJob, tmp_path: Path) -> None:
    directory = tmp_path / "copy"
    shutil.copytree(finished[0], directory)
    replace(read_result(directory), seed=7).write(directory)
    with pytest.raises(UserError, match=r"result.json is of another run, .*-seed7.* not of .*-seed0-"):
        execute(tiny(), directory)


def test_a_pack_of_training_images_alone_is_refused_before_training(tmp_path: Path) -> None:
    prepare(class_folders(tmp_path / "images", splits=("",)), tmp_path / "pack", size=32, val_fraction=0, workers=1)
    few = [one for one in (*NARROW, *FEW) if "shapes" not in one]
    with pytest.raises(UserError, match="none to count errors on: prepare it with --val-fraction"):
        execute(checked(*few, "data=folder", f"data.root={tmp_path / 'pack'}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_not_repeated(finished: Finished, tiny: MakeJob, tmp_path: Path) -> None:
    directory, result, _ = finished
    before, shown = files(directory), StringIO()
    assert do(tiny(), directory, Terminal(file=shown, width=120)) == result
    assert "already finished" in shown.getvalue() and "epoch " not in shown.getvalue()
    assert files(directory) == before
    again, screen = execute(tiny(), directory)  # as where another process has finished it in the meantime
    assert again == result and "already finished" in screen and "epoch " not in screen
    assert result.precision == "32-true" and " at precision" not in screen
    _, screen = execute(tiny("hardware.precision=bf16-mixed"), directory)
    assert f"already finished in {directory} at precision 32-true, not bf16-mixed (restart=true" in screen
    prepare(class_folders(tmp_path / "images"), tmp_path / "pack", size=32, workers=1)
    config = tiny().config
    rebuilt = replace(tiny(), config=replace(config, data=replace(config.data, root=str(tmp_path / "pack"))))
    assert do(rebuilt, directory, Terminal(file=shown, width=120)) == result
    assert shown.getvalue().count("it saw other images than data.root=") == 1


def test_fresh_starts_over_and_one_seed_is_one_result(finished: Finished, tiny: MakeJob, tmp_path: Path) -> None:
    directory, result, _ = finished
    other = tmp_path / "again"
    (other / "checkpoints").mkdir(parents=True)
    (other / "checkpoints" / "last.ckpt").write_bytes(b"of another attempt")
    (other / "result.json").write_text(json.dumps(asdict(result)))
    leftovers = [other / name for name in ("csv/metrics.csv", "profile/fit.txt", "stacks.txt", "1.stacks.txt")]
    for file in leftovers:
        file.parent.mkdir(exist_ok=True)
        file.write_text("of another attempt")
    L.seed_everything(2, verbose=False)  # masks follow from the seed and the step alone, whatever torch has drawn
    again, screen = execute(tiny("restart=true"), other)
    assert not any(file.exists() for file in leftovers)
    assert screen.count("val error") == 2
    assert_same_training(directory, other)
    # What may differ between two runs of one seed: their names, commands and times.
    assert again.training is not None and result.training is not None
    times: dict[str, Any] = {"seconds": 0.0, "images_per_second": 0.0, "device_hours": None, "energy": None}
    mine, theirs = (
        replace(one, run="", command="", training=replace(one.training, **times)) for one in (again, result)
    )
    assert mine == theirs


def test_another_seed_is_another_run(finished: Finished, tiny: MakeJob, tmp_path: Path) -> None:
    directory, _, _ = finished
    result, _ = execute(tiny("seed=1", "schedule.epochs=1", "schedule.milestones=[]"), tmp_path / "seed1")
    one, other = state(directory), state(tmp_path / "seed1")
    assert not any(torch.equal(one[key], other[key]) for key in one if key.startswith("net.") and "weight" in key)
    assert epochs(directory)[1] != epochs(tmp_path / "seed1")[1] and result.seed == 1


def test_an_ablation_s_result_holds_its_change_and_claim(finished: Finished, tiny: MakeJob, tmp_path: Path) -> None:
    result, _ = execute(tiny("+ablation=no_lrn"), tmp_path / "no_lrn")
    assert result.ablation == "no_lrn" and result.changes == {"lrn.layers": ([1, 2], [])}
    assert result.pairing_key == finished[1].pairing_key and result.data == finished[1].data
    claim = result.claims["no_lrn"]
    assert (claim.section, claim.paper.top1, claim.paper.top5, claim.log.top1) == ("3.3", 1.4, 1.2, 1.37)
    assert result.parameters == finished[1].parameters
    assert read_result(tmp_path / "no_lrn") == result


def test_a_run_that_diverges_says_so(tiny: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"diverged in epoch 1.*optimizer\.lr"):
        execute(tiny("optimizer.lr=1e9"), tmp_path)
    result = read_result(tmp_path)
    assert result.status == "failed" and result.message is not None and "diverged" in result.message
    assert result.errors == {} and not (tmp_path / "predictions.npz").exists()


def test_the_result_says_that_a_run_is_unfinished_until_a_failure_of_the_program_is_written_down(
    tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Result] = []

    def look(*_: object) -> None:
        seen.append(read_result(tmp_path))

    def fail(*_: object) -> None:
        raise OSError("disk full\nand more")

    monkeypatch.setattr(Callback, "on_fit_start", look)
    monkeypatch.setattr("alexnet.training.fit.write_predictions", fail)
    with pytest.raises(OSError, match="disk full"):
        execute(tiny("schedule.epochs=1", "schedule.milestones=[]"), tmp_path)
    assert seen and {result.status for result in seen} == {"interrupted"}
    assert all(result.message and "repeat the command" in result.message for result in seen)
    result = read_result(tmp_path)
    assert (result.status, result.message) == ("failed", "OSError: disk full")


def test_plateau_needs_validation_images(tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tiny("schedule=plateau", "schedule.milestones=[]")
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    bare = replace(pack, splits={name: split for name, split in pack.splits.items() if name != "val"})
    monkeypatch.setattr("alexnet.training.fit.open_data", lambda *_, **__: bare)
    with pytest.raises(UserError, match="schedule=log_2012"):
        execute(job, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    result, screen = execute(tiny("schedule.epochs=1", "schedule.milestones=[]"), tmp_path / "fixed")
    assert set(result.errors) == {"test"} and "val error -" in screen
    assert epochs(tmp_path / "fixed")[1][6:] == ["", "", "", ""]
    assert not (tmp_path / "fixed" / "checkpoints" / "best.ckpt").exists()


def test_no_gpu_is_one_line(tiny: MakeJob, tmp_path: Path) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=r"hardware\.accelerator=gpu"):
        execute(tiny("hardware.accelerator=gpu"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_ends_when_the_training_images_are_fitted(tiny: MakeJob, tmp_path: Path) -> None:
    """The error is that of the whole training set, unaugmented, without dropout; it is not measured unasked."""
    options = ("crops=paper", "schedule.epochs=4", "schedule.milestones=[]")
    result, screen = execute(tiny(*options, "schedule.stop_at_train_error=99.9"), tmp_path)
    assert result.status == "finished" and result.training is not None and result.training.epochs == 1
    assert screen.count("val error") == 1 and "training images" in screen
    header, row = ((tmp_path / "metrics.csv").read_text().splitlines()[line].split(",") for line in (0, 1))
    error = float(row[header.index("train_set_top1_error")])
    config = tiny(*options).config
    pack = open_data(config.data, config.scale.image_size, show_progress=False)
    geometry = CropGeometry(image_size=config.scale.image_size, crop_size=config.scale.crop_size)
    augmenter = Augmenter(pack.statistics, geometry, crops=config.crops, color=config.color)
    net = AlexNet(config, num_classes=20, seed=99)
    saved = checkpoint(tmp_path)["state_dict"]
    net.load_state_dict({key.removeprefix("net."): w for key, w in saved.items() if key.startswith("net.")})
    net.eval()
    with torch.no_grad():
        scores = probabilities(net, augmenter, torch.from_numpy(pack.splits["train"].gather(np.arange(60))))["center"]
    wrong = int((scores.argmax(dim=1).numpy() != pack.splits["train"].labels).sum())
    assert error == pytest.approx(100 * wrong / 60)
    # Repeating the command trains no further.
    again, screen = execute(tiny(*options, "schedule.stop_at_train_error=99.9"), tmp_path)
    assert again == result


def test_an_error_that_is_not_reached_trains_to_the_limit(tiny: MakeJob, tmp_path: Path) -> None:
    job = tiny("schedule.stop_at_train_error=0", "schedule.epochs=2")
    result, _ = execute(job, tmp_path)
    assert result.training is not None and result.training.epochs == 2
    val_errors = [row[6:10] for row in epochs(tmp_path)[1:]]
    assert all(all(cells) for cells in val_errors)


def test_a_run_that_was_stopped_after_fitting_is_finished_without_more_training(
    tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny("schedule.stop_at_train_error=99.9", "schedule.epochs=3")
    with monkeypatch.context() as patch:
        patch.setattr("alexnet.training.module.AlexNetModule.on_test_start", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(job, tmp_path)
    result, screen = execute(job, tmp_path)
    assert "epoch " not in screen and result.training is not None and result.training.epochs == 1


def _interrupt(_: object) -> None:
    raise KeyboardInterrupt


def test_a_local_net_is_trained_checkpointed_and_evaluated(few_images: MakeJob, tmp_path: Path) -> None:
    job = few_images(
        *("architecture=cifar_11pct", "columns=one", "dropout=none", "lrn=cifar_9_channels", "crops=all_offsets"),
        *("optimizer=cifar_13pct", "optimizer.batch_size=16", "schedule.epochs=2", "schedule.milestones=[1]"),
        *("scale=cifar_crops", "+ablation=no_lrn"),
    )
    result, _ = execute(job, tmp_path)
    assert result.status == "finished" and result.changes == {"lrn.layers": ([1, 2], [])}
    saved = checkpoint(tmp_path)
    assert result.parameters == sum(w.numel() for key, w in saved["state_dict"].items() if key.startswith("net."))
    rates = [group["lr"] for group in saved["optimizer_states"][0]["param_groups"]]
    assert sorted(set(rates)) == pytest.approx([1e-4, 2e-4])  # biases at twice the rate, after the drop too


def test_a_try_of_a_batch_leaves_nothing_and_no_result(tiny: MakeJob, tmp_path: Path) -> None:
    result, screen = execute(tiny("debug=fast_dev_run", "logger=csv"), tmp_path / "run")
    assert result.status != "finished" and result.errors == {} and "nothing is kept" in screen
    assert list(tmp_path.iterdir()) == []


def test_limits_count_batches_of_an_update_on_any_hardware(tiny: MakeJob, tmp_path: Path) -> None:
    limits = ["trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.limit_test_batches=0.5"]
    few = (*limits, "trainer.gradient_clip_val=0.1", "trainer.log_every_n_steps=1", "logger=csv")
    halves = ("hardware.accumulate_grad_batches=2", "hardware.eval_batch_size=8")
    (one, said), (other, _) = (execute(tiny(*few, *more), tmp_path / str(len(more))) for more in ((), halves))
    assert one.training is not None and (one.training.epochs, one.training.steps) == (2, 4)
    assert {split: views["center"].images for split, views in one.errors.items()} == {"val": 10, "test": 20}
    assert "trainer.limit_test_batches=0.5: the first 20 of 40 test images, of " in said
    assert epochs(tmp_path / "0")[0] == epochs(tmp_path / "2")[0] and one.identity == other.identity
    files = [tmp_path / name / "csv" / "metrics.csv" for name in ("0", "2")]
    logs = [csv.DictReader(file.read_text().splitlines()) for file in files]
    losses, in_turns = ([float(loss) for row in log if (loss := row["step/train_loss"])] for log in logs)
    assert len(losses) == 4 and in_turns == pytest.approx(losses, rel=1e-4)
    moved = [(state(tmp_path / name)["net.conv1.weight"]) for name in ("0", "2")]
    assert torch.allclose(*moved, atol=1e-6)


@pytest.mark.slow  # 2 s
def test_training_ends_when_its_time_is_over(tiny: MakeJob, tmp_path: Path) -> None:
    job = tiny("schedule.epochs=1000", "schedule.milestones=[]", "trainer.max_time=00:00:00:01")
    result, _ = execute(job, tmp_path)
    assert result.status == "finished" and result.training is not None
    assert 1 <= result.training.epochs < 1000 and result.training.seconds < 5
    assert result.training.images_per_second == pytest.approx(
        result.training.steps * 15 / result.training.seconds, rel=0.1
    )


def test_two_agents_for_one_run_are_one(tiny: MakeJob, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / LOCK_FILE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None and first.stdout.readline() == "held\n"
            with pytest.raises(UserError, match=f"is in use by process {first.pid} on "):
                execute(tiny(), tmp_path)
        finally:
            first.kill()
    assert [file.name for file in tmp_path.iterdir()] == [LOCK_FILE]
