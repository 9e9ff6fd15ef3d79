"""A trained network on every image of a pack."""

from collections.abc import Sequence

import torch

from alexnet.data.batches.loading import EvalBatches, Loader, batch_parts
from alexnet.data.pack.pack import Pack
from alexnet.data.progress import progress
from alexnet.errors import UserError
from alexnet.evaluation.collect import PredictionStore
from alexnet.evaluation.views import probabilities
from alexnet.trained.network import TrainedModel, check_classes
from alexnet.training.datamodule import test_splits


def evaluate(
    trained: TrainedModel, pack: Pack, splits: Sequence[str], *, whole: bool, show: bool = True
) -> PredictionStore:
    """Ask the network about every image of some splits, as a run does at its end: same batches, views and rounding.

    The store numbers the data sets as `splits` does, and is `whole` on demand.

    Raises:
        UserError: classes or size of the images differ from the network's.
    """
    check_classes(trained, pack)
    store = PredictionStore(whole=whole)
    batch_size = max(1, trained.config.hardware.eval_batch_size // 10)  # ten crops of each image
    total = sum(len(pack.splits[split]) for split in splits)
    with torch.inference_mode(), progress(f"evaluating {trained.name}", total, show=show) as advance:
        for number, split in enumerate(splits):
            images = pack.splits[split]
            loader = Loader(EvalBatches(images), parts=batch_parts(len(images), batch_size))
            for batch, (pixels, labels) in enumerate(loader):
                seen = probabilities(trained.net, trained.augmenter, pixels.to(trained.device))
                for view, scores in seen.items():
                    store.add(number, view, batch, labels, scores)
                advance(len(labels))
    return store


def chosen_splits(pack: Pack, wanted: str | None) -> list[str]:
    """The split that is wanted, or all that nets are judged on; UserError where the pack has none."""
    splits = test_splits(pack) if wanted is None else [wanted]
    if not splits:
        raise UserError(f"{pack.path} has training images alone: say --split train to evaluate on them")
    for split in splits:
        if split not in pack.splits:
            raise UserError(f"{pack.path} has no {split} images; it has: {', '.join(pack.splits)}")
    return splits
