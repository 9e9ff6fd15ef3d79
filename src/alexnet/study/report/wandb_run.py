"""The comparison as a W&B run, in the group of the runs that it compares.

`docs/wandb.md` lists what is logged. W&B is imported only when there is something to log.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from rich.console import Console
from rich.text import Text

from alexnet.config.values import WandbConfig
from alexnet.errors import first_line, printable
from alexnet.runs.directory import WANDB
from alexnet.runs.result import BASELINE
from alexnet.runs.wandb_names import COMPARISON, client, group_name, tags, why_not_online
from alexnet.study.charts import CHART_FILE
from alexnet.study.comparison import ComparisonTable
from alexnet.study.report.page import PAGE_FILE
from alexnet.study.table_columns import (
    COLUMNS,
    ROW_FIELDS,
    RUNS_COLUMNS,
    TABLE_FIELDS,
    row_facts,
    run_records,
    table_record,
)
from alexnet.study.wording import Record, title

DELTAS_TABLE, RUNS_TABLE = "deltas", "runs"
REPORT, INTERVALS_CHART = "report", "intervals"


def publish(tables: Iterable[ComparisonTable], files: Sequence[Path], to: WandbConfig, console: Console) -> None:
    """Log every table as a W&B run, with the report's `files` of one folder, and say where it went.

    Any trouble with W&B becomes one line of warning: the report is on disk, the study is finished.
    """
    if to.mode == "online" and (reason := why_not_online()) is not None:
        line = f"W&B: {reason}; the comparison is offline: wandb sync {files[0].parent / WANDB}/offline-run-*"
        console.print(Text(printable(line), style="yellow"), soft_wrap=True)
        to = replace(to, mode="offline")
    for table in tables:
        try:
            where = _log(table, files, to)
        except Exception as error:
            line = f"Warning: the comparison is not on W&B: {type(error).__name__}: {first_line(error)}"
            console.print(Text(printable(line), style="yellow"), soft_wrap=True)
        else:
            console.print(Text(f"W&B comparison: {where}"), soft_wrap=True)


def _log(table: ComparisonTable, files: Sequence[Path], to: WandbConfig) -> str:
    """Log one table as one run; return its address, or its directory if it is offline."""
    wandb = client()
    # Tags like those of the training runs: one for each ablation, alone or in a combination, then what they share.
    ablations = {name for row in table.rows if row.ablation != BASELINE for name in row.ablation.split("+")}
    with wandb.init(
        id=run_id(table),
        name=f"{COMPARISON}-{table.experiment}-{table.split}-{table.view}",
        resume="allow",  # the comparison of the same runs replaces the one before
        project=to.project,
        entity=to.entity,
        group=group_name(table.experiment, table.pairing_key),
        job_type=COMPARISON,
        tags=tags([COMPARISON, *sorted(ablations), table.recipe, table.experiment, table.data]),
        notes=title(table),
        dir=files[0].parent,
        mode="online" if to.mode == "online" else "offline",
        config=config(table),
        settings=wandb.Settings(console="off", silent=True, reinit="create_new"),
    ) as run:
        delta_columns = [*ROW_FIELDS, "measure", *(column.key for column in COLUMNS)]
        run_columns = RUNS_COLUMNS[len(TABLE_FIELDS) :]
        deltas = [
            [*row_facts(row).values(), k, *(column.value(row, k) for column in COLUMNS)]
            for row in table.rows
            for k in table.measures
        ]
        runs = [[record.get(key) for key in run_columns] for record in run_records(table)]
        shown: dict[str, object] = {
            DELTAS_TABLE: wandb.Table(columns=[*delta_columns], data=deltas),
            RUNS_TABLE: wandb.Table(columns=[*run_columns], data=runs),
        }
        for file in files:
            if name := {PAGE_FILE: REPORT, CHART_FILE: INTERVALS_CHART}.get(file.name):
                shown[name] = wandb.Html(file.read_text(encoding="utf-8"), inject=False, data_is_not_path=True)
        run.log(shown)
        run.summary.update(summary(table))
        artifact = wandb.Artifact(run_id(table), COMPARISON, description=title(table), metadata=config(table))
        # Copied into the run first: an offline run is sent later, when the originals may differ.
        copies = Path(run.dir) / REPORT
        copies.mkdir(exist_ok=True)
        for file in files:
            artifact.add_file(str(shutil.copyfile(file, copies / file.name)), policy="immutable")
        run.log_artifact(artifact)
        # Offline, W&B answers a question for the address with a warning.
        return str(Path(run.dir).parent) if run.offline or not run.url else run.url


def run_id(table: ComparisonTable) -> str:
    """Return an id that is the same for the same runs, finished or not, so that a repeated report updates its run."""
    identity = [table.pairing_key, table.fingerprint, table.split, table.view, config(table)["runs"]]
    return f"{COMPARISON}-{sha256(json.dumps(identity).encode()).hexdigest()[:12]}"


def config(table: ComparisonTable) -> Record:
    """Return what was compared: `TABLE_FIELDS`, and the compared runs by their W&B ids."""
    return {**table_record(table), "runs": sorted(run.result.run for run in table.runs)}


def summary(table: ComparisonTable) -> Record:
    """Return the figures that are known, by ablation and measure; `docs/wandb.md` lists the keys."""
    return {
        delta_key(row.ablation, k, column.key) if column.key != "error" else f"error/{row.ablation}/{k}": value
        for row in table.rows
        for k in table.measures
        for column in COLUMNS
        if (value := column.value(row, k)) is not None and (row.assessments or column.key == "error")
    }


def delta_key(ablation: str, measure: str, figure: str = "delta") -> str:
    """Return where the summary holds the delta of an ablation, or another figure of it."""
    return f"delta/{ablation}/{measure}{'' if figure == 'delta' else f'_{figure}'}"
