"""The mean loss against the mean over all images."""

import pytest
import torch

from alexnet.evaluation.loss import MeanLoss


def test_every_image_weighs_the_same() -> None:
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
