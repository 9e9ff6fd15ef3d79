"""Studies: experiments that list their own runs, and how the command line changes the list."""

from pathlib import Path

import pytest

from alexnet.config import command_line, compose
from alexnet.config.command_line import CommandLine, read_command_line
from alexnet.config.compose import ABLATIONS, CONF, ablation_files
from alexnet.config.job import check, run_name
from alexnet.config.schema import ConfigTree
from alexnet.errors import UserError
from tests.config.conftest import job

STUDIES = sorted(file.stem for file in (CONF / "experiment").glob("study_*.yaml"))


def compose_tree_uncached(overrides: list[str]) -> ConfigTree:
    return compose._compose_tree.__wrapped__(tuple(overrides))


def read(*arguments: str, multirun: bool = False) -> CommandLine:
    return read_command_line(list(arguments), multirun=multirun)


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_the_grid_that_its_file_says(study: str) -> None:
    variants = 6 if study == "study_small" else 9
    command = read(f"experiment={study}")
    assert command.sweep and command.hydra == [] and len(command.jobs) == 3 * variants
    assert [overrides[1] for overrides in command.jobs[::variants]] == ["seed=0", "seed=1", "seed=2"]
    plain = study.removeprefix("study_")
    jobs = [check(overrides) for overrides in command.jobs[:variants]]
    assert {one.config.experiment for one in jobs} == {plain} and {one.config.seed for one in jobs} == {0}
    assert len({one.pairing_key for one in jobs}) == 1 and len({run_name(one.tree) for one in jobs}) == variants
    assert jobs[0].config.ablations == {}


@pytest.mark.parametrize("study", [study for study in STUDIES if "ilsvrc" in study])
def test_the_paper_s_studies_hold_every_claim_with_a_number(study: str) -> None:
    listed = {overrides[-1].partition("=")[2] for overrides in read(f"experiment={study}").jobs}
    with_number = set()
    for file in ABLATIONS.glob("*.yaml"):
        for claim in ablation_files()[file.stem]["ablations"].values():
            if any(value is not None for source in ("paper", "log") for value in claim.get(source, {}).values()):
                with_number.add(file.stem)
    assert listed == with_number | {"none"}


def test_a_study_s_run_is_the_run_of_its_experiment() -> None:
    overrides = read("experiment=study_small", "wandb.mode=disabled").jobs[7]
    assert overrides == ["experiment=small", "seed=1", "+ablation=no_lrn", "wandb.mode=disabled"]
    assert run_name(check(overrides).tree) == run_name(job("experiment=small", "ablation=no_lrn", "seed=1").tree)


@pytest.mark.parametrize("key", ["ablation", "+ablation"])
def test_the_command_line_takes_the_place_of_the_study_s_lists(key: str) -> None:
    assert read("experiment=study_small", f"{key}=tanh,none", "seed=7").jobs == [
        ["experiment=small", "seed=7", f"{key}=tanh"],
        ["experiment=small", "seed=7", f"{key}=none"],
    ]
    assert len(read("experiment=study_small", "seed=0,1", multirun=True).jobs) == 12
    assert len(read("experiment=study_small", "optimizer.lr=0.01,0.02").jobs) == 36


def test_what_hydra_is_told_stands_apart() -> None:
    command = read("hydra/launcher=basic", "seed=0,1", "hydra.verbose=true", multirun=True)
    assert command.hydra == ["hydra/launcher=basic", "hydra.verbose=true"]
    assert command.jobs == [["seed=0"], ["seed=1"]]


def test_of_a_value_given_twice_the_last_counts() -> None:
    assert read("seed=0,1", "wandb.mode=disabled", "seed=3", multirun=True).jobs == [["seed=3", "wandb.mode=disabled"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiment=study_small,demo"], "study_small is a study.*give it alone"),
        (["experiment=study_smal"], "did you mean study_small"),
        (["experiment=study_small", "sed=1"], "did you mean seed"),
        (["+ablation=tanh", "ablation=no_lrn"], "ablation is chosen twice"),
        (["hydra/launcher=joblb"], "hydra/launcher=joblb: there is no such choice"),
        (["hydra.verbose=true,false"], "cannot be swept"),
    ],
)
def test_slips_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(*arguments, multirun=True)


def test_a_study_is_never_one_run() -> None:
    with pytest.raises(UserError, match="experiment=small for one run"):
        read("experiment=study_small", "hydra.mode=RUN")
    with pytest.raises(UserError, match="a study"):
        command_line.expand(["experiment=study_small"], sweep=False)


def test_a_launcher_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    options = command_line.group_options
    monkeypatch.setattr(
        command_line, "group_options", lambda group: ["basic"] if group == "hydra/launcher" else options(group)
    )
    with pytest.raises(UserError, match=r"hydra/launcher=joblib is not installed: .*--extra sweeps"):
        read("hydra/launcher=joblib", "seed=0,1", multirun=True)


def test_a_study_with_settings_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its runs would be named after an experiment whose settings they do not have."""
    copy = tmp_path / "conf"
    for file in CONF.rglob("*.yaml"):
        place = copy / file.relative_to(CONF)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(file.read_text())
    study = copy / "experiment" / "study_small.yaml"
    study.write_text(study.read_text() + "optimizer: {batch_size: 8}\n")
    monkeypatch.setattr(command_line, "CONF", copy)
    monkeypatch.setattr(command_line, "compose_tree", compose_tree_uncached)
    monkeypatch.setattr(command_line, "_composed_study", command_line._composed_study.__wrapped__)
    with pytest.raises(UserError, match="settings must be those of experiment=small"):
        read("experiment=study_small")
