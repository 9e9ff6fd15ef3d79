"""The workspace and the report as the specifications that W&B's library would send."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import wandb

from alexnet.errors import UserError
from alexnet.study.comparison import ComparisonTable, compare
from alexnet.study.report.report import load_runs
from alexnet.study.report.wandb_run import summary
from alexnet.study.report.wandb_workspace import report_of, save, workspace_of
from tests.study.made_up import study
from tests.wandb_server import KEY, wandb_server


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Sequence[ComparisonTable]:
    folder = study(tmp_path_factory.mktemp("study"), seeds=2)
    return compare(load_runs(folder).runs, split=None, view="ten_crop")


def panels_by_section(groups: Sequence[ComparisonTable]) -> dict[str, list[dict[str, Any]]]:
    spec = workspace_of(groups, entity="lab", project="ablations")._spec["spec"]["section"]
    return {section["name"]: section["panels"] for section in spec["panelBankConfig"]["sections"]}


def test_the_runs_are_those_of_the_study_by_ablation(groups: Sequence[ComparisonTable]) -> None:
    (runs,) = workspace_of(groups, entity="lab", project="ablations")._spec["spec"]["section"]["runSets"]
    (condition,) = runs["filters"]["filters"]
    assert condition["key"] == {"section": "run", "name": "group"}
    assert (condition["op"], condition["value"]) == ("IN", ["demo-9f3c"])
    assert runs["grouping"] == [{"section": "config", "name": "ablation.value"}]


def test_every_delta_bar_is_in_the_comparison_s_summary(groups: Sequence[ComparisonTable]) -> None:
    panels = panels_by_section(groups)["Error deltas and the paper's"]
    assert len(panels) == 2 * 6 and {panel["viewType"] for panel in panels} == {"Bar Chart"}
    keys = [key for panel in panels for key in panel["config"]["metrics"]]
    assert set(keys) <= summary(groups[0]).keys()
    by_title = {panel["config"]["chartTitle"]: panel["config"]["metrics"] for panel in panels}
    assert by_title["no_lrn: rise of the top-1 error, points"] == [
        "delta/no_lrn/top1",
        "delta/no_lrn/top1_paper",
        "delta/no_lrn/top1_log",
    ]
    assert by_title["no_dropout: rise of the top-5 error, points"] == ["delta/no_dropout/top5"]


def test_curves_and_final_errors_are_grouped_by_ablation(groups: Sequence[ComparisonTable]) -> None:
    sections = panels_by_section(groups)
    shown = {}
    for name in ("Final errors", "Validation", "Training", "Rate and speed"):
        for panel in sections[name]:
            settings = panel["config"]
            assert (settings["groupBy"], settings["groupAgg"], settings["aggregate"]) == (
                "ablation.value",
                "mean",
                True,
            )
            (shown[panel["config"]["metrics"][0]],) = [settings.get("xAxis")]
    assert shown["test/ten_crop/top1_error"] is None
    assert {shown[key] for key in ("val/top1_error", "train/loss", "rate")} == {"epoch"}


def test_the_report_has_deltas_curves_and_the_table(groups: Sequence[ComparisonTable]) -> None:
    blocks = report_of(groups, entity="lab", project="ablations")._to_model().spec.model_dump(by_alias=True)["blocks"]
    runsets = [block["metadata"]["runSets"][0] for block in blocks if block["type"] == "panel-grid"]
    values = [[condition["value"] for condition in runset["filters"]["filters"]] for runset in runsets]
    assert values == [["demo-9f3c", "comparison"], ["demo-9f3c", "train"]]
    (text,) = (block["content"] for block in blocks if block["type"] == "markdown-block")
    assert "| no_lrn |" in text and "python train.py" in text
    json.dumps(blocks)


def test_a_refusal_is_one_line(
    groups: Sequence[ComparisonTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise ValueError("no such project\nat line 7")

    monkeypatch.setattr("wandb_workspaces.workspaces.Workspace.save", refuse)
    with pytest.raises(UserError, match=r"W&B did not save it in lab/ablations: ValueError: no such project$"):
        save(groups, entity="lab", project="ablations", folder=tmp_path)


@pytest.mark.slow  # W&B starts a process
def test_a_second_call_edits_what_the_first_has_saved(
    groups: Sequence[ComparisonTable], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wandb_server() as server:
        for name, value in (("API_KEY", KEY), ("MODE", "online"), ("BASE_URL", server.address)):
            monkeypatch.setenv(f"WANDB_{name}", value)
        wandb.teardown()  # it reads the environment once
        first, second = (
            save(groups[:count], entity="lab", project="alexnet-ablations", folder=tmp_path) for count in (0, None)
        )
        wandb.teardown()
    assert first == second and len(server.views) == 2
    assert [(view["written"], "val/top1_error" in view["spec"]) for view in server.views.values()] == [(2, True)] * 2
