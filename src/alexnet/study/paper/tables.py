"""The paper's Tables 1 and 2 with our errors, from finished runs.

A row that no run can fill stays empty. Runs on other data have a table each.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from alexnet.errors import UserError, printable
from alexnet.files import write_file
from alexnet.runs.collect import Run, collect, common_folder
from alexnet.runs.directory import PROBABILITIES_FILE
from alexnet.runs.result import Result
from alexnet.study.assessment import GUESSES
from alexnet.study.pairing import FEW_CLASSES, changed_settings, distinguishing_overrides, drop_duplicates, group_runs
from alexnet.study.paper.ensemble import plain_mean, read_members, read_nets
from alexnet.study.wording import MEASURE_NAMES, escape_markdown, markdown_table, named_seeds

FILE = "tables.md"
VIEW = "ten_crop"
FINE_TUNED = "fine_tune_ilsvrc2012"
"""Experiment of the nets that the paper marks by an asterisk: trained on more classes first."""
READING = (
    "Percent; ten crops. Ours: of one net the mean over seeds, of several the error of the mean of their "
    "probabilities. An empty cell: no run of ours. Italics: results of others, as the paper cites them."
)


class PaperTable(NamedTuple):
    """One of the paper's tables."""

    title: str
    data: str
    columns: Sequence[tuple[str, str]]
    """Split and measure of each number."""
    rows: Mapping[str, Sequence[str]]
    """Model -> errors as printed."""


TABLES = (
    PaperTable(
        title="Table 1: ILSVRC-2010, test images",
        data="ilsvrc2010",
        columns=(("test", "top1"), ("test", "top5")),
        rows={
            "*Sparse coding [2]*": ("47.1", "28.2"),
            "*SIFT + FVs [24]*": ("45.7", "25.7"),
            "CNN": ("37.5", "17.0"),
        },
    ),
    PaperTable(
        title="Table 2: ILSVRC-2012",
        data="ilsvrc2012",
        columns=(("val", "top1"), ("val", "top5"), ("test", "top5")),
        rows={
            "*SIFT + FVs [7]*": ("", "", "26.2"),
            "1 CNN": ("40.7", "18.2", ""),
            "5 CNNs": ("38.1", "16.4", "16.4"),
            "1 CNN\\*": ("39.0", "16.6", ""),
            "7 CNNs\\*": ("36.7", "15.4", "15.3"),
        },
    ),
)


def report_tables(paths: Sequence[Path], *, output: Path | None, console: Console) -> None:
    """Write the tables to `tables.md` in `output` (None: that of `common_folder`) and print them.

    Raises:
        UserError: there are no runs, or the file cannot be written.
    """
    found = collect(paths)
    counted = (run for run in found.runs if run.is_baseline and not run.result.is_search)
    usable = [run for group in group_runs(counted) for run in drop_duplicates(group)[0] if run.finished]
    if not usable:
        raise UserError(found.warning or "no finished run without an ablation")
    text = markdown(sorted(usable, key=_seed))
    folder = output or common_folder(found.runs, paths)
    write_file(folder / FILE, text)
    console.print(Text(printable(text.replace("\\", ""), lines=True)), soft_wrap=True)
    console.print(Text(f"Written to {folder / FILE}"), soft_wrap=True)
    if warning := found.warning:
        console.print(Text(printable(warning), style="red"))


def markdown(runs: Sequence[Run]) -> str:
    """Return all tables of these finished baselines, in order of seeds, as one Markdown document."""
    blocks = ["# The paper's Tables 1 and 2"]
    for table in TABLES:
        of_table = [run for run in runs if run.result.data.name == table.data]
        blocks += [_block(table, about, ours) for about, ours in _models(of_table).items() or [("", {})]]
    others = (run for run in runs if run.result.data.name not in {table.data for table in TABLES})
    groups = group_runs(others)
    apart = distinguishing_overrides(groups)
    blocks += [_other_block(group, about) for group, about in zip(groups, apart, strict=True)]
    return "\n\n".join([*blocks, READING]) + "\n"


def _seed(run: Run) -> int:
    return run.result.seed


def _models(runs: Sequence[Run]) -> dict[str, dict[str, Sequence[Run]]]:
    """Return what our nets are -> the paper's models -> our runs of each.

    An asterisk marks the fine-tuned nets of the same recipe, those of one setting at a time; they may start from
    several pre-trained nets. An average of more nets than there are has no runs.
    """
    fine_tuned: dict[str, dict[str, list[Run]]] = {}
    for run in (run for run in runs if run.result.experiment == FINE_TUNED):
        changed = [word for word in changed_settings(run.result) if not word.startswith("pretrained.checkpoint=")]
        words = ", ".join([*changed, f"data {run.result.data.fingerprint[:8]}"])
        fine_tuned.setdefault(_code(run.result), {}).setdefault(words, []).append(run)
    models: dict[str, dict[str, Sequence[Run]]] = {}
    for group in group_runs(run for run in runs if run.result.experiment != FINE_TUNED):
        result = group[0].result
        about = ", ".join([f"experiment {result.experiment}", *changed_settings(result), _code(result)])
        about += f", {result.pairing_key[:8]}, data {result.data.fingerprint[:8]}"
        settings = fine_tuned.get(_code(result), {"": []})
        for words, tuned in settings.items():
            models[about + (f"; fine-tuned: {words}" if len(settings) > 1 else "")] = _by_model(group, tuned)
    return models or {
        f"experiment {FINE_TUNED}, {code}, {words}": _by_model([], tuned)
        for code, settings in fine_tuned.items()
        for words, tuned in settings.items()
    }


def _by_model(single: list[Run], tuned: list[Run]) -> dict[str, Sequence[Run]]:
    five = single[:5] if len(single) >= 5 else []
    seven = [*five, *tuned[:2]] if five and len(tuned) >= 2 else []
    return {"CNN": single, "1 CNN": single, "5 CNNs": five, "1 CNN\\*": tuned, "7 CNNs\\*": seven}


def _code(result: Result) -> str:
    return f"recipe {result.recipe}, NUMERICS {result.numerics}"


def _block(table: PaperTable, about: str, ours: Mapping[str, Sequence[Run]]) -> str:
    """Return a title, what our nets are, and a table with our numbers after those of the paper, if it has any."""
    heads = [f"{MEASURE_NAMES[measure].capitalize()} ({escape_markdown(split)})" for split, measure in table.columns]
    if any(table.rows.values()):
        heads += [f"{head}, ours" for head in heads]
    header = ["Model", *heads, "Our nets"]
    rows = []
    for model, errors in table.rows.items():
        runs = ours.get(model, [])
        numbers = [_number(runs, split, measure, averaged="CNNs" in model) for split, measure in table.columns]
        rows.append([model, *errors, *numbers, named_seeds(map(_seed, runs)) if runs else ""])
    words = [f"Ours: {escape_markdown(about)}."] if about else []
    return "\n\n".join([f"## {table.title}", *words, markdown_table(header, rows, left=(0, len(header) - 1))])


def _other_block(runs: Sequence[Run], apart: str) -> str:
    """Return the same for data that the paper has no table of: one net, and the mean of all."""
    result = runs[0].result
    about = f"{result.data.classes:,} classes: experiment {result.experiment}, {_code(result)}"
    about += f", {apart}" if apart not in about else ""
    models = ["1 CNN", f"{len(runs)} CNNs"] if len(runs) > 1 else ["1 CNN"]
    table = PaperTable(
        title=escape_markdown(f"{result.data.name}, {about}"),
        data=result.data.name,
        columns=[
            (split, measure)
            for split, views in result.errors.items()
            for measure in GUESSES
            if any(getattr(rates, measure) is not None for rates in views.values())
        ],
        rows=dict.fromkeys(models, ()),
    )
    block = _block(table, "", dict.fromkeys(models, runs))
    return f"{block}\n\n{FEW_CLASSES}" if result.data.classes < max(GUESSES.values()) else block


def _number(runs: Sequence[Run], split: str, measure: str, *, averaged: bool) -> str:
    """Return a cell; empty if there are no runs, or some do not have this error of these images."""
    rates: list[Any] = [getattr(run.result.errors.get(split, {}).get(VIEW), measure, None) for run in runs]
    if not rates or None in rates:
        return ""
    if not averaged:
        return f"{100 * sum(rates) / len(rates):.2f}"
    if not all((run.directory / PROBABILITIES_FILE).is_file() for run in runs):
        return f"needs {PROBABILITIES_FILE}"
    try:
        nets = read_nets([run.directory for run in runs])
        if any(split not in header.splits for header in nets.values()):
            return f"needs {PROBABILITIES_FILE} of {escape_markdown(split)}"
        return f"{plain_mean(*read_members(nets, split, VIEW)).errors[measure].percent:.2f}"
    except UserError as error:
        return escape_markdown(str(error))
