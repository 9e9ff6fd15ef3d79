"""The paper's Tables 1 and 2 with our errors, from finished runs.

A row that no run can fill stays empty. Runs on other data have a table each.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from alexnet.errors import UserError
from alexnet.files import write_file
from alexnet.runs.collect import Run, collect
from alexnet.runs.directory import PROBABILITIES_FILE
from alexnet.study.pairing import drop_duplicates, group_runs
from alexnet.study.paper.ensemble import MEASURES, ensemble
from alexnet.study.paper.members import read_members, read_nets
from alexnet.study.wording import (
    MEASURE_NAMES,
    clean,
    escape_markdown,
    markdown_table,
    shown_seeds,
    unreadable_line,
)

FILE = "tables.md"
VIEW = "ten_crop"
FINE_TUNED = "fine_tune_ilsvrc2012"
"""Experiment of the nets that the paper marks by an asterisk: trained on more classes first."""
READING = (
    "Percent; ten crops. Ours: of one net the mean over seeds, of several the error of the mean of their "
    "probabilities. An empty cell: no run of ours. Italics: results of others, as the paper cites them."
)


@dataclass(frozen=True, kw_only=True)
class Ours:
    """Finished runs without an ablation on one set of images, by one recipe, in order of seeds."""

    single: Sequence[Run]
    fine_tuned: Sequence[Run]

    @property
    def five(self) -> Sequence[Run]:
        """The paper's `5 CNNs`; empty if there are too few."""
        return self.single[:5] if len(self.single) >= 5 else ()

    @property
    def seven(self) -> Sequence[Run]:
        """The paper's `7 CNNs*`: its five, and two that were trained on more classes first; empty if too few."""
        return [*self.five, *self.fine_tuned[:2]] if self.five and len(self.fine_tuned) >= 2 else ()


class PaperRow(NamedTuple):
    """A line of one of the paper's tables."""

    model: str
    errors: tuple[str, ...]
    """As printed."""
    nets: str = ""
    """The field of `Ours` with our runs of this line; empty for the results of others."""


class PaperTable(NamedTuple):
    """One of the paper's tables."""

    title: str
    data: str
    columns: Sequence[tuple[str, str]]
    """Split and measure of each number."""
    rows: Sequence[PaperRow]


AVERAGED = ("five", "seven")
"""Fields of `Ours` whose line is the error of the nets' average."""
TABLES = (
    PaperTable(
        title="Table 1: ILSVRC-2010, test images",
        data="ilsvrc2010",
        columns=(("test", "top1"), ("test", "top5")),
        rows=(
            PaperRow("*Sparse coding [2]*", ("47.1", "28.2")),
            PaperRow("*SIFT + FVs [24]*", ("45.7", "25.7")),
            PaperRow("CNN", ("37.5", "17.0"), "single"),
        ),
    ),
    PaperTable(
        title="Table 2: ILSVRC-2012",
        data="ilsvrc2012",
        columns=(("val", "top1"), ("val", "top5"), ("test", "top5")),
        rows=(
            PaperRow("*SIFT + FVs [7]*", ("", "", "26.2")),
            PaperRow("1 CNN", ("40.7", "18.2", ""), "single"),
            PaperRow("5 CNNs", ("38.1", "16.4", "16.4"), "five"),
            PaperRow("1 CNN\\*", ("39.0", "16.6", ""), "fine_tuned"),
            PaperRow("7 CNNs\\*", ("36.7", "15.4", "15.3"), "seven"),
        ),
    ),
)


def report_tables(paths: Sequence[Path], *, output: Path | None, console: Console) -> None:
    """Write the tables to `tables.md` in `output` (None: above the runs) and print them.

    Raises:
        UserError: there are no runs, or the file cannot be written.
    """
    found = collect(paths)
    distinct = [run for group in group_runs(found.runs) for run in drop_duplicates(group)[0]]
    usable = [run for run in distinct if run.finished and run.is_baseline]
    if not usable:
        raise UserError(unreadable_line(found.unreadable) or "no finished run without an ablation")
    text = markdown(usable)
    folder = output or Path(os.path.commonpath([run.directory.parent for run in found.runs]))
    write_file(folder / FILE, text)
    console.print(Text(text), soft_wrap=True)
    console.print(Text(f"Written to {folder / FILE}"), soft_wrap=True)
    if warning := unreadable_line(found.unreadable):
        console.print(Text(clean(warning), style="red"))


def markdown(runs: Sequence[Run]) -> str:
    """Return all tables of these finished baselines as one Markdown document."""
    blocks = ["# The paper's Tables 1 and 2"]
    for table in TABLES:
        groups = _groups([run for run in runs if run.result.data.name == table.data])
        blocks += [_paper_table(table, name, ours) for name, ours in groups.items()]
    others = [run for run in runs if run.result.data.name not in {table.data for table in TABLES}]
    blocks += [_other_table(sorted(group, key=_seed)) for group in group_runs(others)]
    return "\n\n".join([*blocks, READING]) + "\n"


def _seed(run: Run) -> int:
    return run.result.seed


def _groups(runs: Sequence[Run]) -> dict[str, Ours]:
    """Group by name: the nets of each experiment and recipe, with the fine-tuned ones of the same recipe."""
    fine_tuned = sorted((run for run in runs if run.result.experiment == FINE_TUNED), key=_seed)
    groups = {}
    for group in group_runs(run for run in runs if run.result.experiment != FINE_TUNED):
        result = group[0].result
        name = f"experiment {result.experiment}, recipe {result.recipe}, {result.pairing_key[:8]}"
        of_recipe = [run for run in fine_tuned if run.result.recipe == result.recipe]
        groups[name] = Ours(single=sorted(group, key=_seed), fine_tuned=of_recipe)
    alone = f"experiment {FINE_TUNED}" if fine_tuned else ""
    return groups or {alone: Ours(single=(), fine_tuned=fine_tuned)}


def _paper_table(table: PaperTable, name: str, ours: Ours) -> str:
    heads = [_head(*column) for column in table.columns]
    header = ["Model", *heads, *(f"{head}, ours" for head in heads), "Our nets"]
    rows = [
        [row.model, *row.errors, *_numbers(getattr(ours, row.nets, ()), table.columns, averaged=row.nets in AVERAGED)]
        for row in table.rows
    ]
    about = [f"Ours: {escape_markdown(name)}."] if name else []
    return "\n\n".join([f"## {table.title}", *about, markdown_table(header, rows, left=(0, len(header) - 1))])


def _other_table(runs: Sequence[Run]) -> str:
    """Return the same for data that the paper has no table of: one net, and the mean of all."""
    result = runs[0].result
    columns = [(split, measure) for split in result.errors for measure in MEASURES]
    header = ["Model", *(_head(*column) for column in columns), "Our nets"]
    rows = [["1 CNN", *_numbers(runs, columns, averaged=False)]]
    if len(runs) > 1:
        rows.append([f"{len(runs)} CNNs", *_numbers(runs, columns, averaged=True)])
    about = f"{result.data.classes:,} classes: experiment {result.experiment}, recipe {result.recipe}"
    title = f"## {escape_markdown(f'{result.data.name}, {about}')}"
    return f"{title}\n\n{markdown_table(header, rows, left=(0, len(header) - 1))}"


def _head(split: str, measure: str) -> str:
    return f"{MEASURE_NAMES[measure].capitalize()} ({escape_markdown(split)})"


def _numbers(runs: Sequence[Run], columns: Sequence[tuple[str, str]], *, averaged: bool) -> list[str]:
    """Return our cells of a line, and which nets they are of."""
    nets = f"seeds {shown_seeds(map(_seed, runs))}" if runs else ""
    return [*(_number(runs, split, measure, averaged=averaged) for split, measure in columns), nets]


def _number(runs: Sequence[Run], split: str, measure: str, *, averaged: bool) -> str:
    """Return a cell; empty if there are no runs, or some were not evaluated on these images."""
    if not runs or any(VIEW not in run.result.errors.get(split, {}) for run in runs):
        return ""
    if not averaged:
        return f"{100 * sum(getattr(run.result.errors[split][VIEW], measure) for run in runs) / len(runs):.2f}"
    if not all((run.directory / PROBABILITIES_FILE).is_file() for run in runs):
        return f"needs {PROBABILITIES_FILE}"
    nets = read_nets([run.directory for run in runs])
    if any(split not in net.header.splits for net in nets):
        return f"needs {PROBABILITIES_FILE} of {split}"
    members, labels = read_members(nets, split, VIEW)
    together = ensemble("mean", members, [1 / len(members)] * len(members), labels)
    return f"{together.errors[measure].percent:.2f}"
