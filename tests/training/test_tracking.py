"""What Weights & Biases is given, read back from the offline run's own file."""

import csv
import os
import re
from errno import ENOSPC
from io import StringIO
from pathlib import Path

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from alexnet.errors import UserError
from alexnet.runs.result import Result
from alexnet.study.report.wandb_workspace import CURVES
from alexnet.terminal import Terminal
from alexnet.training import tracking
from tests.offline_runs import config, exit_codes, history, records, run_record, summary
from tests.training.conftest import MakeJob, execute

Runs = dict[str, tuple[Result, list[Record]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are."""
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture(scope="module")
def runs(tiny: MakeJob, folder: Path) -> Runs:
    """A baseline and an ablation, run one after the other in this process."""
    environment = dict(os.environ)
    done = {}
    for name, arguments in (("base", []), ("ablated", ["+ablation=no_lrn"])):
        result, _ = execute(tiny("logger.wandb.mode=offline", *arguments), folder / name)
        done[name] = (result, records(folder / name))
    changed = {key for key in environment if os.environ.get(key) != environment[key]}
    assert not changed and os.environ.get("WANDB_MODE") is None  # a later online run must not be switched offline
    return done


def test_runs_are_named_tagged_and_grouped_with_their_baseline(runs: Runs) -> None:
    groups = set()
    for name, ablation in (("base", "baseline"), ("ablated", "no_lrn")):
        result, found = runs[name]
        run = run_record(found)
        assert (run.run_id, run.display_name, run.project, run.job_type) == (name, name, "alexnet-ablations", "train")
        assert set(run.tags) == {ablation, "paper", "demo", "shapes"}
        assert run.run_group == f"demo-{result.pairing_key[:8]}" and exit_codes(found) == [0]
        groups.add(run.run_group)
    assert len(groups) == 1


def test_the_configuration_is_there_with_the_paper_s_delta(runs: Runs, tiny: MakeJob) -> None:
    base, ablated = config(runs["base"][1]), config(runs["ablated"][1])
    assert (base["ablation"], base["paper_delta_top1"]) == ("baseline", None)
    assert (ablated["ablation"], ablated["paper_delta_top1"], ablated["paper_delta_top5"]) == ("no_lrn", 1.4, 1.2)
    assert ablated["lrn"]["layers"] == [] and base["lrn"]["layers"] == [1, 2]
    tree = tiny("logger.wandb.mode=offline").tree
    assert {key: base[key] for key in tree} == tree


def test_the_summary_holds_the_result_s_errors_in_percent(runs: Runs) -> None:
    for result, found in runs.values():
        values = summary(found)
        for split, views in result.errors.items():
            for view, rates in views.items():
                assert values[f"{split}/{view}/top1_error"] == pytest.approx(100 * rates.top1)
                assert values[f"{split}/{view}/top5_error"] == pytest.approx(100 * rates.top5)
        assert (values["status"], values["parameters"]) == ("finished", result.parameters)


def test_the_history_is_metrics_csv(runs: Runs, folder: Path) -> None:
    for name, (_, found) in runs.items():
        with (folder / name / "metrics.csv").open(newline="") as file:
            epochs = list(csv.DictReader(file))
        logged = [row for row in history(found) if "train/loss" in row]
        assert len(epochs) == len(logged) == 2
        for epoch, row in zip(epochs, logged, strict=True):
            assert (row["epoch"], row["trainer/global_step"] + 1) == (int(epoch["epoch"]), int(epoch["step"]))
            for column in epoch.keys() - {"epoch", "step"}:
                key = re.sub("^(train_set|train|val)_", r"\1/", column)
                if not epoch[column]:
                    assert key not in row
                    continue
                assert row[key] == pytest.approx(float(epoch[column]), rel=1e-6), key
        assert [row["rate"] for row in logged] == pytest.approx([0.01, 0.001])


def test_the_workspace_s_panels_show_what_runs_log(runs: Runs) -> None:
    curves = {key for keys in CURVES.values() for key in keys}
    for result, found in runs.values():
        assert all(curves <= row.keys() for row in history(found) if "train/loss" in row)
        final = {f"{split}/{view}/top1_error" for split, views in result.errors.items() for view in views}
        assert final <= summary(found).keys() and len(final) == 4


def test_a_failed_run_is_closed_as_failed(tiny: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverged"):
        execute(tiny("logger.wandb.mode=offline", "optimizer.lr=1e9"), tmp_path)
    found = records(tmp_path)
    assert summary(found)["status"] == "failed"
    assert exit_codes(found) == [1]


@pytest.mark.parametrize(
    ("choice", "opened", "error", "told"),
    [
        ("tensorboard", "TensorBoardLogger", ModuleNotFoundError("tensorboard"), "uv sync --extra tensorboard"),
        ("wandb", "_init", OSError(ENOSPC, "No space left on device"), "goes on without: OSError: [Errno 28] No space"),
    ],
)
def test_a_logger_that_does_not_open_costs_a_line(
    choice: str,
    opened: str,
    error: Exception,
    told: str,
    tiny: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(tracking, opened, fail)
    screen = StringIO()
    job = tiny(f"logger={choice}", "logger.wandb.mode=offline" if choice == "wandb" else "logger.wandb.mode=disabled")
    assert tracking.start(job, tmp_path, Terminal(file=screen)) == []
    (line,) = screen.getvalue().splitlines()
    assert told in line
