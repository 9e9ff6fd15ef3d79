"""A few steps of a network that nobody keeps: to time them, or to see whether an ablation changes anything."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from alexnet.config.compose import validate
from alexnet.config.job import Job, ablation_name
from alexnet.config.schema import Config, ConfigTree
from alexnet.data.pack.pack import Pack
from alexnet.training.datamodule import PackDataModule
from alexnet.training.hardware import trainer_options
from alexnet.training.module import AlexNetModule

STEPS = 3


def train_steps(
    config: Config, tree: ConfigTree, pack: Pack, *callbacks: Callback, steps: int = -1
) -> dict[str, Tensor]:
    """Train for some steps, or until a callback ends it, at most an epoch, and return the weights by name."""
    trainer = L.Trainer(
        **trainer_options(config.hardware),
        max_epochs=1,
        max_steps=steps,
        logger=False,
        callbacks=list(callbacks),
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = AlexNetModule(config, tree, pack)
    trainer.fit(module, PackDataModule(pack, config))
    return module.net.state_dict()


def notes_without_effect(jobs: Iterable[tuple[Job, Pack]]) -> Iterator[str]:
    """Name the jobs whose ablations leave the same weights after the first steps as there are without.

    Where the configuration shows that an ablation has no effect, the job was refused before.
    """
    baselines: dict[str, dict[str, Tensor]] = {}
    for job, pack in jobs:
        if not job.changes or any(key.startswith("pretrained.") for key in job.changes):  # here all weights are drawn
            continue
        with suppress(Exception):  # the run itself will say what is wrong with it
            changed = train_steps(job.config, job.tree, pack, steps=STEPS)
            key = json.dumps([job.baseline, pack.fingerprint])
            if key not in baselines:
                baselines[key] = train_steps(validate(job.baseline), job.baseline, pack, steps=STEPS)
            if _are_equal(changed, baselines[key]):
                yield (
                    f"note: after {STEPS} steps of {ablation_name(job.tree)} the weights are those of the baseline, bit"
                    " for bit: what it changes comes later, or in testing alone, or not at all"
                )


def _are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
