"""`alexnet report`, `checklist` and `workspace`: runs compared, each ablation with its baseline."""

import re
from pathlib import Path
from typing import Any

from alexnet.config.values import WandbConfig
from alexnet.errors import UserError, how_to_install, plural, printable
from alexnet.files import write_file
from alexnet.runs.wandb_names import check_login
from alexnet.study.assessment import StatedSpread
from alexnet.study.pairing import MEASURES
from alexnet.study.report import page
from alexnet.study.report import report as reports
from alexnet.terminal import Terminal

MOST_RUN_SD = 50.0
"""Points; no percentage between 0 and 100 varies by more."""


def report(
    paths: list[Path],
    *,
    wandb: str | None,
    project: str | None,
    entity: str | None,
    run_sd: list[str] | None,
    run_sd_source: str | None,
    **options: Any,
) -> None:
    """Compare runs, and log the comparison if asked; the other options are those of `reports.report`."""
    if not wandb and (project or entity):
        raise UserError("--project and --entity are of W&B: add --wandb offline or --wandb online")
    destination = None
    if wandb:
        check_login(wandb)
        destination = WandbConfig(mode=wandb, project=project, entity=entity)
    stated = _stated_spread(run_sd, run_sd_source)
    reports.report(paths, console=Terminal(), wandb=destination, stated=stated, **options)


def _stated_spread(run_sd: list[str] | None, source: str | None) -> StatedSpread | None:
    """Return the spread that `top1=0.25,top5=0.2` states; None without one."""
    if run_sd is None and source is None:
        return None
    if run_sd is None or source is None or not source.strip():
        raise UserError("--run-sd and --run-sd-source go together: a spread from elsewhere, and where it is from")
    found: dict[str, float] = {}
    for part in ",".join(run_sd).split(","):
        measure, _, number = (piece.strip() for piece in part.partition("="))
        value = float(number) if re.fullmatch(r"\d*\.?\d+", number) else 0.0
        if measure not in MEASURES or measure in found or not 0 < value <= MOST_RUN_SD:
            wanted = f"top1, top5 or both, each once, above 0 and up to {MOST_RUN_SD:g}, as top1=0.25,top5=0.2"
            raise UserError(f"--run-sd {part or '(empty)'}: not points by measure; give {wanted}")
        found[measure] = value
    return StatedSpread(run_sd=found, source=source.strip())


def checklist(paths: list[Path], *, output: Path | None) -> None:
    """Print the reproducibility checklist of a study, filled from its result files, or write it to a file."""
    comparison = reports.compare_runs(*paths)
    text = page.checklist(comparison.tables, comparison.found.warning)
    if output is None:
        print(printable(text, lines=True), end="")
        return
    write_file(output, text)
    left = plural(text.count("**To answer"), "question is", "questions are")
    print(f"Written to {output}: {left} left for the authors, marked **To answer**")


def workspace(paths: list[Path], *, project: str, entity: str, split: str | None, view: str) -> None:
    """Save a W&B workspace and a W&B report about runs that are online, and print their addresses."""
    try:
        from alexnet.study.report.wandb_workspace import save
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: {how_to_install('dashboards')}") from None
    found = reports.compare_runs(*paths, split=split, view=view)
    check_login("online")
    folder = paths[0] if len(paths) == 1 else Path()
    for name, address in save(found.tables, entity=entity, project=project, folder=folder).items():
        print(f"{name}: {address}")
