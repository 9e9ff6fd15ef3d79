"""The loggers of a run. No trouble with one of them costs the training: it is told in a line, and the run goes on."""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from rich.console import Console

from alexnet.config.identity import ablation_name
from alexnet.config.job import Job
from alexnet.config.values import WandbConfig
from alexnet.errors import UserError, first_line, how_to_install
from alexnet.runs.collect import Run, load_run
from alexnet.runs.directory import CSV_LOG, PREDICTIONS_FILE, TENSORBOARD, WANDB
from alexnet.runs.result import BASELINE, Result
from alexnet.runs.wandb_names import TRAINING, client, destination, group_name, tags, why_not_online

START_SECONDS, FINISH_SECONDS = 20.0, 60.0
"""Time that W&B has to open an online run, and to send what is left at the end."""
ATTEMPTS = 4
"""Times that the server is asked whether it has the end, a second longer apart each time."""


def start(job: Job, directory: Path, console: Console) -> list[Logger]:
    """Open the loggers that the job chooses.

    All start over in an attempt that continues a run, and are given the epochs before (`History`), but for an online
    W&B run, which goes on.
    """
    chosen, loggers = job.config.logger, list[Logger]()
    if chosen.csv:
        shutil.rmtree(directory / CSV_LOG, ignore_errors=True)
        loggers.append(CSVLogger(directory, name="", version=CSV_LOG))
    if chosen.tensorboard:
        shutil.rmtree(directory / TENSORBOARD, ignore_errors=True)
        try:
            loggers.append(TensorBoardLogger(directory, name="", version=TENSORBOARD))
        except ModuleNotFoundError:
            remedy = how_to_install("tensorboard")
            console.print(
                f"logger=tensorboard is not installed, the run continues without it: {remedy}", style="yellow"
            )
    to = destination(chosen.wandb)
    if to.mode == "online":
        console.print("asking the W&B server")
        if (reason := why_not_online()) is not None:
            to = _offline(to, reason, directory, console)
    if to.mode != "disabled":
        try:
            loggers.append(_wandb(job, directory, to, console))
        except Exception as error:  # a full disk, a settings file of W&B's: of many libraries
            why = f"{type(error).__name__}: {first_line(error)}"
            console.print(f"W&B: the run goes on without: {why}", style="yellow")
    return loggers


def _wandb(job: Job, directory: Path, to: WandbConfig, console: Console) -> WandbLogger:
    """Open the job's W&B run, offline if the server does not take it."""
    wandb = client()
    try:
        run = _init(job, directory, to)
    except Exception as error:
        if to.mode != "online":
            raise
        wandb.teardown()  # its process still holds the run's id
        why = f"the server does not take it ({first_line(error)})"
        run = _init(job, directory, _offline(to, why, directory, console))
    for metric in ("train/*", "train_set/*", "val/*", "rate", "seconds", "images_per_second", "waiting_percent"):
        run.define_metric(metric, step_metric="epoch")
    for metric in ("val/top1_error", "val/top5_error", "val/loss", "train/loss"):
        run.define_metric(metric, step_metric="epoch", summary="min,last")
    return WandbLogger(experiment=run, log_model=to.artifacts)


def _init(job: Job, directory: Path, to: WandbConfig) -> Any:
    """Open the W&B run of a job.

    Its id is the name of the run's directory, so that a resumed job continues the same W&B run; only an agent of a W&B
    sweep gives another. Opened here and not by Lightning's logger, whose `offline=True` would switch later jobs of the
    process offline as well.
    """
    wandb, config = client(), job.config
    (claim,) = config.ablations.values() if len(config.ablations) == 1 else (None,)
    compared_by = {
        "ablation": ablation_name(job.tree),
        "pairing_key": job.pairing_key,
        "paper_delta_top1": claim.paper.top1 if claim else None,
        "paper_delta_top5": claim.paper.top5 if claim else None,
    }
    # A tag for each ablation, so that every combination with it is found.
    tagged = [*(sorted(config.ablations) or [BASELINE]), config.recipe, config.experiment, config.data.name]
    given = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    run_id, folder = given or directory.name, Path(os.environ.get("WANDB_DIR") or directory)
    if to.mode == "offline":  # this attempt's file will hold all epochs: two files would be two halves of a run
        for earlier in (folder / WANDB).glob(f"offline-run-*-{run_id}"):
            shutil.rmtree(earlier, ignore_errors=True)
    return wandb.init(
        name=os.environ.get("WANDB_NAME") or directory.name,
        id=run_id,
        resume=None if config.restart else "allow",
        project=to.project,
        entity=to.entity,
        group=os.environ.get("WANDB_RUN_GROUP") or group_name(config.experiment, job.pairing_key),
        job_type=TRAINING,
        tags=tags([*tagged, *os.environ.get("WANDB_TAGS", "").split(",")]),
        dir=folder,
        mode="online" if to.mode == "online" else "offline",
        config={**job.tree, **compared_by},
        settings=wandb.Settings(
            console="off",
            silent=True,
            init_timeout=START_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
        ),
    )


def finish(
    loggers: Sequence[Logger], result: Result, directory: Path, console: Console, *, artifacts: bool = False
) -> None:
    """Put the final errors, in percent, into the summary of the W&B run and close the loggers.

    Without the closing, the next job of a sweep would log into this run. With `artifacts`, W&B gets the predictions and
    the table of errors, too.
    """
    summary = {
        f"{split}/{view}/{name}_error": 100 * value
        for split, views in result.errors.items()
        for view, rates in views.items()
        for name, value in (("top1", rates.top1), ("top5", rates.top5))
        if value is not None
    }
    for logger in loggers:
        try:
            logger.finalize("success" if result.status == "finished" else "failed")
            if isinstance(logger, WandbLogger):
                run = logger.experiment
                run.summary.update({**summary, "status": result.status, "parameters": result.parameters})
                if artifacts and result.status == "finished":
                    run.log_artifact(_evaluation(load_run(directory)))
                run.finish(exit_code=0 if result.status == "finished" else 1)
                if not run.offline and not _has_arrived(run.path, result.status):
                    raise UserError("the server does not show the end of the run")
        except Exception as error:
            text = f"{type(logger).__name__}: not everything was kept ({type(error).__name__}: {first_line(error)})"
            remedy = f"; wandb sync {directory / WANDB}/*run-* sends it" if isinstance(logger, WandbLogger) else ""
            console.print(f"{text}{remedy}", style="yellow")


def _has_arrived(path: str, status: str) -> bool:
    """Ask the server: where it takes no more, as when a quota is used up, the client notes it in its log file alone."""
    for attempt in range(ATTEMPTS):
        time.sleep(attempt)
        if client().Api(timeout=int(START_SECONDS)).run(path).summary.get("status") == status:
            return True
    return False


def _evaluation(run: Run) -> Any:
    """Make the artifact of a run's predictions, with the table of its errors."""
    wandb, rows = client(), run.rows()
    artifact = wandb.Artifact(f"evaluation-{run.directory.name}", "evaluation", metadata={"run": run.result.run})
    artifact.add(wandb.Table(columns=[*rows[0]], data=[[*row.values()] for row in rows]), "errors")
    artifact.add_file(str(run.directory / PREDICTIONS_FILE))
    return artifact


def _offline(to: WandbConfig, reason: str, directory: Path, console: Console) -> WandbConfig:
    sync = f"wandb sync {directory / WANDB}/offline-run-*"
    console.print(f"W&B: {reason}; this run is offline, to be sent later: {sync}", style="yellow")
    return replace(to, mode="offline")
