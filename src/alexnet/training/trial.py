"""A few steps of a network that nobody keeps: to time them, or to see whether an ablation changes anything."""

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


def note_without_effect(job: Job, pack: Pack) -> str | None:
    """Say if the first steps with the job's ablations leave the same weights as without; None if they do not.

    Where the configuration shows that an ablation has no effect, the job was refused before.
    """
    if not job.changes or any(key.startswith("pretrained.") for key in job.changes):  # here all weights are drawn
        return None
    changed = train_steps(job.config, job.tree, pack, steps=STEPS)
    baseline = train_steps(validate(job.baseline), job.baseline, pack, steps=STEPS)
    if changed.keys() != baseline.keys() or not all(torch.equal(changed[name], baseline[name]) for name in changed):
        return None
    return (
        f"note: after {STEPS} steps of {ablation_name(job.tree)} the weights are those of the baseline, bit for bit:"
        " what it changes comes later, or in testing alone, or not at all"
    )
