"""A saved W&B workspace and a W&B report about a study, as code.

The two `*_of` functions build without the network; `save` sends what they build. Needs the extra `dashboards`. Panels
refer to keys that the training runs and the comparison run log (`docs/wandb.md`).
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wandb_workspaces import expr
from wandb_workspaces import workspaces as ws
from wandb_workspaces.reports.v2 import interface as wr

from alexnet.errors import UserError, first_line
from alexnet.files import write_file
from alexnet.runs.wandb_names import COMPARISON, TRAINING, group_name
from alexnet.study.comparison import ComparisonTable
from alexnet.study.pairing import MEASURES
from alexnet.study.report.page import markdown
from alexnet.study.report.wandb_run import DELTAS_TABLE, INTERVALS_CHART, REPORT, RUNS_TABLE, delta_key
from alexnet.study.wording import MEASURE_NAMES, heading, title

NAME = "AlexNet ablations"
DELTAS, FINAL, PAGES = "Error deltas and the paper's", "Final errors", "Tables and report"
CURVES = {
    "Validation": {
        "val/top1_error": "Validation top-1 error, %",
        "val/top5_error": "Validation top-5 error, %",
        "val/loss": "Validation loss",
    },
    "Training": {"train/loss": "Training loss", "train/top1_error": "Training top-1 error, % of augmented crops"},
    "Rate and speed": {"rate": "Learning rate", "images_per_second": "Training images per second"},
}
"""Section -> history key -> title of the panel."""
CONTENT = {ws.Workspace: ("sections", "settings", "runset_settings"), wr.Report: ("blocks", "title", "width")}
ADDRESSES_FILE = "wandb_views.json"
"""In the folder of the runs: where the workspace and the report are."""
LOG_SCALE = ("rate",)
BY_ABLATION: dict[str, Any] = {
    "groupby": wr.Config("ablation"),
    "groupby_aggfunc": "mean",
    "groupby_rangefunc": "minmax",
    "max_runs_to_show": 100,  # W&B's own limit of 10 would leave out most of a study
}
"""Panels show the mean over seeds and the range between them."""


def save(tables: Sequence[ComparisonTable], *, entity: str, project: str, folder: Path) -> dict[str, str]:
    """Save both on the server and return their addresses, which `folder` keeps: the next call edits the same two.

    Raises:
        UserError: W&B refuses or is not reached.
    """
    made: dict[str, Any] = {
        "workspace": workspace_of(tables, entity=entity, project=project),
        "report": report_of(tables, entity=entity, project=project),
    }
    file = folder / ADDRESSES_FILE
    try:
        before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        addresses = {name: _in_place(view, before.get(name), [entity, project]) for name, view in made.items()}
        write_file(file, json.dumps(addresses, indent=2) + "\n")
    except Exception as error:  # of many libraries: the network's, the server's, W&B's own
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"W&B did not save it in {entity}/{project}: {reason}") from error
    return addresses


def _in_place(made: Any, address: str | None, place: list[str]) -> str:
    """Save a view as the content of the one at an address in an entity and project; a new one if there is none."""
    saved = made
    if address and urlsplit(address).path.split("/")[1:3] == place:
        with suppress(Exception):  # deleted, or of another server
            saved = type(made).from_url(address)
            for field in CONTENT[type(made)]:
                setattr(saved, field, getattr(made, field))
    return str(saved.save().url)


def workspace_of(tables: Sequence[ComparisonTable], *, entity: str, project: str) -> ws.Workspace:
    """Build the workspace: deltas and the claimed ones, final errors, and every curve, all by ablation."""
    names = [group_name(table.experiment, table.pairing_key) for table in tables]
    errors = [f"summary:{split}/{view}/{k}_error" for split, view in _evaluated(tables) for k in MEASURES]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[ws.Section(name=name, panels=made, is_open=name != PAGES) for name, made in _panels(tables).items()],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Metric("Group").isin(names)),
            groupby=[expr.Config("ablation")],
            pinned_columns=["run:displayName", "run:jobType", "config:seed.value", *errors],
        ),
    )


def report_of(tables: Sequence[ComparisonTable], *, entity: str, project: str) -> wr.Report:
    """Build the report: for each table its figures in words, the deltas, the final errors, and the curves."""
    blocks: list[wr.BlockTypes] = [wr.TableOfContents()]
    for table in tables:
        panels = _panels([table])
        blocks += [
            wr.H1(text=heading(table)),
            wr.P(text=title(table)),
            wr.H2(text=DELTAS),
            _grid(table, COMPARISON, [*panels[DELTAS], *panels[PAGES]]),
            wr.H2(text="Errors and curves by ablation"),
            _grid(table, TRAINING, [panel for name in (FINAL, *CURVES) for panel in panels[name]]),
            wr.H2(text="Table and commands"),
            wr.MarkdownBlock(text=markdown([table])),
        ]
    return wr.Report(entity=entity, project=project, title=NAME, blocks=blocks, width="fluid")


def _grid(table: ComparisonTable, job_type: str, panels: list[wr.PanelTypes]) -> wr.PanelGrid:
    """Build panels over the runs of one job type, of the report's own project."""
    name = group_name(table.experiment, table.pairing_key)
    filters = expr.And(expr.Metric("Group") == name, expr.Metric("JobType") == job_type)
    return wr.PanelGrid(runsets=[wr.Runset(name=job_type, filters=filters)], panels=panels)


def _evaluated(tables: Sequence[ComparisonTable]) -> list[tuple[str, str]]:
    return sorted({(table.split, table.view) for table in tables})


def _panels(tables: Sequence[ComparisonTable]) -> dict[str, list[wr.PanelTypes]]:
    """Build the panels of each section; those of an ablation have a bar for its delta and for each that is claimed."""
    rows = {row.ablation: row for table in tables for row in table.compared}
    panels: dict[str, list[wr.PanelTypes]] = {
        DELTAS: [
            wr.BarPlot(
                title=f"{name}: rise of the {MEASURE_NAMES[k]} error, points",
                metrics=[delta_key(name, k), *(delta_key(name, k, source) for source in row.claims[k])],
            )
            for name, row in rows.items()
            for k in MEASURES
        ],
        FINAL: [
            wr.BarPlot(
                title=f"{MEASURE_NAMES[k]} error, % of the {split} images, {view}",
                metrics=[f"{split}/{view}/{k}_error"],
                **BY_ABLATION,
            )
            for split, view in _evaluated(tables)
            for k in MEASURES
        ],
    }
    for section, keys in CURVES.items():
        panels[section] = [
            wr.LinePlot(title=heading, x="epoch", y=[key], log_y=key in LOG_SCALE or None, **BY_ABLATION)
            for key, heading in keys.items()
        ]
    pages = wr.MediaBrowser(title="Chart and report", media_keys=[INTERVALS_CHART, REPORT], num_columns=1)
    panels[PAGES] = [pages, *(wr.WeavePanelSummaryTable(table_name=name) for name in (DELTAS_TABLE, RUNS_TABLE))]
    return panels
