"""The comparison as a W&B run of its own, in the group of the runs that it compares.

`docs/wandb.md` lists what is logged. W&B is imported only when there is something to log.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from alexnet.runs.result import BASELINE
from alexnet.runs.wandb_names import COMPARISON, Destination, group_name, tags
from alexnet.study.charts.delta_chart import CHART_FILE
from alexnet.study.comparison import MEASURES, Group, Row
from alexnet.study.report.export import (
    GROUP_FIGURES,
    ROW_FIGURES,
    RUN_COLUMNS,
    Record,
    group_record,
    row_record,
    run_records,
)
from alexnet.study.report.page import PAGE_FILE
from alexnet.study.wording import MEASURE_NAMES, title

if TYPE_CHECKING:
    import wandb

DELTAS_TABLE = "deltas"
RUNS_TABLE = "runs"
REPORT = "report"
INTERVALS_CHART = "intervals"
SUMMARY_FIGURES = ("low", "high", "p", "holm_p", "paper", "paper_verdict", "log", "log_verdict")
"""Figures of a delta that stand beside it in the summary."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows of a `wandb.Table`; None where there is no value."""

    columns: tuple[str, ...]
    rows: list[list[object]]


def publish(groups: Iterable[Group], files: Sequence[Path], destination: Destination, console: Console) -> None:
    """Log every table as a W&B run, with the report's `files` of one folder, and say where it went.

    Trouble with W&B, of whatever kind, becomes one line of warning: the report is on disk, the study is finished.
    """
    for group in groups:
        try:
            where = _log(group, files, destination)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            line = f"Warning: the comparison is not on W&B: {type(error).__name__}: {reason}"
            console.print(Text(line, style="yellow"), soft_wrap=True)
        else:
            console.print(Text(f"W&B comparison: {where}"), soft_wrap=True)


def _log(group: Group, files: Sequence[Path], destination: Destination) -> str:
    """Log one table as one run; the run's address, or its directory if it is offline."""
    import wandb

    with wandb.init(
        id=run_id(group),
        name=f"{COMPARISON}-{group.experiment}-{group.split}-{group.view}",
        resume="allow",  # the comparison of the same runs takes the place of the one before
        project=destination.project,
        entity=destination.entity,
        group=group_name(group.experiment, group.pairing_key),
        job_type=COMPARISON,
        tags=_tags(group),
        notes=title(group),
        dir=files[0].parent,
        mode="online" if destination.mode == "online" else "offline",
        config=config(group),
        settings=wandb.Settings(console="off", silent=True, reinit="create_new"),
    ) as run:
        run.log({**_tables(group), **_charts(group), **_pages(files)})
        run.summary.update(summary(group))
        run.log_artifact(_artifact(group, files, Path(run.dir)))
        # Offline, W&B answers a question for the address with a warning.
        return str(Path(run.dir).parent) if run.offline or not run.url else run.url


def run_id(group: Group) -> str:
    """The same for the same runs, whether they have finished or not, so that a repeated report updates its run."""
    identity = [group.pairing_key, group.fingerprint, group.split, group.view, run_names(group)]
    return f"{COMPARISON}-{sha256(json.dumps(identity).encode()).hexdigest()[:12]}"


def run_names(group: Group) -> list[str]:
    """Names of the runs of a table, which are their W&B ids as well."""
    return sorted(run.result.run for run in group.runs)


def _tags(group: Group) -> list[str]:
    """As those of the training runs: one for each ablation, alone or in a combination, then what they share."""
    ablations = {name for row in group.rows if row.ablation != BASELINE for name in row.ablation.split("+")}
    return tags([COMPARISON, *sorted(ablations), group.recipe, group.experiment, group.data])


def config(group: Group) -> Record:
    """What was compared: `GROUP_FIGURES`, and the compared runs by their W&B ids."""
    return {**group_record(group), "runs": run_names(group)}


def summary(group: Group) -> Record:
    """Errors in percent and deltas in points, by ablation and measure; keys as `docs/wandb.md` lists them."""
    return {key: value for row in group.rows for key, value in _row_summary(row).items()}


def _row_summary(row: Row) -> Record:
    values: Record = {}
    for measure in MEASURES:
        figures = _figures(row, measure)
        values[f"error/{row.ablation}/{measure}"] = figures["error"]
        values[delta_key(row.ablation, measure)] = figures["delta"]
        for name in SUMMARY_FIGURES if row.deltas else ():
            values[delta_key(row.ablation, measure, name)] = figures[name]
    return {key: value for key, value in values.items() if value is not None}


def _figures(row: Row, measure: str) -> Record:
    """By `ROW_FIGURES`, as in `comparison.csv`; None where there is no value."""
    record = row_record(row)
    values = {name: record.get(f"{measure}_{name}") for name in ROW_FIGURES}
    # W&B's tables know plain values only: a verdict as its text.
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def delta_key(ablation: str, measure: str, figure: str | None = None) -> str:
    """Where the summary holds the delta of an ablation, or a figure beside it."""
    key = f"delta/{ablation}/{measure}"
    return f"{key}_{figure}" if figure else key


def deltas_table(group: Group) -> Table:
    """One row for each ablation and measure: who, and `ROW_FIGURES`."""
    heads = ("ablation", "section", "seeds")
    rows = [
        [*(row_record(row)[head] for head in heads), measure, *_figures(row, measure).values()]
        for row in group.rows
        for measure in MEASURES
    ]
    return Table(columns=(*heads, "measure", *ROW_FIGURES), rows=rows)


def runs_table(group: Group) -> Table:
    """One row for each run, as in `comparison_runs.csv`."""
    columns = RUN_COLUMNS[len(GROUP_FIGURES) :]
    return Table(columns=columns, rows=[[record.get(name) for name in columns] for record in run_records(group)])


def bars(group: Group, measure: str) -> Table:
    """The deltas of one measure as labelled bars, each with those of the paper and of its log below it."""
    rows: list[list[object]] = []
    for row in group.rows:
        figures = _figures(row, measure)
        if figures["delta"] is not None:
            rows.append([row.ablation, figures["delta"]])
            claims = {source: figures[source] for source in ("paper", "log")}
            rows += [[f"{row.ablation} ({source})", value] for source, value in claims.items() if value is not None]
    return Table(columns=("ablation", "points"), rows=rows)


def bars_key(measure: str) -> str:
    """The key of a chart of `bars`."""
    return f"{measure}_deltas"


def _tables(group: Group) -> dict[str, "wandb.Table"]:
    return {DELTAS_TABLE: _wandb_table(deltas_table(group)), RUNS_TABLE: _wandb_table(runs_table(group))}


def _wandb_table(table: Table) -> "wandb.Table":
    import wandb

    return wandb.Table(columns=list(table.columns), data=table.rows)


def _charts(group: Group) -> dict[str, object]:
    import wandb

    charts: dict[str, object] = {}
    for measure in MEASURES:
        heights = bars(group, measure)
        if heights.rows:
            label, value = heights.columns
            heading = f"Rise of the {MEASURE_NAMES[measure]} error, points"
            charts[bars_key(measure)] = wandb.plot.bar(_wandb_table(heights), label, value, title=heading)
    return charts


def _pages(files: Sequence[Path]) -> dict[str, "wandb.Html"]:
    """The report's page and its chart."""
    import wandb

    keys = {PAGE_FILE: REPORT, CHART_FILE: INTERVALS_CHART}
    return {
        keys[file.name]: wandb.Html(file.read_text(encoding="utf-8"), inject=False, data_is_not_path=True)
        for file in files
        if file.name in keys
    }


def _artifact(group: Group, files: Sequence[Path], run_directory: Path) -> "wandb.Artifact":
    """The report's files, copied into the run first: an offline run is sent later, when the originals may differ."""
    import wandb

    artifact = wandb.Artifact(run_id(group), COMPARISON, description=title(group), metadata=config(group))
    copies = run_directory / REPORT
    copies.mkdir(exist_ok=True)
    for file in files:
        artifact.add_file(str(shutil.copyfile(file, copies / file.name)), policy="immutable")
    return artifact
