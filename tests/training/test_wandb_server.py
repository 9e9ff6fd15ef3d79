"""Runs with the real W&B client and a stand-in for its server."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import wandb
import yaml

from alexnet.config.job import Job
from alexnet.runs.result import read_result
from alexnet.terminal import Terminal
from alexnet.training import tracking
from alexnet.training.history import History
from tests.offline_runs import history, records, run_record
from tests.training.conftest import FEW, NARROW, MakeJob, execute
from tests.wandb_server import KEY, wandb_server

CHECKOUT = Path(__file__).parents[2]
ONLINE = ("logger.wandb.mode=null", "logger.wandb.project=mine")


@pytest.fixture(autouse=True)
def logged_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of somebody who is logged in and wants online runs."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "online")
    wandb.teardown()  # it reads the environment once
    yield
    wandb.teardown()


@pytest.mark.parametrize(
    ("status", "seconds", "told"),
    [(500, 0.0, "error 500"), (401, 0.0, "does not accept the key"), (200, 5.0, "timed out")],
)
def test_a_server_that_fails_costs_a_line_and_not_the_training(
    status: int, seconds: float, told: str, tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seconds:
        monkeypatch.setattr("alexnet.runs.wandb_names.ANSWER_SECONDS", 1.0)
    with wandb_server(status, seconds) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        begun = time.monotonic()
        result, screen = execute(tiny(*ONLINE, "schedule.epochs=1", "schedule.milestones=[]"), tmp_path / "run")
        assert time.monotonic() - begun < 30
    (line,) = [line for line in screen.splitlines() if line.startswith("W&B")]
    assert result.status == "finished" and told in line and "wandb sync" in line
    assert run_record(records(tmp_path / "run")).project == "mine"


@pytest.mark.slow  # 17 s, in which the client tries again
def test_a_server_that_takes_no_more_costs_a_line_at_the_end(
    tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexnet.training.tracking.ATTEMPTS", 1)
    with wandb_server() as server:
        server.full = True
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        result, screen = execute(tiny(*ONLINE, "schedule.epochs=1", "schedule.milestones=[]"), tmp_path / "run")
    (line,) = [line for line in screen.splitlines() if "not everything was kept" in line]
    assert result.status == "finished" and "does not show the end" in line and "wandb sync" in line


def test_a_resumed_run_stays_one_run_online(tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tiny(*ONLINE, "logger.wandb.artifacts=true")
    with wandb_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        stop_after_the_first_epoch(job, tmp_path / "run", monkeypatch)
        assert epochs_of(list(server.history["run"].values())) == [0]
        _, screen = execute(job, tmp_path / "run")
        assert "not everything was kept" not in screen
        assert list(server.history) == ["run"]
        assert epochs_of(list(server.history["run"].values())) == [0, 1]
    whole = {one["type"]: sorted(one["files"]) for one in server.artifacts.values() if one["is_whole"]}
    assert whole == {"model": ["model.ckpt"], "evaluation": ["errors.table.json", "predictions.npz"]}


def test_a_resumed_offline_run_is_one_whole_run(tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = tiny("logger=[wandb,csv]", "logger.wandb.mode=offline")
    stop_after_the_first_epoch(job, tmp_path / "run", monkeypatch)
    execute(job, tmp_path / "run")
    assert epochs_of(history(records(tmp_path / "run"))) == [0, 1]
    with (tmp_path / "run" / "csv" / "metrics.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file) if row["train/loss"]] == ["0", "1"]


def stop_after_the_first_epoch(job: Job, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt a run when its second epoch begins."""
    begin = History.on_train_epoch_start

    def stop(self: History, *arguments: object) -> None:
        if self.records:
            raise KeyboardInterrupt
        begin(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(History, "on_train_epoch_start", stop)
        execute(job, directory)


def epochs_of(rows: list[dict[str, object]]) -> list[object]:
    """The epochs that were logged, in order."""
    return [row["epoch"] for row in rows if "train/loss" in row]


@pytest.mark.parametrize(("variable", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")])
def test_the_environment_switches_wandb_off(
    variable: str, value: str, tiny: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert tracking.start(tiny(*ONLINE), tmp_path, Terminal(file=StringIO())) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.slow  # 17 s: W&B's agent and a process that trains
def test_an_agent_of_the_documented_sweep_trains_under_the_run_s_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (CHECKOUT / "docs" / "wandb-sweep.yaml").read_text(encoding="utf-8")
    searched = {key: one.get("value", one.get("min")) for key, one in yaml.safe_load(text)["parameters"].items()}
    small = dict(word.split("=", 1) for word in (*NARROW, *FEW, f"runs={tmp_path / 'runs'}", f"data.packs={tmp_path}"))
    del small["logger.wandb.mode"]
    arguments = {key: {"value": value} for key, value in (small | searched).items()}
    with wandb_server() as server:
        server.sweep = text
        server.orders = [{"type": "run", "run_id": "given", "program": "train.py", "args": arguments}]
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_DIR", str(tmp_path))
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        agent = [sys.executable, "-m", "wandb", "agent", "lab/alexnet-ablations/search"]
        subprocess.run(agent, cwd=CHECKOUT, check=True, timeout=280)
        assert epochs_of(list(server.history["given"].values())) == [0, 1]
    (result,) = (tmp_path / "runs").glob("*/result.json")
    assert read_result(result.parent).status == "finished"
