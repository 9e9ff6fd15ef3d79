"""`alexnet report`, `checklist` and `workspace`: runs compared, each ablation with its baseline."""

from pathlib import Path
from typing import Any

from alexnet.config.values import WandbConfig
from alexnet.errors import UserError, how_to_install, printable
from alexnet.files import write_file
from alexnet.runs.wandb_names import check_login
from alexnet.study.report import checklist as checklists
from alexnet.study.report import report as reports
from alexnet.terminal import Terminal


def report(paths: list[Path], *, wandb: str | None, project: str | None, entity: str | None, **options: Any) -> None:
    """Compare runs, and log the comparison if asked; the other options are those of `reports.report`."""
    if not wandb and (project or entity):
        raise UserError("--project and --entity are of W&B: add --wandb offline or --wandb online")
    destination = None
    if wandb:
        check_login(wandb)
        destination = WandbConfig(mode=wandb, project=project, entity=entity)
    reports.report(paths, console=Terminal(), wandb=destination, **options)


def checklist(paths: list[Path], *, output: Path | None) -> None:
    """Print the reproducibility checklist of a study, filled from its result files, or write it to a file."""
    comparison = reports.compare_runs(*paths)
    text = checklists.checklist(comparison.tables, comparison.found.unreadable)
    if output is None:
        print(printable(text, lines=True), end="")
        return
    write_file(output, text)
    count = text.count("**To answer")
    print(f"Written to {output}: {count} questions are left for the authors, marked **To answer**")


def workspace(paths: list[Path], *, project: str, entity: str, split: str | None, view: str) -> None:
    """Save a W&B workspace and a W&B report about runs that are online, and print their addresses."""
    try:
        from alexnet.study.report.workspace import save
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: {how_to_install('dashboards')}") from None
    found = reports.compare_runs(*paths, split=split, view=view)
    check_login("online")
    folder = paths[0] if len(paths) == 1 else Path()
    for name, address in save(found.tables, entity=entity, project=project, folder=folder).items():
        print(f"{name}: {address}")
