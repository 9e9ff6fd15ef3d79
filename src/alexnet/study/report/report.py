"""From run directories to the comparison: on the screen, as CSV, as Markdown, as a page and as a picture."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.runs.collect import Collection, Run, collect
from alexnet.runs.wandb_names import Destination
from alexnet.study.charts.delta_chart import CHART_FILE, picture
from alexnet.study.comparison import Group, compare
from alexnet.study.report.dashboard import publish
from alexnet.study.report.export import COMPARISON_FILE, RUNS_FILE, write_comparison, write_runs
from alexnet.study.report.markdown import MARKDOWN_FILE, markdown
from alexnet.study.report.page import PAGE_FILE, page
from alexnet.study.report.table import print_group
from alexnet.study.wording import damage_line

FILES = (COMPARISON_FILE, RUNS_FILE, MARKDOWN_FILE, PAGE_FILE, CHART_FILE)


def report(
    paths: Sequence[Path],
    *,
    output: Path | None,
    split: str | None,
    view: str,
    console: Console,
    wandb: Destination | None = None,
) -> None:
    """Compare the runs at or below `paths`, print the tables, write them into `output`, and log them to `wandb`.

    `output` None is the deepest folder that holds all the runs. `split` None is `test` where the runs have it, else
    `val`. UserError if there are no runs, none can be read, none has the split and view, or `output` is not writable;
    trouble with W&B is a warning.
    """
    found = collect_some(paths)
    groups = compare(found.runs, split=split, view=view)
    for group in groups:
        print_group(group, console)
        console.print()
    folder = output or _common_folder(found.runs)
    _write(folder, groups, found.damaged)
    console.print(Text(f"Written to {folder}: {', '.join(FILES)}"), soft_wrap=True)
    if warning := damage_line(found.damaged):
        console.print(Text(warning, style="red"))
    if wandb is not None and wandb.mode != "disabled":
        publish(groups, [folder / name for name in FILES], wandb, console)


def collect_some(paths: Sequence[Path]) -> Collection:
    """Read the runs at or below `paths`; UserError if there is not one that can be read."""
    found = collect(paths)
    if not found.runs:
        raise UserError(damage_line(found.damaged) or "no runs")
    return found


def _common_folder(runs: Sequence[Run]) -> Path:
    return Path(os.path.commonpath([run.directory.parent for run in runs]))


def _write(folder: Path, groups: Sequence[Group], damaged: Sequence[str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_comparison(folder / COMPARISON_FILE, groups)
        write_runs(folder / RUNS_FILE, groups)
        (folder / MARKDOWN_FILE).write_text(markdown(groups, damaged), encoding="utf-8")
        replace_file(folder / PAGE_FILE, page(groups, damaged, folder=folder.resolve()).encode())
        replace_file(folder / CHART_FILE, picture(groups).encode())
    except OSError as error:
        raise UserError(f"{folder}: the comparison cannot be written there: {error.strerror}") from None
