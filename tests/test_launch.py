"""`python train.py` as a user sees it: what stands on the screen, what is written, and with which exit code it ends."""

import csv
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest

from alexnet.commands.train import _say_what_next, checked, do, main
from alexnet.config.compose import compose_config
from alexnet.errors import UserError
from alexnet.study.report.report import COMPARISON_FILE
from alexnet.sweep.study import Study
from alexnet.terminal import Terminal
from tests.offline_runs import config, records, run_record, summary
from tests.study.made_up import result
from tests.training.conftest import FEW, NARROW, assert_same_training

TRAIN = Path(__file__).parents[1] / "train.py"
TINY = (*NARROW, *FEW)
SHORT = (*(one for one in TINY if "schedule." not in one), "schedule.epochs=1", "schedule.milestones=[]")
Finished = subprocess.CompletedProcess[str]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in a folder that is not the checkout's."""
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1", "MPLBACKEND": "nonsense"}
    return subprocess.Popen(
        [sys.executable, str(TRAIN), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(folder: Path, *arguments: str) -> Finished:
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=280)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def refused(folder: Path, *arguments: str) -> str:
    """The one line of a command that is refused before it writes anything."""
    folder.mkdir(exist_ok=True)
    done = train(folder, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert list(folder.iterdir()) == []
    return done.stderr


def complaints(done: Finished) -> list[str]:
    """What is on stderr apart from the news that a pack is being made."""
    news = "images of 32 x 32|: [0-9,]+ of | not used = "
    return [line for line in done.stderr.splitlines() if not re.search(news, line)]


def results(folder: Path) -> dict[str, str]:
    """Status by ablation of the runs below a folder."""
    found = [json.loads(file.read_text()) for file in folder.rglob("result.json")]
    return {result["ablation"]: result["status"] for result in found}


TORCH = f"""
import contextlib, io, json, os, sys
sys.path.insert(0, {str(TRAIN.parent)!r})
import train
from hydra.core.global_hydra import GlobalHydra
for words in json.loads(sys.argv[1]):
    os.environ["HYDRA_FULL_ERROR"] = "0"  # which the command sets
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            train.main(words)
        except SystemExit as stop:
            code = stop.code
    GlobalHydra.instance().clear()
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
sys.exit(" ".join({{"torch", "lightning", "scipy", "numba"}} & set(sys.modules)))
"""


def without_torch(folder: Path, *commands: list[str]) -> list[tuple[int, str, str]]:
    """Run command lines in one process that imports no heavy libraries: exit code, stdout and stderr of each."""
    command = [sys.executable, "-c", TORCH, json.dumps(commands)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.stderr.strip() == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_help_and_a_misspelling_need_no_torch_and_write_nothing(tmp_path: Path) -> None:
    shown, misspelt = without_torch(tmp_path, ["--help"], ["+abaltion=no_lrn"])
    assert misspelt == [1, "", "error: unknown key abaltion: did you mean ablation?\n"]
    code, out, _ = shown
    assert code == 0 and len(lines := out.splitlines()) <= 40 and max(map(len, lines)) <= 80
    assert "alexnet train +ablation=no_lrn" in out and "study_small" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "value"), [("SLURM_PROCID", "x"), ("PL_TRAINER_LIMIT_TRAIN_BATCHES", "2")])
def test_a_variable_that_would_stop_or_change_training_is_refused_before_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=rf"{name}={value}: .*; unset {name}$"):
        job = SimpleNamespace(name="", identity="", config=SimpleNamespace(starts_over=False))
        do(job, tmp_path, Terminal(), in_study=True)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"{name}={value}"):
        Study(SimpleNamespace(runtime=SimpleNamespace(choices={"hydra/launcher": "basic"}))).run([], print, print)


def test_a_command_that_a_scheduler_starts_again_does_not_restart_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    composed = compose_config(["restart=true"])
    assert checked(composed, composed.hydra).config.restart
    for name, count in (("SLURM_RESTART_COUNT", "1"), ("TORCHELASTIC_RESTART_COUNT", "2")):
        with monkeypatch.context() as patch:
            patch.setenv(name, count)
            assert not checked(composed, composed.hydra).config.restart
            patch.setenv(name, "0")
            assert checked(composed, composed.hydra).config.restart


@pytest.mark.parametrize("restart", ["restart=true", "restart=1", "restart=yes", "+restart=True"])
def test_the_next_command_neither_restarts_nor_says_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], restart: str
) -> None:
    command = f"python train.py {restart} +ablation=none 'data.root=/my images' seed=1"
    _say_what_next(replace(result(), command=command), tmp_path / "my runs" / "run", Terminal())
    said = capsys.readouterr().out
    assert "  alexnet train 'data.root=/my images' seed=1 +ablation=no_lrn\n" in said
    assert f"  alexnet report '{tmp_path / 'my runs'}'\n" in said


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("data=folder data.root=/nowhere", "/nowhere: there is no such"),
        ("pretrained.checkpoint=/nowhere", "/nowhere: no such run"),
        # Overrides may be given around an option; several mistakes: tests/sweep/test_study.py.
        (
            "optimizer.lr=0.1 -m +ablation=no_lrnn,none",
            "ablation=no_lrnn: there is no such choice: did you mean no_lrn? (1 of 2 jobs); nothing was started",
        ),
        ("-m experiment=study_small,demo +ablation=none", "experiment=study_small is a study: give it alone"),
    ],
)
@pytest.mark.usefixtures("hydra_restore_singletons")
def test_a_command_that_is_refused_leaves_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mistake: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # which the command sets
    for name, value in (("handlers", []), ("level", logging.WARNING)):
        monkeypatch.setattr(logging.root, name, value)
    for module in ("alexnet.training.run", "alexnet.trained.weights"):
        monkeypatch.setitem(sys.modules, module, None)  # refused before torch is imported
    with pytest.raises(SystemExit) as stop:
        main(mistake.split())
    for handler in logging.root.handlers:
        handler.close()
    told = capsys.readouterr().err
    assert stop.value.code == 1 and said in told and re.fullmatch("error: .*\n", told)
    assert told.endswith("nothing was started\n") == ("-m" in mistake)
    assert list(tmp_path.iterdir()) == []


DIVERGES = """# @package _global_
ablations:
  my_mistake: {title: T, section: "3.3", statement: S}
optimizer:
  lr: 1e9
"""
MINE = """# @package _global_
ablations:
  my_idea: {title: T, section: "3.3", statement: S}
lrn:
  k: 1.0
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A user's own folder of ablations and experiments."""
    folder = tmp_path / "mine"
    (folder / "ablation").mkdir(parents=True)
    (folder / "experiment").mkdir()
    (folder / "ablation" / "my_idea.yaml").write_text(MINE)
    (folder / "ablation" / "my_mistake.yaml").write_text(DIVERGES)
    (folder / "ablation" / "without_claim.yaml").write_text("# @package _global_\nlrn:\n  k: 1.0\n")
    (folder / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults:\n  - demo\nexperiment: mine\n")
    return folder


def test_a_sweep_ends_with_its_table_whatever_fails(tmp_path: Path, mine: Path) -> None:
    """One job in three diverges: the others are compared all the same, and the exit code says that some failed.

    With an ablation and an experiment of the user's own, in any folder.
    """
    own = ["-m", "--config-dir", str(mine), "experiment=mine"]
    done = train(tmp_path, *own, "+ablation=none,glob(my_*)", *SHORT)
    assert done.returncode == 1
    assert not re.search("Traceback|Error executing job", done.stdout + done.stderr)
    assert done.stderr.count("diverged") >= 1 and "error: 1 of 3 runs did not finish: my_mistake" in done.stderr
    assert "3 runs: 0 finished before, 3 to do" in done.stdout and "] my_idea seed 0 finished" in done.stdout
    assert "Interval" in done.stdout and "section 3.3" in done.stdout
    statuses = sorted(json.loads(file.read_text())["status"] for file in tmp_path.rglob("result.json"))
    assert statuses == ["failed", "finished", "finished"]
    assert len(list((tmp_path / "runs").rglob(COMPARISON_FILE))) == 1
    assert {entry.name for entry in tmp_path.iterdir()} <= {"runs", "packs", "mine"}
    # What is finished is shown again at once; `hydra.searchpath` finds the same files.
    searched = [f"hydra.searchpath=[file://{mine}]", "experiment=mine", *SHORT]
    shown, refused = without_torch(tmp_path, [*searched, "+ablation=my_idea"], [*searched, "+ablation=without_claim"])
    assert "already finished in" in shown[1], shown
    assert refused[2].endswith("it must hold the claim `ablations.without_claim` and no other\n")


@pytest.mark.slow
def test_a_planned_study_runs_look_by_look_and_refuses_another_plan(tmp_path: Path) -> None:
    """About 20 seconds of a processor: two commands of seven and two runs."""
    arguments = ["plan.yaml", *SHORT, "--ablations", "no_lrn,no_dropout", "--seeds", "2,3", "--baseline-seeds", "3"]
    code = f"from alexnet.commands.main import main; main({['plan', *arguments]!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    first, second = (train(tmp_path, "study.plan=plan.yaml") for _ in range(2))
    assert "7 runs: 0 finished before, 7 to do" in first.stdout and "This study followed the plan plan" in first.stdout
    assert "2 runs are missing for look 2 (3 seeds)" in first.stdout and "for look" not in second.stdout
    assert "9 runs: 7 finished before, 2 to do" in second.stdout, second.stderr
    results = [json.loads(file.read_text()) for file in tmp_path.rglob("result.json")]
    assert len(results) == 9 and {one["plan"]["name"] for one in results} == {"plan"}
    plan = tmp_path / "plan.yaml"
    plan.write_text(plan.read_text().replace("margin: null", "margin: 0.5"))
    assert "was changed after its first run" in train(tmp_path, "study.plan=plan.yaml").stderr


@pytest.mark.slow
def test_a_sweep_in_which_all_is_well_ends_with_0(tmp_path: Path) -> None:
    done = train(tmp_path, "-m", "+ablation=none,no_lrn", *TINY)
    assert done.returncode == 0 and complaints(done) == []
    assert results(tmp_path) == {"baseline": "finished", "no_lrn": "finished"}
    assert len(list((tmp_path / "runs").rglob(COMPARISON_FILE))) == 1
    again = train(tmp_path, "-m", "+ablation=none,no_lrn", *TINY, "hardware.precision=bf16-mixed")
    assert again.returncode == 0 and "2 runs: 2 finished before, 0 to do" in again.stdout
    assert "note: 2 of those finished before are at precision 32-true: restart=true" in again.stdout
    assert "epoch " not in again.stdout and "Interval, 95 %" in again.stdout


GRID = ("-m", "+ablation=none,no_lrn", "seed=0,1", *TINY, "hardware.threads=1")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of four runs, one after another, that nothing stopped, with its packs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = train(folder, *GRID, "study.runs_at_once=1")
    assert done.returncode == 0
    assert "[4 of 4] no_lrn seed 1 finished; " in done.stdout and " left" in done.stdout
    return folder


def comparison(folder: Path) -> bytes:
    return (folder / "runs" / COMPARISON_FILE).read_bytes()


@pytest.mark.slow
def test_a_sweep_killed_at_any_moment_and_repeated_ends_with_the_same_table(undisturbed: Path, tmp_path: Path) -> None:
    arguments = [*GRID, f"data.packs={undisturbed}/packs"]
    moments = Random(2012)
    kills = 0
    for begun in (1, 2, 4):
        process = start(tmp_path, *arguments)
        deadline = time.monotonic() + 250
        while len(list(tmp_path.glob("runs/*/result.json"))) < begun:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 2))
        kills += process.poll() is None
        process.kill()
        process.communicate()
    assert kills >= 2
    last = train(tmp_path, *arguments)
    assert last.returncode == 0 and "4 runs: " in last.stdout
    assert comparison(tmp_path) == comparison(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_runs_side_by_side_say_the_same(undisturbed: Path, tmp_path: Path, launcher: str) -> None:
    if launcher != "basic":
        pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    workers = {"basic": ["study.runs_at_once=3"], "joblib": ["hydra.launcher.n_jobs=2"]}.get(launcher, [])
    done = train(
        tmp_path,
        *GRID,
        f"data.packs={undisturbed}/packs",
        "logger.wandb.mode=offline",
        f"hydra/launcher={launcher}",
        *workers,
    )
    assert done.returncode == 0 and done.stderr == ""
    # No line of a single run; those on the whole sweep, on a slow machine, begin otherwise.
    assert "[4 of 4] " in done.stdout and not re.search("^epoch |val error", done.stdout, re.MULTILINE)
    assert comparison(tmp_path) == comparison(undisturbed)
    for directory in (tmp_path / "runs").glob("demo-*"):
        (tracked,) = directory.rglob("*.wandb")
        assert tracked.name == f"run-{directory.name}.wandb"


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str)
def test_a_sweep_that_is_stopped_saves_the_runs_under_way(
    undisturbed: Path, tmp_path: Path, stop: signal.Signals, code: int
) -> None:
    arguments = [*GRID, f"data.packs={undisturbed}/packs", "study.runs_at_once=2", "schedule.epochs=300"]
    process = start(tmp_path, *arguments)
    deadline = time.monotonic() + 250
    while len(list(tmp_path.glob("runs/*/checkpoints/last.ckpt"))) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(stop)  # a terminal sends Ctrl-C to the runs too, which leave it to the sweep
    _, err = process.communicate(timeout=100)
    assert process.returncode == code and "Traceback" not in err and ("Ctrl-C: every run" in err) == (code == 130)
    assert err.endswith("interrupted: 0 of 4 runs have finished; to resume, repeat the command\n")
    statuses = [json.loads(file.read_text()) for file in tmp_path.rglob("result.json")]
    assert [one["status"] for one in statuses] == ["interrupted"] * 2
    assert all(one["message"].startswith("interrupted by a signal, such as Ctrl-C of its study") for one in statuses)


@pytest.mark.slow
def test_a_sweep_leaves_its_comparison_for_wandb(tmp_path: Path) -> None:
    """An ablation and the baseline, two seeds, one epoch: four trainings and their comparison."""
    arguments = [argument for argument in TINY if argument != "logger.wandb.mode=disabled"]
    few = ["logger.wandb.mode=offline", "schedule.epochs=1", "schedule.milestones=[]"]
    done = train(tmp_path, "-m", "+ablation=none,no_lrn", "seed=0,1", *arguments, *few)
    assert done.returncode == 0 and complaints(done) == []
    found = records(tmp_path / "runs" / "wandb")
    trained = {run_record(records(file.parent)).run_id for file in (tmp_path / "runs").glob("*/result.json")}
    assert len(trained) == 4 and set(config(found)["runs"]) == trained
    with (tmp_path / "runs" / COMPARISON_FILE).open(newline="") as file:
        deltas = {line["ablation"]: line["top1_delta"] for line in csv.DictReader(file) if line["top1_delta"]}
    values = summary(found)
    assert {name: values[f"delta/{name}/top1"] for name in deltas} == pytest.approx(
        {name: float(delta) for name, delta in deltas.items()}
    )
    assert set(deltas) == {"no_lrn"}


@pytest.mark.slow
def test_data_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    empty, texts = tmp_path / "empty", tmp_path / "texts"
    empty.mkdir()
    for name in "abcdef":
        (texts / "train" / name).mkdir(parents=True)
        (texts / "train" / name / "note.txt").write_text("no image")
    for number, root in enumerate(("/nowhere", str(empty), str(texts))):
        message = refused(tmp_path / f"here{number}", "data=folder", f"data.root={root}", "logger.wandb.mode=disabled")
        assert root in message
    assert "data.root" in refused(tmp_path / "here9", "data=folder")


@pytest.mark.slow
@pytest.mark.parametrize("sweep", [["seed=0"], ["-m", "seed=0,1"]], ids=["run", "sweep"])
def test_drops_that_will_not_be_made_are_said_once_and_first(tmp_path: Path, sweep: list[str]) -> None:
    arguments = [
        "data=folder",
        "data.root=/nowhere",
        "logger.wandb.mode=disabled",
        "schedule=epochs_30",
        "schedule.epochs=9",
    ]
    said = train(tmp_path, *sweep, *arguments).stdout
    assert said.count("note: schedule.epochs=9 ends before the learning rate drops at epoch 20 and 26") == 1


@pytest.mark.slow
def test_the_configuration_can_be_shown_instead_of_run(tmp_path: Path) -> None:
    done = train(tmp_path, "--cfg", "job", "+ablation=no_lrn", "seed=7")
    assert done.returncode == 0 and "seed: 7" in done.stdout and "no_lrn:" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert "did you mean seed" in refused(tmp_path, "--cfg", "job", "sed=7")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=lambda value: str(value)
)
def test_a_run_that_is_stopped_continues_where_it_was(tmp_path: Path, stop: signal.Signals, code: int) -> None:
    arguments = [*TINY, "data.shapes.train_per_class=30", "schedule.epochs=8", "schedule.milestones=[2,6]"]
    arguments += [f"data.packs={tmp_path}/packs"]
    whole = train(tmp_path, *arguments, "runs=whole")
    assert whole.returncode == 0 and complaints(whole) == []

    process = start(tmp_path, *arguments, "runs=parts")
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("parts/*/checkpoints/last.ckpt")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(stop)
    _, err = process.communicate(timeout=100)
    assert process.returncode == code and "Traceback" not in err
    assert ("is saved up to its last step; to resume, repeat the command:\n  python train.py" in err) == (code > 0)
    (directory,) = (tmp_path / "parts").iterdir()
    assert json.loads((directory / "result.json").read_text())["status"] == "interrupted"

    again = train(tmp_path, *arguments, "runs=parts")
    assert again.returncode == 0 and complaints(again) == []
    assert 0 < again.stdout.count("epoch ") < 8
    assert_same_training(directory, tmp_path / "whole" / directory.name)
