"""From run directories to the comparison: in the terminal, as CSV, Markdown and HTML, and as a figure."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from alexnet.errors import UserError
from alexnet.files import write_file
from alexnet.runs.collect import Collection, collect
from alexnet.runs.wandb_names import Destination
from alexnet.study.charts.deltas import CHART_FILE, comparison_figure
from alexnet.study.columns import comparison_csv, runs_csv
from alexnet.study.comparison import compare
from alexnet.study.report.dashboard import publish
from alexnet.study.report.page import MARKDOWN_FILE, PAGE_FILE, markdown, page
from alexnet.study.report.table import print_table
from alexnet.study.wording import clean, unreadable_line

COMPARISON_FILE, RUNS_FILE = "comparison.csv", "comparison_runs.csv"
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
    """Compare the runs at or below `paths`: write the files, print the tables, and log them to `wandb`.

    `output` None is the deepest folder that holds all the runs. `split` None is `test` if the runs have it, else `val`.
    Trouble with W&B is a warning.

    Raises:
        UserError: no run can be read, none has the split and view, or `output` is not writable.
    """
    found = collect_some(paths)
    tables = compare(found.runs, split=split, view=view)
    folder = output or Path(os.path.commonpath([run.directory.parent for run in found.runs]))
    texts = {
        COMPARISON_FILE: comparison_csv(tables),
        RUNS_FILE: runs_csv(tables),
        MARKDOWN_FILE: markdown(tables, found.unreadable),
        PAGE_FILE: page(tables, found.unreadable, folder=folder.resolve()),
        CHART_FILE: comparison_figure(tables),
    }
    for name, text in texts.items():
        write_file(folder / name, text)
    for table in tables:
        print_table(table, console)
        console.print()
    console.print(Text(f"Written to {folder}: {', '.join(FILES)}"), soft_wrap=True)
    if warning := unreadable_line(found.unreadable):
        console.print(Text(clean(warning), style="red"))
    if wandb is not None and wandb.mode != "disabled":
        publish(tables, [folder / name for name in FILES], wandb, console)


def collect_some(paths: Sequence[Path]) -> Collection:
    """Read the runs at or below `paths`.

    Raises:
        UserError: no run can be read.
    """
    found = collect(paths)
    if not found.runs:
        raise UserError(unreadable_line(found.unreadable) or "no runs")
    return found
