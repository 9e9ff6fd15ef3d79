"""Weights & Biases: one run per job, grouped with the runs that it is compared with."""

from pathlib import Path

import wandb
from lightning.pytorch.loggers import WandbLogger

from alexnet.config.job import Job, ablation_name
from alexnet.runs.result import BASELINE, Result
from alexnet.runs.wandb_names import TRAINING, group_name, tags


def start(job: Job, directory: Path) -> WandbLogger | None:
    """Open the W&B run of a job; None if it is disabled.

    The run's id is the name of its directory, so that a resumed job continues the same W&B run. Opened here
    and not by Lightning's logger, whose `offline=True` would switch later jobs of the process offline as well.
    """
    config = job.config
    if config.wandb.mode == "disabled":
        return None
    (claim,) = config.ablations.values() if len(config.ablations) == 1 else (None,)
    compared_by = {
        "ablation": ablation_name(job.tree),
        "pairing_key": job.pairing_key,
        "paper_delta_top1": claim.paper.top1 if claim else None,
        "paper_delta_top5": claim.paper.top5 if claim else None,
    }
    # A tag for each ablation, so that every combination with it is found.
    tagged = [*(sorted(config.ablations) or [BASELINE]), config.recipe, config.experiment, config.data.name]
    return WandbLogger(
        experiment=wandb.init(
            name=directory.name,
            id=directory.name,
            resume="allow",
            project=config.wandb.project,
            entity=config.wandb.entity,
            group=group_name(config.experiment, job.pairing_key),
            job_type=TRAINING,
            tags=tags(tagged),
            dir=directory,
            mode="online" if config.wandb.mode == "online" else "offline",
            config={**job.tree, **compared_by},
            settings=wandb.Settings(console="off", silent=True),
        )
    )


def finish(logger: WandbLogger | None, result: Result) -> None:
    """Put the final errors, in percent, into the run's summary and close the run.

    Without the closing, the next job of a sweep would log into this run.
    """
    if logger is None:
        return
    summary = {
        f"{split}/{view}/{name}_error": 100 * value
        for split, views in result.errors.items()
        for view, rates in views.items()
        for name, value in (("top1", rates.top1), ("top5", rates.top5))
        if value is not None
    }
    logger.experiment.summary.update({**summary, "status": result.status, "parameters": result.parameters})
    wandb.finish(exit_code=0 if result.status == "finished" else 1)
