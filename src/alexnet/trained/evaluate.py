"""Predictions of a trained network: for every image of a pack, or for single images."""

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet.data.batches.loading import (
    Loader,
    Reader,
    batch_parts,
    loader_threads,
    test_batch_size,
    test_splits,
)
from alexnet.data.pack.pack import Pack
from alexnet.data.progress import progress
from alexnet.errors import UserError
from alexnet.evaluation.collect import PredictionStore
from alexnet.evaluation.views import probabilities
from alexnet.runs.predictions import ViewPredictions
from alexnet.trained.network import TrainedModel, check_size, classes_by_name


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
    """Return the split that is asked for, or all held-out ones.

    Raises:
        UserError: the pack does not have it, or has training images only.
    """
    splits = test_splits(pack) if wanted is None else [wanted]
    if not splits:
        raise UserError(f"{pack.path} has training images only: add --split train to evaluate on them")
    for split in splits:
        if split not in pack.splits:
            raise UserError(f"{pack.path} has no {split} images; it has: {', '.join(pack.splits)}")
    return splits


def top_predictions(
    trained: TrainedModel, images: NDArray[np.uint8], *, view: str, most: int = 5
) -> list[list[tuple[str, float]]]:
    """Return the most probable classes and their probabilities, in order, of images uint8 [N, S, S, 3]."""
    batch = torch.from_numpy(np.ascontiguousarray(images)).to(trained.device)
    with torch.inference_mode():
        scores = probabilities(trained.net, trained.augmenter, batch)[view]
    top = scores.topk(min(most, scores.shape[1]), dim=1)
    return [
        [(trained.class_names[number], value) for number, value in zip(classes, values, strict=True)]
        for classes, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
