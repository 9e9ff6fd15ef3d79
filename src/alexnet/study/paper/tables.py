"""The paper's Tables 1 and 2 with our errors beside, from finished runs.

A row that no run can fill stays empty. Runs on other data have a table of their own.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.runs.collect import Run, collect
from alexnet.runs.directory import PROBABILITIES_FILE
from alexnet.study.pairing import drop_duplicates, group_runs
from alexnet.study.paper.ensemble import MEASURES, ensemble
from alexnet.study.paper.members import Net, read_members, read_nets
from alexnet.study.wording import MEASURE_NAMES, shown_seeds, unreadable_line

FILE = "tables.md"
VIEW = "ten_crop"
FINE_TUNED = "fine_tune_ilsvrc2012"
"""Experiment of the nets that the paper marks by an asterisk: trained on more classes first."""
AVERAGED = 5
"""Nets of the paper's `5 CNNs`, and of its `7 CNNs*`, that were trained on this set alone."""
AVERAGED_FINE_TUNED = 2
"""Nets of `7 CNNs*` that were trained on more classes first."""
READING = (
    "Percent; ten crops. Ours: of one net the mean over seeds, of several the error of the mean of their "
    "probabilities. An empty cell: no run of ours. Italics: results of others, as the paper cites them."
)

Cells = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A line of one of the paper's tables."""

    model: str
    errors: Cells
    """As printed."""
    ours: Callable[["Ours"], Sequence[Run]] | None = None
    """The runs that belong into this line, none where there are too few; None where others were measured."""


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One of the paper's tables."""

    title: str
    data: str
    columns: Sequence[tuple[str, str]]
    """Split and measure of each number."""
    rows: Sequence[PaperRow]


@dataclass(frozen=True, kw_only=True)
class Ours:
    """Finished runs without an ablation on one set of images, by one recipe."""

    single: Sequence[Run]
    """In order of seeds."""
    fine_tuned: Sequence[Run]


def _one(ours: Ours) -> Sequence[Run]:
    return ours.single


def _five(ours: Ours) -> Sequence[Run]:
    return ours.single[:AVERAGED] if len(ours.single) >= AVERAGED else ()


def _one_fine_tuned(ours: Ours) -> Sequence[Run]:
    return ours.fine_tuned


def _seven(ours: Ours) -> Sequence[Run]:
    enough = len(ours.fine_tuned) >= AVERAGED_FINE_TUNED and bool(_five(ours))
    return [*_five(ours), *ours.fine_tuned[:AVERAGED_FINE_TUNED]] if enough else ()


ENSEMBLES = (_five, _seven)
TABLES = (
    PaperTable(
        title="Table 1: ILSVRC-2010, test images",
        data="ilsvrc2010",
        columns=(("test", "top1"), ("test", "top5")),
        rows=(
            PaperRow(model="*Sparse coding [2]*", errors=("47.1", "28.2")),
            PaperRow(model="*SIFT + FVs [24]*", errors=("45.7", "25.7")),
            PaperRow(model="CNN", errors=("37.5", "17.0"), ours=_one),
        ),
    ),
    PaperTable(
        title="Table 2: ILSVRC-2012",
        data="ilsvrc2012",
        columns=(("val", "top1"), ("val", "top5"), ("test", "top5")),
        rows=(
            PaperRow(model="*SIFT + FVs [7]*", errors=("", "", "26.2")),
            PaperRow(model="1 CNN", errors=("40.7", "18.2", ""), ours=_one),
            PaperRow(model="5 CNNs", errors=("38.1", "16.4", "16.4"), ours=_five),
            PaperRow(model="1 CNN\\*", errors=("39.0", "16.6", ""), ours=_one_fine_tuned),
            PaperRow(model="7 CNNs\\*", errors=("36.7", "15.4", "15.3"), ours=_seven),
        ),
    ),
)


def report_tables(paths: Sequence[Path], *, output: Path | None, console: Console) -> None:
    """Print the tables as Markdown and write them to `tables.md` in `output` (None: above the runs).

    Raises:
        UserError: there are no runs, or the file cannot be written.
    """
    found = collect(paths)
    distinct = [run for group in group_runs(found.runs) for run in drop_duplicates(group)[0]]
    usable = [run for run in distinct if run.finished and run.is_baseline]
    if not usable:
        raise UserError(unreadable_line(found.damaged) or "no finished run without an ablation")
    text = markdown(usable)
    console.print(Text(text), soft_wrap=True)
    folder = output or Path(os.path.commonpath([run.directory.parent for run in found.runs]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / FILE, text.encode())
    except OSError as error:
        raise UserError(f"{folder}: the tables cannot be written there: {error.strerror}") from None
    console.print(Text(f"Written to {folder / FILE}"), soft_wrap=True)
    if warning := unreadable_line(found.damaged):
        console.print(Text(warning, style="red"))


def markdown(runs: Sequence[Run]) -> str:
    """All tables of these finished baselines as one Markdown document."""
    blocks = ["# The paper's Tables 1 and 2"]
    for table in TABLES:
        groups = _groups([run for run in runs if run.result.data.name == table.data]) or {"": None}
        blocks += [_paper_table(table, name, ours) for name, ours in groups.items()]
    others = [run for run in runs if run.result.data.name not in {table.data for table in TABLES}]
    blocks += [_other_table(group) for group in group_runs(others)]
    return "\n\n".join([*blocks, READING]) + "\n"


def _groups(runs: Sequence[Run]) -> dict[str, Ours | None]:
    """By name: the nets of each experiment and recipe, with the fine-tuned ones of the same recipe."""
    fine_tuned = [run for run in runs if run.result.experiment == FINE_TUNED]
    groups: dict[str, Ours | None] = {}
    for group in group_runs([run for run in runs if run not in fine_tuned]):
        recipe = group[0].result.recipe
        name = f"experiment {group[0].result.experiment}, recipe {recipe}, {group[0].result.pairing_key[:8]}"
        groups[name] = Ours(single=_by_seed(group), fine_tuned=_by_seed(_of_recipe(fine_tuned, recipe)))
    if fine_tuned and not groups:
        groups[f"experiment {FINE_TUNED}"] = Ours(single=(), fine_tuned=_by_seed(fine_tuned))
    return groups


def _of_recipe(runs: Sequence[Run], recipe: str) -> list[Run]:
    return [run for run in runs if run.result.recipe == recipe]


def _by_seed(runs: Sequence[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.result.seed)


def _paper_table(table: PaperTable, name: str, ours: Ours | None) -> str:
    heads = [_head(split, measure) for split, measure in table.columns]
    lines = [_line(["Model", *heads, *(f"{head}, ours" for head in heads), "Our nets"])]
    lines.append(_line(["---", *["---:"] * (2 * len(heads)), "---"]))
    for row in table.rows:
        runs = row.ours(ours) if row.ours and ours else ()
        numbers = [_ours(runs, split, measure, averaged=row.ours in ENSEMBLES) for split, measure in table.columns]
        lines.append(_line([row.model, *row.errors, *numbers, _nets(runs)]))
    return "\n".join([f"## {table.title}", "", *([f"Ours: {name}.", ""] if name else []), *lines])


def _other_table(group: Sequence[Run]) -> str:
    """The same for data that the paper has no table of: one net, and the mean of all there are."""
    runs, result = _by_seed(group), group[0].result
    columns = [(split, measure) for split in result.errors for measure in MEASURES]
    lines = [_line(["Model", *(_head(*column) for column in columns), "Our nets"])]
    lines.append(_line(["---", *["---:"] * len(columns), "---"]))
    for model, averaged in (("1 CNN", False), *([(f"{len(runs)} CNNs", True)] if len(runs) > 1 else [])):
        numbers = [_ours(runs, split, measure, averaged=averaged) for split, measure in columns]
        lines.append(_line([model, *numbers, _nets(runs)]))
    title = f"## {result.data.name}, {result.data.classes:,} classes: experiment {result.experiment}"
    return "\n".join([f"{title}, recipe {result.recipe}", "", *lines])


def _head(split: str, measure: str) -> str:
    return f"{MEASURE_NAMES[measure].capitalize()} ({split})"


def _nets(runs: Sequence[Run]) -> str:
    return f"seeds {shown_seeds(run.result.seed for run in runs)}" if runs else ""


def _ours(runs: Sequence[Run], split: str, measure: str, *, averaged: bool) -> str:
    """A cell; empty where there are no runs, or not every run has been asked about these images."""
    if not runs or any(VIEW not in run.result.errors.get(split, {}) for run in runs):
        return ""
    if averaged:
        return _ensemble_error(runs, split, measure)
    return f"{100 * sum(getattr(run.result.errors[split][VIEW], measure) for run in runs) / len(runs):.2f}"


def _ensemble_error(runs: Sequence[Run], split: str, measure: str) -> str:
    if not all((run.directory / PROBABILITIES_FILE).is_file() for run in runs):
        return f"needs {PROBABILITIES_FILE}"
    nets: list[Net] = read_nets([run.directory for run in runs])
    if any(split not in net.answered.splits for net in nets):
        return f"needs {PROBABILITIES_FILE} of {split}"
    members, labels = read_members(nets, split, VIEW)
    together = ensemble("mean", members, [1 / len(members)] * len(members), labels)
    return f"{together.errors[measure].percent:.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
