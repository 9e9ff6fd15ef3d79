"""The table of errors by split and view."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from alexnet.runs.result import BASELINE, ErrorRates, Result
from alexnet.terminal import fitted

VIEW_NAMES = {"center": "center crop", "ten_crop": "ten crops"}


def errors_table(errors: Mapping[str, Mapping[str, ErrorRates]], *, title: str | None = None) -> Table:
    """Make a table with one row per split and view."""
    several = any(rates.top5 is not None for views in errors.values() for rates in views.values())
    columns = ("top-1 error", *(["top-5 error"] if several else []))
    caption = None if several else "fewer than five classes: no top-5 errors"
    table = Table("images", "view", *columns, title=title, title_justify="left", caption=caption)
    for column in table.columns[2:]:
        column.justify = "right"
    for split, views in errors.items():
        for view, rates in views.items():
            label = f"{split} ({rates.images:,})"
            shown = [f"{100 * rate:.2f} %" for rate in (rates.top1, rates.top5) if rate is not None]
            table.add_row(label, VIEW_NAMES[view], *shown)
    return table


def result_table(result: Result) -> Table:
    """Return the errors of a finished run by split and view, with the paper's if the experiment is the paper's."""
    target = result.target.paper
    table = errors_table(result.errors, title=f"{result.ablation}, seed {result.seed}")
    if result.ablation == BASELINE and target.top1 is not None and target.top5 is not None:
        table.add_row("the paper", VIEW_NAMES["ten_crop"], f"{target.top1:.1f} %", f"{target.top5:.1f} %")
    return table


def show_again(result: Result, directory: Path, *, precision: str, console: Console) -> Result:
    """Print the errors of a run that was finished before, and its precision if the command asks for another."""
    other = f" at precision {result.precision}, not {precision}" if result.has_other_precision(precision) else ""
    console.print(f"already finished in {directory}{other} (restart=true runs it again)")
    console.print(fitted(result_table(result), console))
    return result
