"""A saved W&B workspace and a W&B report about a study, as code.

The two `*_of` functions build and do not touch the network; `save` sends what they build. Needs the extra
`dashboards`. Panels refer to keys that the training runs and the comparison run log (`docs/wandb.md`).
"""

from collections.abc import Sequence

from wandb_workspaces import expr
from wandb_workspaces import workspaces as ws
from wandb_workspaces.reports.v2 import interface as wr

from alexnet.errors import UserError
from alexnet.runs.wandb_names import COMPARISON, TRAINING, group_name
from alexnet.study.comparison import MEASURES, Group, Row, claimed
from alexnet.study.report.dashboard import DELTAS_TABLE, INTERVALS_CHART, REPORT, RUNS_TABLE, delta_key
from alexnet.study.report.markdown import markdown
from alexnet.study.wording import MEASURE_NAMES, title

NAME = "AlexNet ablations"
ABLATION = wr.Config("ablation")
"""What curves and bars are grouped by; W&B then shows the mean over seeds and the range between them."""
CURVES = {
    "Validation": {
        "val/top1_error": "Validation top-1 error, %",
        "val/top5_error": "Validation top-5 error, %",
        "val/loss": "Validation loss",
    },
    "Training": {
        "train/loss": "Training loss",
        "train/top1_error": "Training top-1 error, % of augmented crops",
    },
    "Rate and speed": {"rate": "Learning rate", "images_per_second": "Training images per second"},
}
"""Section -> history key -> title of the panel."""
LOG_SCALE = ("rate",)
MOST_RUNS = 100
"""In one panel; W&B's own limit of 10 would leave out most of a study."""


def save(groups: Sequence[Group], *, entity: str, project: str) -> dict[str, str]:
    """Save both on the server as new views and return their addresses. UserError if W&B refuses or is not reached."""
    workspace = workspace_of(groups, entity=entity, project=project)
    report = report_of(groups, entity=entity, project=project)
    try:
        return {"workspace": workspace.save().url, "report": report.save().url}
    except Exception as error:  # of many libraries: the network's, the server's, W&B's own
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"W&B did not save it in {entity}/{project}: {type(error).__name__}: {reason}") from error


def workspace_of(groups: Sequence[Group], *, entity: str, project: str) -> ws.Workspace:
    """The workspace: deltas beside the claimed ones, final errors, and every curve, all by ablation."""
    names = [group_name(group.experiment, group.pairing_key) for group in groups]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(name="Error deltas beside the paper's", panels=_delta_panels(groups), is_open=True),
            ws.Section(name="Final errors", panels=_final_panels(groups), is_open=True),
            *(ws.Section(name=name, panels=_curves(keys), is_open=True) for name, keys in CURVES.items()),
            ws.Section(name="Tables and report", panels=_pages()),
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Metric("Group").isin(names)),
            groupby=[expr.Config("ablation")],
            pinned_columns=["run:displayName", "run:jobType", "config:seed.value", *_error_columns(groups)],
        ),
    )


def report_of(groups: Sequence[Group], *, entity: str, project: str) -> wr.Report:
    """The report: for each table its figures in words, the deltas, the final errors, and the curves."""
    blocks: list[wr.BlockTypes] = [wr.TableOfContents()]
    for group in groups:
        blocks += [
            wr.H1(text=", ".join(filter(None, (group.experiment, group.recipe, group.data, group.apart)))),
            wr.P(text=title(group)),
            wr.H2(text="Error deltas beside the paper's"),
            _grid(group, COMPARISON, [*_delta_panels([group]), *_pages()]),
            wr.H2(text="Errors and curves by ablation"),
            _grid(group, TRAINING, [*_final_panels([group]), *(p for keys in CURVES.values() for p in _curves(keys))]),
            wr.H2(text="Table and commands"),
            wr.MarkdownBlock(text=markdown([group], [])),
        ]
    return wr.Report(entity=entity, project=project, title=NAME, blocks=blocks, width="fluid")


def _grid(group: Group, job_type: str, panels: list[wr.PanelTypes]) -> wr.PanelGrid:
    """Panels over the runs of one job type; a runset without entity and project is over those of the report."""
    name = group_name(group.experiment, group.pairing_key)
    filters = expr.And(expr.Metric("Group") == name, expr.Metric("JobType") == job_type)
    return wr.PanelGrid(runsets=[wr.Runset(name=job_type, filters=filters)], panels=panels)


def _curves(keys: dict[str, str]) -> list[wr.PanelTypes]:
    return [
        wr.LinePlot(
            title=heading,
            x="epoch",
            y=[key],
            log_y=key in LOG_SCALE or None,
            groupby=ABLATION,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=MOST_RUNS,
        )
        for key, heading in keys.items()
    ]


def _final_panels(groups: Sequence[Group]) -> list[wr.PanelTypes]:
    return [
        wr.BarPlot(
            title=f"{MEASURE_NAMES[measure]} error, % of the {split} images, {view}",
            metrics=[f"{split}/{view}/{measure}_error"],
            groupby=ABLATION,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=MOST_RUNS,
        )
        for split, view in _evaluated(groups)
        for measure in MEASURES
    ]


def _evaluated(groups: Sequence[Group]) -> list[tuple[str, str]]:
    return sorted({(group.split, group.view) for group in groups})


def _error_columns(groups: Sequence[Group]) -> list[str]:
    return [f"summary:{split}/{view}/{measure}_error" for split, view in _evaluated(groups) for measure in MEASURES]


def _delta_panels(groups: Sequence[Group]) -> list[wr.PanelTypes]:
    """For every ablation and measure a bar for the delta here and one for each that is claimed."""
    rows = {row.ablation: row for group in groups for row in group.rows if row.deltas}
    return [_delta_panel(row, measure) for row in rows.values() for measure in MEASURES]


def _delta_panel(row: Row, measure: str) -> wr.BarPlot:
    keys = [delta_key(row.ablation, measure)]
    keys += [
        delta_key(row.ablation, measure, source)
        for source in ("paper", "log")
        if claimed(row, source, measure) is not None
    ]
    return wr.BarPlot(
        title=f"{row.ablation}: rise of the {MEASURE_NAMES[measure]} error, points",
        metrics=[*keys],
    )


def _pages() -> list[wr.PanelTypes]:
    """What the comparison run holds besides numbers."""
    return [
        wr.MediaBrowser(title="Chart and report", media_keys=[INTERVALS_CHART, REPORT], num_columns=1),
        *(wr.WeavePanelSummaryTable(table_name=name) for name in (DELTAS_TABLE, RUNS_TABLE)),
    ]
