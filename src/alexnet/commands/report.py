"""`alexnet report`: compares runs, each ablation with its baseline."""

from pathlib import Path
from typing import Any

from alexnet.config.values import WandbConfig
from alexnet.runs.wandb_names import check_login
from alexnet.study.report.report import report
from alexnet.terminal import Terminal


def run(paths: list[Path], *, wandb: str | None, project: str | None, entity: str | None, **options: Any) -> None:
    """Compare runs, and log the comparison if asked; the other options are those of `report`."""
    destination = None
    if wandb:
        check_login(wandb)
        destination = WandbConfig(mode=wandb, project=project, entity=entity)
    report(paths, console=Terminal(), wandb=destination, **options)
