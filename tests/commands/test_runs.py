"""`alexnet runs`: its table at several widths, and its words about what is missing."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from alexnet.commands.main import main
from alexnet.commands.runs import table
from alexnet.config.identity import NUMERICS
from alexnet.files import exclusive
from alexnet.runs.collect import load_run
from alexnet.runs.metrics import write_metrics
from alexnet.runs.result import DIVERGED, UNFINISHED_MESSAGE, TrainingFacts
from alexnet.runs.study_plan import Plan
from alexnet.runs.summary import status
from tests.study.made_up import epoch_record, predictions, result, save, unfinished

FACTS = TrainingFacts(epochs=20, steps=450_000, seconds=60.0, images_per_second=12345.0, rate_drops=())
PLAN = Plan(name="mine", overrides=(), ablations=("no_lrn",), baseline_seeds=2)


def begun(folder: Path, ablation: str, seed: int, message: str = UNFINISHED_MESSAGE) -> Path:
    """A run that has done 4 of its 20 epochs."""
    run = replace(result(ablation, seed), plan=PLAN, numerics=NUMERICS)
    run = replace(run, command=run.command.replace("train.py", "train.py 'hydra.searchpath=[file:///mine]'"))
    directory = save(folder, unfinished(run, "interrupted", message))
    write_metrics(directory, [replace(epoch_record(n, train_set=None), val_top1_error=25.0) for n in range(4)])
    tree = {"schedule": {"epochs": 20, "rescale_to_epochs": None}, "study": {"plan": "my plan.yaml"}, "runs": "planned"}
    (directory / "config.yaml").write_text(yaml.safe_dump(tree))
    return directory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (0, 1):
        done = replace(result(seed=seed), training=FACTS, plan=PLAN, numerics=NUMERICS)
        directory = save(tmp_path, done, predictions(300, 100))
        (directory / "config.yaml").write_text("study: {plan: null}")  # continued by a command without it
    begun(tmp_path, "no_lrn", 0)
    begun(tmp_path, "no_lrn", 1)
    save(tmp_path, unfinished(result("no_color"), "failed", f"{DIVERGED} in epoch 1"))
    return tmp_path


def test_it_tells_states_what_is_missing_and_how_to_continue(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with exclusive(folder / "shapes-no_lrn-seed1-1a2b" / ".lock", "it"):
        main(["runs", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "state", "epoch", "step", "error", "of", "images/s", "left"]
    assert lines[1].split() == ["baseline", "0", "finished", "20", "450k", "30.0", "%", "test", "12,345"]
    assert lines[4].split()[:9] == ["no_lrn", "0", "interrupted", "4/20", "1408/7040", "25.0", "%", "val", "500"]
    assert lines[5].split()[2] == "running" and lines[5].endswith("s")
    assert lines[6] == "5 runs: 1 failed, 2 finished, 1 interrupted, 1 running"
    said = "\n".join(lines[7:])
    assert "plan mine: 5 runs are missing for look 1 (5 seeds): 5 of no_lrn; to do them:" in said
    own = "\n  alexnet train 'hydra.searchpath=[file:///mine]'"
    assert f"{own} 'study.plan=my plan.yaml' runs={folder}\n" in said  # where they are now, not where they were made
    assert f"{own} '+ablation=[no_lrn]' seed=0 runs={folder}\n" in said and "[no_lrn]' seed=1" not in said
    assert said.endswith(f"no_color seed 0: {DIVERGED} in epoch 1")  # what cannot be continued comes last


@pytest.mark.parametrize("width", [80, 40, 20])
def test_its_table_fits_the_terminal(folder: Path, width: int) -> None:
    begun(folder, "no_color+no_dropout+no_lrn+one_column", 12)
    states = [status(load_run(directory)) for directory in sorted(folder.iterdir())]
    lines = table(states, width)
    assert len(lines) == 1 + len(states)
    assert all(len(line) <= max(width, 25) for line in lines)
    assert {80: "left" not in lines[0] and "step" in lines[0], 40: "epoch" in lines[0], 20: "state" in lines[0]}[width]
    assert "directory" not in lines[0] and table(states, 200)[1].endswith(f"  {states[0].run.directory.name}")
    assert any(line.startswith("no_col") and " 12 " in line for line in lines)


@pytest.mark.parametrize("width", [80, 40])
def test_runs_of_one_ablation_and_seed_keep_the_seed_and_what_tells_them_apart(folder: Path, width: int) -> None:
    states = [status(load_run(directory)) for directory in sorted(folder.iterdir())][:2]
    first = states[0].run
    other = replace(first, directory=first.directory.with_name("demo-baseline-seed0-0b941a38"))
    assert any(" 0 41a38" in line for line in table([states[0], replace(states[0], run=other)], width))
    command = "python train.py optimizer.momentum=0.8 seed=0"
    tuned = replace(other, result=replace(other.result, command=command))
    names = [line.partition("  ")[0] for line in table([states[0], replace(states[0], run=tuned), states[1]], 200)]
    assert names[1:] == ["baseline 0", "baseline 0, optimizer.momentum=0.8", "baseline 1"]
    copies = [replace(states[0], run=replace(first, directory=Path(place, first.directory.name))) for place in "ab"]
    assert [line[:9] for line in table(copies, 200)[1:]] == ["a/shapes-", "b/shapes-"]
    other_data = replace(first.result.data, fingerprint="0ther1mages", name="mine")
    mine = replace(states[1], run=replace(states[1].run, result=replace(states[1].run.result, data=other_data)))
    listed = table([states[0], mine], 200)
    assert listed[0].endswith("data") and listed[2].endswith("mine") and "data" not in table(states, 200)[0]
    other_data = replace(other_data, name=first.result.data.name)
    mine = replace(mine, run=replace(mine.run, result=replace(mine.run.result, data=other_data)))
    assert table([states[0], mine], 200)[2].endswith("shapes (0ther)")
    longer = replace(states[0], epochs=40)
    assert any(", 40 epochs" in line and " 0," in line for line in table([states[0], longer], width))
