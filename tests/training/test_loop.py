"""The loop that Lightning runs: one optimizer step per batch, and batches on the module's device."""

import lightning as L

from alexnet.data.pack.sets import open_data
from alexnet.training.datamodule import PackDataModule
from alexnet.training.module import AlexNetModule
from tests.training.conftest import MakeJob

BARE = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "limit_val_batches": 0,
    "reload_dataloaders_every_n_epochs": 1,
}
"""Any trainer will do: none of this project's callbacks is needed to train."""


def test_training_step_many_short_epochs_makes_one_update_per_batch(tiny: MakeJob) -> None:
    """Epochs of one update, far shorter than a display's refresh: their number must not matter."""
    job = tiny("optimizer.batch_size=64")
    pack = open_data(job.config.data, job.config.scale.image_size, show_progress=False)
    module, trainer = AlexNetModule(job.config, job.tree, pack), L.Trainer(**BARE, max_epochs=70)
    trainer.fit(module, PackDataModule(pack, job.config))
    assert trainer.global_step == trainer.current_epoch == 70
