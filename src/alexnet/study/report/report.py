"""From run directories to the comparison: in the terminal, as tables and pages in files, and as a figure."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.config.values import WandbConfig
from alexnet.errors import UserError, as_started, printable
from alexnet.files import write_file
from alexnet.runs.collect import Collection, Run, collect, common_folder
from alexnet.runs.wandb_names import destination
from alexnet.study import table_columns, wording
from alexnet.study.assessment import StatedSpread
from alexnet.study.charts import CHART_FILE, comparison_figure, printed_comparison
from alexnet.study.comparison import ComparisonTable, compare
from alexnet.study.report.page import MARKDOWN_FILE, PAGE_FILE, explanation, latex, markdown, page
from alexnet.study.report.wandb_run import publish
from alexnet.terminal import Terminal, busy, fitted

COMPARISON_FILE, RUNS_FILE = "comparison.csv", "comparison_runs.csv"
FILES = (COMPARISON_FILE, RUNS_FILE, MARKDOWN_FILE, PAGE_FILE, CHART_FILE)
JSON_FILE, LATEX_FILE = "comparison.json", "comparison.tex"
SHOWN = ("error", "delta", "low", "holm_p", "paper", "direction", "size")
"""Columns that fit a wide terminal; the files have all."""
WIDE = 96
"""Characters from which the table has room for `SHOWN`, and for one more space between columns."""
NOTEBOOK = 120
"""Characters of a line in a notebook."""
LEAST = ("Paper", "Size", "Holm p", "Error", "Interval")
"""Headings of the columns that a narrow terminal has no room for, the first first."""
NAME = 14
"""Characters of a name, where it is folded, before a column is left out."""


@dataclass(frozen=True)
class Comparison:
    """Tables of ablations with their baselines, and the runs that they are made of."""

    tables: tuple[ComparisonTable, ...]
    found: Collection

    def rows(self) -> list[wording.Record]:
        """Return the lines of `comparison.csv`, one for each ablation: for a pandas.DataFrame, say."""
        return table_columns.comparison_records(self.tables)

    def print(self, console: Console) -> None:
        """Print the tables with their remarks, and below what their columns mean, once for tables of the same words."""
        meanings = [explanation(table) if table.rows else "" for table in self.tables]
        for table, meaning, after in zip(self.tables, meanings, [*meanings[1:], ""], strict=True):
            print_table(table, console)
            if meaning != after:
                console.print(Text(meaning, style="dim"))
            console.print()
        if warning := self.found.warning:
            console.print(Text(printable(warning), style="red"))

    def __str__(self) -> str:
        console = Terminal(file=io.StringIO(), width=NOTEBOOK, record=True)
        self.print(console)
        return console.export_text()

    def _repr_html_(self) -> str:
        console = Terminal(file=io.StringIO(), width=NOTEBOOK, record=True)
        self.print(console)
        return console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def compare_runs(
    *runs: Run | str | Path, split: str | None = None, view: str = "ten_crop", stated: StatedSpread | None = None
) -> Comparison:
    """Compare runs, each ablation with its baseline; paths are run directories, or folders of them.

    `split` None is `test` if the runs have it, else `val`. `stated` is the spread between runs where each arm has one.

    Raises:
        UserError: no run can be read, none has the split and view, or their own spread is seen where one is stated.
    """
    paths = [one for one in runs if not isinstance(one, Run)]
    read = load_runs(*paths) if paths or not runs else Collection((), ())
    found = replace(read, runs=(*(one for one in runs if isinstance(one, Run)), *read.runs))
    return Comparison(tuple(compare(found.runs, split=split, view=view, stated=stated)), found)


def report(
    paths: Sequence[Path],
    *,
    output: Path | None,
    split: str | None,
    view: str,
    console: Console,
    wandb: WandbConfig | None = None,
    all_formats: bool = False,
    stated: StatedSpread | None = None,
) -> Comparison:
    """Compare the runs at or below `paths`: write the files, print the tables, log them to `wandb`, and return them.

    `output` None is that of `common_folder`. `split` None is `test` if the runs have it, else `val`.
    `all_formats` adds JSON, a table in LaTeX, and the figure as PDF and PNG. Trouble with W&B is a warning.

    Raises:
        UserError: as in `compare_runs` and `common_folder`, or `output` is not writable.
    """
    with busy("comparing runs", console):
        comparison = compare_runs(*paths, split=split, view=view, stated=stated)
        tables, found = comparison.tables, comparison.found
        folder = output or common_folder(found.runs, paths)
        runs = (
            table_columns.table_record(table) | record
            for table in tables
            for record in table_columns.run_records(table)
        )
        contents: dict[str, str | bytes] = {
            COMPARISON_FILE: wording.csv_text(
                table_columns.COMPARISON_COLUMNS, table_columns.comparison_records(tables)
            ),
            RUNS_FILE: wording.csv_text(table_columns.RUNS_COLUMNS, runs),
            MARKDOWN_FILE: markdown(tables, found.warning),
            PAGE_FILE: page(tables, found.warning, folder=folder.resolve()),
            CHART_FILE: comparison_figure(tables),
        }
        if all_formats:
            contents |= _further_formats(tables)
    for name, content in contents.items():
        write_file(folder / name, content)
    comparison.print(console)
    console.print(f"Written to {folder}: {', '.join(contents)}")
    if wandb is not None and (to := destination(wandb)).mode != "disabled":
        publish(tables, [folder / name for name in FILES], to, console)
    return comparison


def _further_formats(tables: Sequence[ComparisonTable]) -> dict[str, str | bytes]:
    """Return files for programs and for papers, by name."""
    records = [
        table_columns.table_record(table)
        | {
            "headline": wording.headline(table),
            "remarks": wording.remarks(table),
            "notes": [note.text for note in table.notes],
            "cost": wording.cost_line(table.made),
            "rows": table_columns.comparison_records([table]),
            "runs": table_columns.run_records(table),
        }
        for table in tables
    ]
    figure = Path(CHART_FILE)
    return {
        JSON_FILE: f"{json.dumps(records, indent=1)}\n",  # in ASCII: a name may hold what UTF-8 has not
        LATEX_FILE: latex(tables),
        **{str(figure.with_suffix(f".{kind}")): printed_comparison(tables, kind) for kind in ("pdf", "png")},
    }


def load_runs(*paths: str | Path) -> Collection:
    """Read the runs at or below `paths`, and list those that cannot be read; UserError if none can."""
    found = collect(map(Path, paths))
    if not found.runs:
        raise UserError(found.warning or "no runs")
    return found


def print_table(table: ComparisonTable, console: Console) -> None:
    """Print one table with its title and what it leaves out."""
    console.print(Text(printable(wording.title(table)), style="bold"))
    if target := wording.target_line(table):
        console.print(Text(target))
    if table.rows:
        printed = fitted(_rich_table(table, console.width), console, LEAST)
        printed.columns[0].max_width = None  # names get the room that is left
        console.print(printed, crop=False)
        console.print()
    for run in table.unfinished:
        console.print(Text(printable(f"{run}: {run.result.ending}"), style="red"))
    for line in wording.remarks(table):
        console.print(Text(printable(line), style="yellow"))
    for note in table.notes:
        console.print(Text(printable(note.text), style="yellow"))
        if note.command:
            command = as_started(note.command)
            console.print(Text(f"    {printable(command)}"), soft_wrap=True)  # whole, so that it can be copied
    if cost := wording.cost_line(table.made):
        console.print(Text(cost))


def _rich_table(table: ComparisonTable, width: int) -> Table:
    """Build the table; the row of an ablation is two lines high, top-1 over top-5."""
    wide = width >= WIDE
    shown = table_columns.shown_columns(table, [key for key in SHOWN if key != "size" or table.judges_sizes])
    printed = Table(box=box.SIMPLE_HEAD, padding=(0, 1 if wide else 0, 0, 0), show_edge=False)
    # Seeds that all rows share are in the title; their column's room lets long names stay whole.
    with_seeds = len({tuple(row.seeds) for row in table.rows}) > 1
    printed.add_column("Ablation", overflow="fold", max_width=NAME)
    if with_seeds:
        printed.add_column("Seeds")
    for header in ("", *(column.heading or "" for column in shown)):
        printed.add_column(header, justify="right", no_wrap=True)
    for row in table.rows:
        name = Text(printable(row.ablation), style="bold")
        if row.claim:
            name.append(f"\n{printable(wording.section(row))}", style="dim not bold")
        seeds = [wording.shown_seeds(row.seeds)] if with_seeds else []
        figures = ["\n".join(column.show(row, measure) for measure in table.measures) for column in shown]
        measures = "\n".join(wording.MEASURE_NAMES[measure] for measure in table.measures)
        printed.add_row(name, *map(Text, [*seeds, measures, *figures]))
    return printed
