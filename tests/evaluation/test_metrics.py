"""Top-1 and top-5 errors against numpy, for any batching."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.evaluation import MeanLoss, TopKErrors


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 60), classes=st.integers(5, 12), seed=st.integers(0, 10**6), data=st.data())
def test_errors_are_numpy_s_however_the_images_come(n: int, classes: int, seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(n, classes)), rng.integers(0, classes, n)
    rank = (scores > scores[np.arange(n), labels][:, None]).sum(axis=1)  # classes that beat the right one
    errors = TopKErrors()
    cuts = sorted(data.draw(st.lists(st.integers(1, n), max_size=4))) if n > 1 else []
    for part in np.split(np.arange(n), cuts):
        errors.update(torch.from_numpy(scores[part]), torch.from_numpy(labels[part]))
    rates = errors.compute()
    assert int(errors.images) == n
    assert float(rates["top1"]) == (rank >= 1).sum() / n
    assert float(rates["top5"]) == (rank >= 5).sum() / n


def test_counts_start_anew_after_a_reset() -> None:
    errors = TopKErrors()
    right, wrong = torch.eye(6)[:3], torch.eye(6)[3:]
    errors.update(wrong, torch.zeros(3, dtype=torch.int64))
    errors.reset()
    errors.update(right, torch.arange(3))
    assert int(errors.images) == 3 and float(errors.compute()["top1"]) == 0
    losses = torch.rand(10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    metric = MeanLoss()
    for part in losses.split(4):  # the last batch is smaller
        metric.update(part.mean(), len(part))
    assert float(metric.compute()) == pytest.approx(float(losses.mean()), rel=1e-6)
    metric.reset()
    metric.update(torch.tensor(2.0), 3)
    assert float(metric.compute()) == 2


def test_what_is_not_a_number_shows() -> None:
    metric = MeanLoss()
    metric.update(torch.tensor(1.0), 3)
    metric.update(torch.tensor(torch.nan), 3)
    assert metric.compute().isnan()


def test_no_graph_is_kept() -> None:
    metric = MeanLoss()
    metric.update(torch.ones((), requires_grad=True) * 2, 3)
    assert not metric.total.requires_grad
