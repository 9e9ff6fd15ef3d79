"""What makes two runs the same run, and what makes them a pair: run names and pairing keys."""

import shlex
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from alexnet.config.compose import searched
from alexnet.config.identity import run_name, why_idle
from alexnet.config.job import check
from alexnet.config.schema import flatten
from tests.config.conftest import job, leaves
from tests.conftest import checked

APART = (
    *("runs", "restart", "hardware.", "devices.", "logger.", "target.", "study.", "data.packs"),
    *(f"trainer.{name}" for name in ("fast_dev_run", "profiler", "detect_anomaly", "log_every_n_steps")),
)
"""What says where, how or beside what a run computes: no part of its name."""


OTHERWISE = {
    "depth.remove": [3],
    "late_changes.bias_milestones": [40],
    "late_changes.color_off_epoch": 67,
    "late_changes.layers": [1],
    "lrn.layers": [1],
    "within_channel_lrn.layers": [1],
    "pretrained.reinit": ["fc8"],
    "relu_position.after_pooling": [1],
    "schedule.kind": "plateau",
    "schedule.milestones": [7],
    "schedule.rescale_to_epochs": 7,
    "data.name": "folder",
}
"""Other values where one more, or another letter, would not do."""


def changed(tree: dict[str, Any], key: str) -> dict[str, Any]:
    """The tree with another value under a dotted key."""
    other = deepcopy(tree)
    *parents, last = key.split(".")
    node = other
    for parent in parents:
        node = node[parent]
    value = node[last]
    one_more = {bool: lambda: not value, str: lambda: f"{value}x", list: lambda: [], dict: lambda: {"fc8": 7}}
    node[last] = OTHERWISE.get(key, one_more.get(type(value), lambda: 7 if value is None else value + 1)())
    return other


def test_a_run_s_name_follows_from_every_value_that_it_computes_with() -> None:
    tree = deepcopy(job().tree)
    tree["data"]["root"] = "/data"
    keys = set(leaves(tree)) - {"ablations", "pretrained.checkpoint"}  # a file: tests/training/test_pretrained.py
    names = {key: run_name(changed(tree, key)) for key in keys}
    same = {key for key, name in names.items() if name == run_name(tree)}
    assert same == {key for key in keys if key.startswith(APART) or why_idle(key, flatten(tree))}
    assert len(same) > 8 and len(keys - same) > 40
    assert len({names[key] for key in keys - same}) == len(keys - same)


def test_a_run_s_name_is_readable() -> None:
    assert job().name.startswith("demo-baseline-seed0-")
    assert job("+ablation=[no_lrn,no_color]").name.startswith("demo-no_color+no_lrn-seed0-")


def test_one_run_has_one_name_however_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert job("+ablation=[no_lrn,no_color]").name == job("ablation=[no_color,no_lrn]").name
    assert job("lrn.k=2").name == job().name  # 2.0
    absolute = job("data=folder", f"data.root={tmp_path}/images").name
    monkeypatch.chdir(tmp_path)
    assert job("data=folder", "data.root=images").name == absolute
    elsewhere = job("data=folder", "data.root=../images")
    assert elsewhere.name != absolute  # as docs/sweeps.md tells of packs that were moved
    assert elsewhere.pairing_key == job("data=folder", "data.root=images").pairing_key


def test_a_relative_folder_of_images_is_another_one_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process, such as a notebook's, that changes its folder."""
    names = set()
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        names.add(checked("data=folder", "data.root=pictures").name)
    assert len(names) == 2


def test_other_numerics_make_another_run_and_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.config.identity.NUMERICS", 10**6)
    other = job("hardware.threads=7")
    assert other.name != job().name and other.pairing_key != job().pairing_key


@pytest.mark.parametrize(
    ("said", "again"),
    [
        (["schedule=log_2012", "schedule.rescale_to_epochs=9"], ["schedule.epochs=9", "schedule.milestones=[2,5,8]"]),
        (["schedule.milestones=[20,99]"], ["schedule.milestones=[20]"]),
        (["lrn.beta=0"], ["lrn=none"]),
        (["lrn=none"], ["lrn=source_2012", "lrn.layers=[]"]),
        (["color.std=-0.0"], ["color=none"]),
    ],
)
def test_one_computation_in_other_words_is_one_run(said: list[str], again: list[str]) -> None:
    assert job(*said).name == job(*again).name != job().name


def test_a_claim_s_wording_is_no_part_of_a_run_s_name() -> None:
    tree = job("+ablation=no_lrn").tree
    other = deepcopy(tree)
    other["ablations"]["no_lrn"]["statement"] = "worded better"
    assert run_name(other) == run_name(tree)


def test_runs_that_differ_so_are_compared() -> None:
    elsewhere = ("hardware.threads=1", "logger.wandb.mode=disabled", "runs=elsewhere")
    elsewhere += ("data.root=/data/pack", "data.packs=/data/packs", "target.paper.top1=3.0")
    for arguments in (("seed=5", "+ablation=[no_conv3,no_dropout]"), elsewhere):
        assert job(*arguments).pairing_key == job().pairing_key


@pytest.mark.parametrize("argument", ["scale=cifar", "lrn.k=1", "optimizer.batch_size=64"])
def test_runs_that_differ_otherwise_are_not_compared(argument: str) -> None:
    assert job(argument).pairing_key != job().pairing_key


def test_an_ablation_is_compared_with_the_baseline_of_its_own_settings() -> None:
    assert job("lrn.k=1", "+ablation=no_color", "seed=1").pairing_key == job("lrn.k=1").pairing_key


def test_an_ablation_by_hand_is_not_the_ablation() -> None:
    """Only `+ablation` says that a change is under test; by hand it is another baseline."""
    by_hand, claimed = job("lrn=none"), job("+ablation=no_lrn")
    assert by_hand.name != claimed.name
    assert by_hand.changes == {} and by_hand.pairing_key != claimed.pairing_key


def test_a_key_at_its_default_changes_no_name_so_that_new_keys_can_be_added() -> None:
    tree = job().tree
    older = deepcopy(tree)
    del older["data"]["val_fraction"]  # a configuration from before this key existed
    assert run_name(older) == run_name(tree)


def test_the_place_of_a_norm_within_channels_is_part_of_a_name() -> None:
    without_lrn = ("within_channel_lrn.layers=[2]", "+ablation=no_lrn")
    assert job(*without_lrn, "lrn.after_pooling=true").name != job(*without_lrn).name


def test_all_images_have_one_name_and_one_batch_is_not_all() -> None:
    names = [job(f"trainer.limit_train_batches={limit}").name for limit in ("null", "1.0", "1", "0.5")]
    assert names[0] == names[1] == job().name and len(set(names)) == 3


def test_the_command_of_a_run_finds_files_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "ablation").mkdir()
    own = "# @package _global_\nablations: {idea: {title: T, section: mine, statement: S}}\nlrn: {k: 1.0}\n"
    (tmp_path / "ablation" / "idea.yaml").write_text(own)
    one = check([*searched(tmp_path), "+ablation=idea"])
    again = check(shlex.split(one.command)[2:])
    assert again.name == one.name and again.changes == {"lrn.k": (2.0, 1.0)}
