"""The comparison in the terminal, with Rich."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.study.columns import SHOWN_COLUMNS
from alexnet.study.comparison import AblationRow, ComparisonTable
from alexnet.study.report.templating import explanation
from alexnet.study.wording import MEASURE_NAMES, clean, section, shown_seeds, target_line, title

SHOWN = ("error", "delta", "low", "p", "paper", "log", "paper_verdict")
"""Columns that fit a wide terminal; the files have all."""
WIDE = 96
"""Characters from which the table has room for `SHOWN`, and for one more space between columns."""
NARROWEST = 80
"""Characters below which a number would not fit on its line; a narrower terminal gets lines of this width."""


def print_table(table: ComparisonTable, console: Console) -> None:
    """Print one table with its title, what it leaves out, and what its columns mean."""
    console.print(Text(clean(title(table)), style="bold"))
    if target := target_line(table):
        console.print(Text(target))
    if table.rows:
        console.print(_rich_table(table, console.width), crop=False)
        console.print()
    for run in table.unfinished:
        console.print(Text(clean(f"{run}: {run.result.status}: {run.result.message}"), style="red"))
    for note in table.notes:
        console.print(Text(clean(note.text), style="yellow"))
        if note.command:
            console.print(Text(f"    {clean(note.command)}"), soft_wrap=True)  # whole, so that it can be copied
    if table.rows:
        console.print(Text(explanation(table), style="dim"))


def _rich_table(table: ComparisonTable, width: int) -> Table:
    wide = width >= WIDE
    shown = [key for key in SHOWN if wide or key != "log"]
    printed = Table(box=box.SIMPLE_HEAD, padding=(0, 1 if wide else 0, 0, 0), show_edge=False)
    printed.width = NARROWEST if width < NARROWEST else None
    # Seeds that all rows share are in the title; their column's room lets long names stay whole.
    with_seeds = len({tuple(row.seeds) for row in table.rows}) > 1
    printed.add_column("Ablation", overflow="fold")
    if with_seeds:
        printed.add_column("Seeds")
    for header in ("", *(SHOWN_COLUMNS[key].heading for key in shown)):
        printed.add_column(header or "", justify="right", no_wrap=True)
    for row in table.rows:
        printed.add_row(*_cells(row, shown, with_seeds=with_seeds))
    return printed


def _cells(row: AblationRow, shown: Sequence[str], *, with_seeds: bool) -> list[Text]:
    """Return one row for the ablation, two lines high: top-1 over top-5."""
    name = Text(clean(row.ablation), style="bold")
    if row.claim:
        name.append(f"\n{clean(section(row))}", style="dim not bold")
    seeds = [Text(shown_seeds(row.seeds))] if with_seeds else []
    figures = [[SHOWN_COLUMNS[key].show(row, measure) for measure in MEASURE_NAMES] for key in shown]
    return [name, *seeds, *(Text("\n".join(lines)) for lines in (MEASURE_NAMES.values(), *figures))]
