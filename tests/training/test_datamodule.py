"""Batches of a pack: every image once per epoch in the planned order, and evaluation counted to the last image."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alexnet.config.schema import Config
from alexnet.data import loading
from alexnet.data.augment import AugmentedBatch, Augmenter, RawBatch, draw_epoch
from alexnet.data.loading import Loader, Reader, Resident, batch_parts
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.writer import PackWriter
from alexnet.training.datamodule import PackDataModule
from tests.conftest import Compose

COUNTS = {"train": 23, "val": 11, "test": 7}
WHOLE = ("crops.random=false", "crops.flip=false")


def numbered(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A 12 x 12 image that says which it is."""
    return np.full((12, 12, 3), number, np.uint8)


def write(path: Path, counts: dict[str, int]) -> Pack:
    """A pack whose images hold their own number, with labels that follow from it."""
    labels = {split: np.arange(count) * 3 % 5 for split, count in counts.items()}
    with PackWriter(path, image_size=12, class_names=list("abcde"), labels=labels, shard_bytes=12 * 12 * 3 * 4) as to:
        for split, count in counts.items():
            for number in range(count):
                to.put(split, number, to.encode(numbered(number)))
        return to.finish({})


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return write(tmp_path_factory.mktemp("packs") / "numbered", COUNTS)


@pytest.fixture
def config(compose: Compose) -> Config:
    return compose("scale.image_size=12", "scale.crop_size=10", "optimizer.batch_size=5", "hardware.eval_batch_size=4")


def training_batches(pack: Pack, config: Config, epoch: int) -> list[AugmentedBatch]:
    """What a network on the CPU gets."""
    data = PackDataModule(pack, config)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(current_epoch=epoch, strategy=strategy)  # type: ignore[assignment]
    batches = data.train_dataloader()
    assert len(batches) == len(list(batches))
    return list(batches)


def epoch_of(pack: Pack, config: Config, epoch: int) -> list[RawBatch]:
    """What a network elsewhere gets, whose device augments the images."""
    reader = Reader(pack.splits["train"], torch.device("cpu"))
    make = reader.training(PackDataModule(pack, config).epoch_plan(epoch))
    return list(Loader(make, parts=batch_parts(23, config.optimizer.batch_size), threads=3))


def images_of(batches: list[RawBatch]) -> list[int]:
    return [number for batch in batches for number in batch.images[:, 0, 0, 0].tolist()]


def test_an_epoch_holds_every_image_once_with_its_label(pack: Pack, config: Config) -> None:
    for epoch in (0, 1):
        batches = epoch_of(pack, config, epoch)
        assert [len(batch.labels) for batch in batches] == [5, 5, 5, 5, 3]
        assert sorted(images_of(batches)) == list(range(23))
        for batch in batches:
            assert batch.labels.tolist() == [number * 3 % 5 for number in images_of([batch])]
            assert batch.images.dtype == torch.uint8 and batch.images.shape[1:] == (12, 12, 3)
            assert batch.labels.dtype == batch.crop_offsets.dtype == torch.int64 and batch.flips.dtype == torch.bool


def test_a_batch_carries_its_images_draws_from_the_epoch_s_plan(pack: Pack, config: Config) -> None:
    plan = draw_epoch(seed=config.seed, epoch=3, images=23, positions=2)
    batches = epoch_of(pack, config, 3)
    assert images_of(batches) == plan.order.tolist()
    assert torch.cat([batch.crop_offsets for batch in batches]).tolist() == plan.crop_offsets.tolist()
    assert torch.cat([batch.flips for batch in batches]).tolist() == plan.flips.tolist()
    assert torch.cat([batch.colors for batch in batches]).tolist() == plan.colors.tolist()
    assert images_of(batches) != images_of(epoch_of(pack, config, 4))


def test_paired_runs_see_the_same_images_in_the_same_order(pack: Pack, config: Config, compose: Compose) -> None:
    sizes = ["scale.image_size=12", "scale.crop_size=10", "optimizer.batch_size=5"]
    ablated = compose(*sizes, "lrn.layers=[]", *WHOLE, "color.std=0")
    other_seed = compose(*sizes, "seed=1")
    assert images_of(epoch_of(pack, ablated, 2)) == images_of(epoch_of(pack, config, 2))
    assert images_of(epoch_of(pack, other_seed, 2)) != images_of(epoch_of(pack, config, 2))


@pytest.mark.parametrize("changes", [(), WHOLE, ("crops.center_mean=true",), ("color.rescale=true",)], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_for_a_cpu_are_what_the_augmenter_would_make(
    pack: Pack, compose: Compose, changes: tuple[str, ...], threads: int
) -> None:
    sizes = ["scale.image_size=12", "scale.crop_size=10", "optimizer.batch_size=5"]
    config = compose(*sizes, *changes)
    config = replace(config, hardware=replace(config.hardware, loader_threads=threads))
    data = PackDataModule(pack, config)
    augmenter = Augmenter(pack.statistics, data.geometry, crops=config.crops, color=config.color)
    ready, whole = training_batches(pack, config, 2), epoch_of(pack, config, 2)
    assert len(ready) == len(whole) == 5
    for one, other in zip(ready, whole, strict=True):
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.inputs, augmenter(other)) and one.inputs.stride() == augmenter(other).stride()


def test_colour_noise_ends_where_the_source_ends_it(pack: Pack, compose: Compose) -> None:
    sizes = ["scale.image_size=12", "scale.crop_size=10", "optimizer.batch_size=23", "shuffle.each_epoch=false"]
    late = [
        "schedule.kind=multistep",
        "schedule.epochs=4",
        "late_changes.of_epochs=4",
        "late_changes.color_off_epoch=2",
        "crops=none",
    ]
    config = compose(*sizes, *late)
    epochs = [training_batches(pack, config, epoch)[0].inputs for epoch in range(4)]
    assert not torch.equal(epochs[0], epochs[1]) and torch.equal(epochs[2], epochs[3])


def test_images_that_fit_into_a_gpu_stay_there_and_make_the_same_batches(
    pack: Pack, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    split, cpu = pack.splits["train"], torch.device("cpu")
    size = 23 * 12 * 12 * 3
    monkeypatch.setattr(loading, "free_memory_bytes", lambda _: 4 * size - 1)
    assert Resident.if_fitting(split, cpu) is None
    monkeypatch.setattr(loading, "free_memory_bytes", lambda _: 4 * size)
    monkeypatch.setattr(loading, "RESIDENT_STEP", 7)
    resident = Resident.if_fitting(split, cpu)
    assert resident is not None
    make, parts = resident.training(PackDataModule(pack, config).epoch_plan(3)), batch_parts(23, 5)
    for part, expected in zip(parts, epoch_of(pack, config, 3), strict=True):
        for mine, other in zip(make(part), expected, strict=True):
            assert mine.dtype == other.dtype and torch.equal(mine, other)
    for part in parts:
        for mine, other in zip(resident.evaluation(part), Reader(split, cpu).evaluation(part), strict=True):
            assert torch.equal(mine, other)


def test_a_gpu_tests_as_many_images_at_a_time_as_it_validates(pack: Pack, config: Config) -> None:
    data = PackDataModule(pack, config)
    strategy = SimpleNamespace(root_device=torch.device("meta"))
    data.trainer = SimpleNamespace(current_epoch=0, strategy=strategy)  # type: ignore[assignment]
    assert [len(batches) for batches in (*data.val_dataloader(), *data.test_dataloader())] == [3, 3, 2]


def test_evaluation_sees_every_image_once_in_order(pack: Pack, config: Config) -> None:
    data = PackDataModule(pack, config)
    (validation,) = data.val_dataloader()
    assert [len(labels) for _, labels in validation] == [4, 4, 3] and len(validation) == 3
    assert [number for images, _ in validation for number in images[:, 0, 0, 0].tolist()] == list(range(11))
    assert [label for _, labels in validation for label in labels.tolist()] == [n * 3 % 5 for n in range(11)]


def test_both_splits_are_tested_and_ten_crops_take_a_tenth_of_the_batch(pack: Pack, config: Config) -> None:
    for eval_batch_size, expected in ((4, 1), (39, 3), (256, 25)):
        hardware = replace(config.hardware, eval_batch_size=eval_batch_size)
        data = PackDataModule(pack, replace(config, hardware=hardware))
        assert data.evaluated == ["val", "test"]
        for name, batches in zip(data.evaluated, data.test_dataloader(), strict=True):
            sizes = [len(labels) for _, labels in batches]
            assert sum(sizes) == COUNTS[name] and max(sizes) == min(expected, COUNTS[name])
            assert [n for images, _ in batches for n in images[:, 5, 5, 1].tolist()] == list(range(COUNTS[name]))


def test_splits_that_a_pack_does_not_have_are_not_evaluated(tmp_path: Path, config: Config) -> None:
    data = PackDataModule(write(tmp_path / "bare", {"train": 5}), config)
    assert data.val_dataloader() == [] and data.test_dataloader() == [] and data.evaluated == []
    tested = PackDataModule(write(tmp_path / "tested", {"train": 5, "test": 6}), config)
    assert tested.val_dataloader() == [] and tested.evaluated == ["test"]
