"""Predictions of a trained network, for every image of a pack or for single images, and what they are worth."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.config.values import limited_images
from alexnet.data.loading import Loader, Reader, batch_parts, loader_threads, test_batch_size, test_splits
from alexnet.data.pack.pack import Pack
from alexnet.errors import UserError, plural
from alexnet.evaluation import PredictionStore, probabilities
from alexnet.runs.arrays import ViewPredictions
from alexnet.runs.collect import Run, load_run
from alexnet.runs.directory import last_checkpoint
from alexnet.runs.result import ErrorRates
from alexnet.runs.summary import VIEW_NAMES
from alexnet.terminal import progress
from alexnet.trained.network import TrainedModel, check_size, classes_by_name
from alexnet.untrusted import damage_named, decode, parse_json, read_regular, require

SURE = 0.9
"""Probability from which a prediction counts as sure."""
FEWEST = 20
"""Sure predictions without which nothing is said of them."""
ELSEWHERE = "on pictures unlike those its percentages say little, since it gives all of them to the classes it knows"
_MOST_BYTES = 2**26
"""Of a file of ReaL labels."""
_IMAGE = re.compile(r"(?:.*/)?ILSVRC2012_val_(\d{8})\b.*")


def evaluate_pack(
    trained: TrainedModel, pack: Pack, splits: list[str], *, keep_probabilities: bool, show: bool = True
) -> dict[str, dict[str, ViewPredictions]]:
    """Evaluate every image of some splits as a run does at its end: same batches, views and rounding.

    Labels are the network's: those of the classes of the same names.

    Raises:
        UserError: the network does not have a class of the images, or takes images of another size.
    """
    numbers = torch.from_numpy(classes_by_name(trained, pack))
    check_size(trained, pack)
    store = PredictionStore(keep_probabilities=keep_probabilities)
    device = trained.device
    batch_size = test_batch_size(trained.config.hardware.eval_batch_size, device)
    total = sum(len(pack.splits[split]) for split in splits)
    with torch.inference_mode(), progress(f"evaluating {trained.name}", total, show=show) as advance:
        for number, split in enumerate(splits):
            images = pack.splits[split]
            parts, threads = batch_parts(len(images), batch_size), loader_threads(None, device)
            loader = Loader(Reader(images, device).evaluation, parts=parts, threads=threads)
            for batch, (pixels, labels) in enumerate(loader):
                views = probabilities(trained.net, trained.augmenter, pixels.to(device, non_blocking=True))
                for view, scores in views.items():
                    store.add(number, view, batch, numbers[labels], scores)
                advance(len(labels))
    return store.collect(splits)


def chosen_splits(pack: Pack, wanted: str | None) -> list[str]:
    """Return the split that is asked for, or all held-out ones; UserError if the pack does not have them."""
    splits = test_splits(pack) if wanted is None else [wanted]
    if not splits:
        raise UserError(f"{pack.path} has training images only: add --split train to evaluate on them")
    for split in splits:
        if split not in pack.splits:
            raise UserError(f"{pack.path} has no {split} images; it has: {', '.join(pack.splits)}")
    return splits


def top_predictions(trained: TrainedModel, images: NDArray[np.uint8], *, view: str) -> list[list[tuple[str, float]]]:
    """Return the up to five most probable classes and their probabilities, in order, of images uint8 [N, S, S, 3]."""
    batch = torch.from_numpy(np.ascontiguousarray(images)).to(trained.device)
    with torch.inference_mode():
        scores = probabilities(trained.net, trained.augmenter, batch)[view]
    top = scores.topk(min(5, scores.shape[1]), dim=1)
    return [
        [(trained.class_names[number], value) for number, value in zip(classes, values, strict=True)]
        for classes, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def about(trained: TrainedModel, view: str) -> str:
    """Say in a line what the network was trained on, its error, and what its probabilities are worth."""
    classes, name = len(trained.class_names), trained.config.data.name
    run = _finished_run(trained)
    if run is None:
        return (
            f"{trained.name} knows {classes:,} classes of {name}; this file does not say how often it is right"
            f" (alexnet evaluate); {ELSEWHERE}"
        )
    result = run.result
    split = "test" if "test" in result.errors else "val"
    rates = result.errors[split][view]
    epochs = f", in {plural(result.training.epochs, 'epoch')}" if result.training else ""
    images, limit = result.data.images["train"], trained.config.trainer.limit_train_batches
    used = limited_images(images, limit, batch_size=trained.config.optimizer.batch_size)
    each = f", {used:,} in each epoch" if used < images else ""
    return (
        f"{trained.name} was trained on {images:,} images of {result.data.name}{each}, {classes:,}"
        f" classes{epochs}; of {rates.images:,} {split} images it gets {100 * rates.top1:.1f} % wrong"
        f" ({VIEW_NAMES[view]}){_when_sure(run, split, view)}; {ELSEWHERE}"
    )


def _finished_run(trained: TrainedModel) -> Run | None:
    """Return the run whose errors are those of this very file."""
    directory = trained.directory
    if trained.path.resolve() != last_checkpoint(directory).resolve():
        return None
    try:
        run = load_run(directory)
    except UserError:
        return None
    return run if run.finished else None


def _when_sure(run: Run, split: str, view: str) -> str:
    try:
        seen = run.predictions(split, view)
    except UserError:
        return ""
    sure = seen.top5_probabilities[:, 0] > SURE
    if (count := int(sure.sum())) < FEWEST:
        return f", and is seldom surer than {100 * SURE:.0f} %"
    right = 100 * seen.top1_correct[sure].mean()
    return f"; of the {count:,} with more than {100 * SURE:.0f} % for one class, {right:.0f} % were right"


def real_labels(file: Path, pack: Pack, classes: int) -> list[frozenset[int]]:
    """Return the reassessed labels (ReaL, Beyer et al. 2020, arXiv:2006.07159) of each validation image of a pack.

    The published `real.json` has a list of classes for each image of ILSVRC-2012's validation set, in the order of the
    images' numbers, classes by the order of their WordNet IDs. `classes` are the net's.

    Raises:
        UserError: the file is not such a list, or the pack does not hold those images with their names.
    """
    names = pack.path / "val-names.npy"
    if names.name not in pack.files:
        raise UserError(f"{pack.path} does not have the names of its validation images; prepare it again")
    listed = [name.decode(errors="replace") for name in np.load(names, allow_pickle=False).tolist()]
    numbers = [int(found[1]) if (found := _IMAGE.fullmatch(name)) else 0 for name in listed]
    labels = _read_real(file)
    if classes != 1000 or min(numbers) < 1 or max(numbers) > len(labels):
        raise UserError(
            f"{file} is about the 1,000 classes and validation images of ILSVRC-2012, and {pack.path} is not"
        )
    return [frozenset(labels[number - 1]) for number in numbers]


def real_errors(
    file: Path, pack: Pack, allowed: list[frozenset[int]], views: Mapping[str, ViewPredictions]
) -> dict[str, ErrorRates]:
    """Count top-1 errors by the labels of `real_labels`, by view: a prediction is right if it is one of an image's.

    Images without any are not counted. UserError if the labels do not fit the images of the pack.
    """
    images = sum(map(bool, allowed))
    errors = {}
    for view, seen in views.items():
        # Nine of ten of the original labels are among the reassessed ones; by chance, one of a thousand would be.
        if 10 * _among(seen.labels, allowed) <= images:
            must = "it must label these images, and the net's classes must be in the order of WordNet IDs"
            raise UserError(f"{file} does not fit {pack.path}: {must}")
        wrong = images - _among(seen.top5_classes[:, 0], allowed)
        errors[view] = ErrorRates(images=images, top1=wrong / images, top5=None)
    return errors


def _among(classes: NDArray[np.int32], allowed: list[frozenset[int]]) -> int:
    """Count the images whose class is among those that are allowed."""
    return sum(number in of_image for number, of_image in zip(classes.tolist(), allowed, strict=True))


def _read_real(file: Path) -> list[list[int]]:
    try:
        with damage_named(file):
            content = read_regular(file.resolve(), most=_MOST_BYTES)
            labels: list[list[int]] = decode(list[list[int]], parse_json(content))
            require(any(labels), "", "it labels no image")
            require(all(0 <= label < 1000 for one in labels for label in one), "", "a label is none of 1,000 classes")
    except UserError as error:
        raise UserError(f"{error}; as ReaL labels, give the published real.json") from None
    return labels
