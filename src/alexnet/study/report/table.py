"""The comparison on the screen, with Rich."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.study.comparison import MEASURES, Group, Row
from alexnet.study.wording import (
    HEADERS,
    MEASURE_NAMES,
    explanation,
    figures,
    shown_seeds,
    target_line,
    title,
    unfinished_lines,
)

SHOWN = ("Error", "Delta", "95 % interval", "p", "Paper", "Log", "Verdict")
"""Figures for which a roomy screen has room; the files have all."""
ROOMY_WIDTH = 96
"""Columns from which the table has room for `SHOWN`, and for a space more between them."""
LEAST_WIDTH = 80
"""Columns below which a number would not fit on its line; a narrower terminal gets lines of this width."""


def print_group(group: Group, console: Console) -> None:
    """Print one table with its title, what it leaves out, and what its columns mean."""
    console.print(Text(title(group), style="bold"))
    if target := target_line(group):
        console.print(Text(target))
    if group.rows:
        console.print(_table(group, console.width), crop=False)
        console.print()
    for line in unfinished_lines(group):
        console.print(Text(line, style="red"))
    for note in group.notes:
        console.print(Text(note.text, style="yellow"))
        if note.command:
            console.print(Text(f"    {note.command}"), soft_wrap=True)  # whole, so that it can be copied
    if group.rows:
        console.print(Text(explanation(group), style="dim"))


def _table(group: Group, width: int) -> Table:
    roomy = width >= ROOMY_WIDTH
    shown = [figure for figure in SHOWN if roomy or figure != "Log"]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1 if roomy else 0, 0, 0), show_edge=False)
    table.width = LEAST_WIDTH if width < LEAST_WIDTH else None
    # Seeds that all rows share stand in the title; their column's room lets long names stay whole.
    with_seeds = len({tuple(row.seeds) for row in group.rows}) > 1
    table.add_column(HEADERS[0], overflow="fold")
    if with_seeds:
        table.add_column(HEADERS[1])
    for header in (*HEADERS[2:], *shown):
        table.add_column(header, justify="right", no_wrap=True)
    for row in group.rows:
        table.add_row(*_row_cells(row, shown, with_seeds=with_seeds))
    return table


def _row_cells(row: Row, shown: Sequence[str], *, with_seeds: bool) -> list[Text]:
    """One row for the ablation, two lines high: top-1 over top-5."""
    known = [figures(row, measure) for measure in MEASURES]
    columns = [MEASURE_NAMES.values(), *([of_measure[figure] for of_measure in known] for figure in shown)]
    name = Text(row.ablation, style="bold")
    if row.claim:
        name.append(f"\n{_section(row.claim.section)}", style="dim not bold")
    seeds = [Text(shown_seeds(row.seeds))] if with_seeds else []
    return [name, *seeds, *(Text("\n".join(column)) for column in columns)]


def _section(section: str) -> str:
    return f"section {section}" if section[:1].isdigit() else section
