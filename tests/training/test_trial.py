"""Whether an ablation shows in the first steps."""

from dataclasses import replace

import pytest

from alexnet.data.pack.prepare import open_data
from alexnet.sweep.cost import notes_without_effect
from tests.training.conftest import MakeJob


@pytest.mark.parametrize("ablation", ["no_lrn", "no_weight_decay", "source/bias_lr"])
def test_ablation_that_no_step_shows_is_said(tiny: MakeJob, ablation: str) -> None:
    job = tiny(f"+ablation={ablation}", "hardware.threads=1")
    pack = open_data(job.config.data, job.config.scale.image_size)
    assert list(notes_without_effect([(job, pack)])) == []
    late = {**job.tree, "schedule": {**job.tree["schedule"], "milestones": [9]}}  # differs long after the first steps
    (note,) = notes_without_effect([(job, pack), (replace(job, baseline=late), pack)])
    assert "bit for bit" in note
