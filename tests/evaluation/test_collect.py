"""Predictions are collected per split and view, in the order of the images."""

import numpy as np
import pytest
import torch

from alexnet.errors import UserError
from alexnet.evaluation import PredictionStore
from alexnet.sharding import Replica


def probabilities(seed: int, n: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(7), n).astype(np.float32))


@pytest.mark.parametrize("batch", [1, 4, 11])
def test_images_keep_their_order_whatever_the_batches(batch: int) -> None:
    splits = {"val": 11, "test": 6}
    store = PredictionStore()
    given = {
        (split, view): probabilities(10 * i + j, n)
        for i, (split, n) in enumerate(splits.items())
        for j, view in enumerate(("center", "ten_crop"))
    }
    for i, (split, n) in enumerate(splits.items()):
        for start in range(0, n, batch):
            labels = torch.arange(n)[start : start + batch] % 7
            for view in ("center", "ten_crop"):
                store.add(i, view, start // batch, labels, given[split, view][start : start + batch])
    collected = store.collect(list(splits))
    assert {split: set(views) for split, views in collected.items()} == {key: {"center", "ten_crop"} for key in splits}
    for (split, view), scores in given.items():
        seen = collected[split][view]
        order = np.argsort(-scores.numpy(), axis=1)[:, :5]
        np.testing.assert_array_equal(seen.labels, np.arange(splits[split]) % 7)
        np.testing.assert_array_equal(seen.top5_classes, order)
        np.testing.assert_array_equal(seen.top5_probabilities, np.take_along_axis(scores.numpy(), order, axis=1))


def test_predictions_stay_on_their_device_until_all_are_there() -> None:
    """On `meta`, whose values nothing can ask for: neither is waited for a GPU, nor copied from it."""
    store = PredictionStore(keep_probabilities=True)
    for batch in range(2):
        store.add(0, "ten_crop", batch, torch.zeros(3, dtype=torch.int64), torch.empty(3, 7, device="meta"))
    with pytest.raises(NotImplementedError, match="meta"):
        store.collect(["val"])


def test_a_cleared_store_forgets() -> None:
    store = PredictionStore()
    store.add(0, "center", 0, torch.zeros(2, dtype=torch.int64), probabilities(0, 2))
    store.clear()
    assert store.collect(["val"]) == {"val": {}}


def test_outputs_that_are_not_finite_have_no_order() -> None:
    store = PredictionStore()
    store.add(0, "center", 0, torch.zeros(3, dtype=torch.int64), probabilities(0, 3))
    wild = probabilities(0, 3).index_fill(0, torch.tensor(1), torch.nan)
    store.add(0, "ten_crop", 0, torch.zeros(3, dtype=torch.int64), wild)
    with pytest.raises(UserError, match=r"training diverged: the outputs for 1 of 3 val images are not finite"):
        store.collect(["val"])


@pytest.mark.parametrize("replicas", [2, 3])
def test_parts_of_batches_seen_by_several_processes_make_the_whole(replicas: int) -> None:
    scores, labels = probabilities(1, 11), torch.arange(11) % 7
    alone = PredictionStore(keep_probabilities=True)
    stores = [PredictionStore(keep_probabilities=True) for _ in range(replicas)]
    for batch, start in enumerate(range(0, 11, 4)):
        inside = slice(start, start + 4)
        alone.add(0, "center", batch, labels[inside], scores[inside])
        images = len(labels[inside])
        for index, store in enumerate(stores):
            part = Replica(index=index, count=replicas).part(images).within
            if len(labels[inside][part]):
                store.add(0, "center", batch, labels[inside][part], scores[inside][part])
    merged = PredictionStore(keep_probabilities=True)
    merged.merge(stores)
    mine, theirs = (store.collect(["val"])["val"]["center"] for store in (merged, alone))
    np.testing.assert_array_equal(mine.labels, theirs.labels)
    np.testing.assert_array_equal(mine.probabilities, theirs.probabilities)
