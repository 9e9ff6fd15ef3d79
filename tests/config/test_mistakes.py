"""Mistakes in a command line: refused before anything is loaded, in one line, with the nearest valid name."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.errors import ConfigCompositionException, MissingConfigException

from alexnet.config import compose as composing
from alexnet.config.compose import (
    AblationFiles,
    ablation_choices,
    ablation_content,
    compose_config,
    refuse_shadows,
    validate,
)
from alexnet.config.job import Job, check
from alexnet.config.overrides import explain
from alexnet.config.schema import ConfigTree
from alexnet.errors import UserError, did_you_mean
from tests.config.conftest import job
from tests.conftest import checked, config


def composed(*arguments: str) -> Job:
    """The job, by Hydra from the first word on: its refusals are under test, and files of the user's."""
    return check(list(arguments))


def refusal(*arguments: str, by: Callable[..., Job] = composed) -> str:
    with pytest.raises(UserError) as caught:
        by(*arguments)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    return message


@pytest.mark.parametrize(
    ("argument", "wrong", "meant"),
    [
        ("+ablation=no_lrm", "no_lrm", "no_lrn"),
        ("+ablation=[no_lrn,no_dropuot]", "no_dropuot", "no_dropout"),
        ("lrn=nonne", "nonne", "none"),
        ("lrn.lyers=[1]", "lrn.lyers", "lrn.layers"),
        ("+lrn.lyers=[1]", "lrn.lyers", "lrn.layers"),
        ("optmizer.lr=1", "optmizer", "optimizer"),
        ("data.shapes.sed=1", "data.shapes.sed", "data.shapes.seed"),
        ("sed=1", "sed", "seed"),
        ("ablations=no_lrn", "ablations=no_lrn", "+ablation=no_lrn"),
        ("+ablations=[no_lrn,conv6]", "+ablations=[no_lrn,conv6]", "+ablation=[no_lrn,conv6]"),
    ],
)
def test_a_misspelling_is_named_with_what_was_meant(argument: str, wrong: str, meant: str) -> None:
    message = refusal(argument)
    assert wrong in message
    assert message.endswith(f"did you mean {meant}?")


def test_what_is_no_choice_of_a_group_is_told_and_a_sweep_cannot_be_shown() -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        compose_config(["+lrn=[1]"])
    for options, needed in (([], "the name of a choice"), (["-m", "--cfg", "job"], "shows one job")):
        said = str(explain(refused.value, ["+lrn=[1]", "seed=0,1", *options]))
        assert needed in said and said.endswith(": +lrn=[1] seed=0,1")


def test_a_mistake_under_a_debugger_is_told_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """OmegaConf then names errors as causes of each other."""
    monkeypatch.setenv("OC_CAUSE", "1")
    assert refusal("+abaltion=no_lrn").endswith("did you mean ablation?")


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("lrn=null", "lrn"),
        ("+seed=3", "+seed=3: seed has a value already; leave out the +"),
        ("+lrn=none", "+lrn=none: lrn has a value already; leave out the +"),
        ("lr=0.1", "did you mean optimizer.lr?"),
        ("lrn=paper lrn=none", "chosen twice"),
        ("seed=???", "no value for seed"),
        ("optimizer.lr=${oc.env:NOPE_NOT_SET}", "NOPE_NOT_SET"),
        ("data.root=a(b", "'data.root=\"a(b\"'"),
        ("hydra=1", "hydra=1"),
        ("hydra.rum.dir=x", "did you mean hydra.run?"),
        ("runs=", "runs=: empty"),
        ("hydra.sweeper.params={seed:1}", "on the command line sweep over the key itself, KEY=A,B"),
        ("+hydra.sweeper.params={seed:choice(0,1)}", "on the command line sweep over the key itself, KEY=A,B"),
        ("hydra/launcher=joblb", "did you mean joblib?"),
        ("optimizer=sgd", "choose from: batch_256, "),
        ("ablation=null", "none"),
        ("runs=1e3", 'runs="1e3"'),
        ("~lrn", "~lrn"),
        ("++ablation=no_lrn", "++ablation=no_lrn"),
        ("seed", "seed"),
        ("lrn.layers=[1", "[1"),
        ("seed=0,1", "add -m"),
        ("+ablation=glob(*)", "add -m"),
        ("+ablations={no_lrm:{title:a,section:b,statement:c}}", "did you mean no_lrn?"),
        ("+ablations={idea:{title:a,statement:c}}", "ablations.idea.section: add it to the ablation's file"),
        ("ablations.no_lrn.title=x", "ablations.no_lrn"),
        ("+ablation=no_lrn.yaml", "leave out .yaml: ablation=no_lrn"),
    ],
)
def test_a_value_that_cannot_be_is_refused(argument: str, part: str) -> None:
    assert part in refusal(*argument.split())


def test_a_new_name_in_a_mapping_without_a_plus_is_told_of_it() -> None:
    with pytest.raises(UserError, match=r"lr_multipliers\.fc8: .* \+optimizer\.lr_multipliers\.fc8=\.\.\.$"):
        job("optimizer.lr_multipliers={fc8:2}")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("optimizer.lr=abc", "a number"),
        ("optimizer.lr=null", "a number"),
        ("optimizer.lr=[1]", "a number"),
        ("seed=1.5", "a whole number"),
        ("seed=true", "a whole number"),
        ("schedule.epochs=abc", "a whole number"),
        ("devices.replicas=two", "a whole number or null"),
        ("schedule.stop_at_train_error=low", "a number or null"),
        ("restart=maybe", "true or false"),
        ("crops.flip=null", "true or false"),
        ("data.root=[1]", "a text or null"),
        ("columns.kind=null", "a text"),
        ("lrn.layers=1", "a list such as [1,2]"),
        ("pretrained.reinit=fc8", "a list such as [fc7,fc8]"),
        ("optimizer.weight_decay_multipliers=5", "a mapping of names to values"),
        ("optimizer.weight_decay_multipliers.conv1=x", "a number"),
    ],
)
def test_a_value_of_another_type_is_named_with_what_is_expected(argument: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        validate(with_value(argument))
    assert str(caught.value) == f"{argument}: {expected} is needed"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("optimizer.lr=abc", "a number"),
        ("++seed=true", "a whole number"),
        ("+optimizer.weight_decay_multipliers.conv1=x", "a number"),
    ],
)
def test_hydra_refuses_another_type_while_it_composes(argument: str, expected: str) -> None:
    with pytest.raises(ConfigCompositionException) as refused:
        compose_config([argument])
    assert explain(refused.value, [argument]) == f"{argument.lstrip('+')}: {expected} is needed"


def test_an_item_of_another_type_is_named_by_its_place() -> None:
    assert refusal("schedule.milestones=[3,4.5]") == "schedule.milestones[1]=4.5: a whole number is needed"


def with_value(argument: str) -> ConfigTree:
    """The demo's tree with one value in another's place; without composing anew, which takes a quarter of a second."""
    key, _, value = argument.partition("=")
    *parents, last = key.split(".")
    tree = deepcopy(job().tree)
    node = tree
    for parent in parents:
        node = node[parent]
    assert last in node or parents[-1].endswith("multipliers")
    node[last] = yaml.safe_load(value) if value not in ("inf", "nan") else float(value)
    return tree


@pytest.mark.parametrize(
    "argument",
    [
        "seed=-1",
        "seed=2147483648",
        "scale.crop_size=65",
        "scale.channels=[8,8,8,8]",
        "scale.channels=[8,8,8,8,12]",
        "scale.channels=[0,8,8,8,8]",
        "scale.fc_width=0",
        "scale.fc_width=7",
        "scale.conv1_kernel=0",
        "scale.conv1_stride=0",
        "scale.conv1_padding=-1",
        "columns.kind=three",
        "lrn.layers=[6]",
        "lrn.layers=[1,1]",
        "lrn.size=4",
        "lrn.size=-1",
        "lrn.size=513",
        "lrn.k=0",
        "lrn.alpha=-1",
        "lrn.beta=-1",
        "lrn.alpha=nan",
        "pooling.stride=4",
        "pooling.stride=0",
        "dropout.layers=[5]",
        "dropout.layers=[6,6]",
        "dropout.probability=1",
        "dropout.probability=-0.1",
        "depth.remove=[6]",
        "depth.remove=[2,3]",
        "init.std=0",
        "init.std_conv3_to_5=0",
        "init.bias=nan",
        "init.bias=-1.0e+39",
        "color.std=-0.1",
        "color.magnitude=variance",
        "optimizer.lr=0",
        "optimizer.lr=inf",
        "optimizer.lr=nan",
        "optimizer.bias_lr_multiplier=0",
        "optimizer.momentum=1",
        "optimizer.momentum=-0.1",
        "optimizer.weight_decay=-1",
        "optimizer.batch_size=0",
        "schedule.kind=exponential",
        "schedule.factor=1",
        "schedule.epochs=0",
        "schedule.patience=0",
        "schedule.max_lr_drops=-1",
        "schedule.milestones=[5,3]",
        "schedule.milestones=[3,3]",
        "schedule.milestones=[0,3]",
        "data.name=mnist",
        "data.val_fraction=0",
        "data.val_fraction=1",
        "data.shapes.train_per_class=0",
        "data.shapes.train_per_class=100001",
        "data.shapes.val_per_class=0",
        "data.shapes.test_per_class=0",
        "data.shapes.seed=-1",
        "data.test_fraction=1",
        "data.encoding=png",
        "data.quality=0",
        "data.quality=101",
        "data.chroma_subsampling='411'",
        "data.decoder=gpu",
        "schedule.stop_at_train_error=100",
        "hardware.accelerator=abacus",
        "hardware.threads=0",
        "hardware.eval_batch_size=0",
        "logger.wandb.mode=dryrun",
        "trainer.max_time='100000:00:00:00'",
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(argument: str) -> None:
    """By the classes of the schema themselves, from the inside out: each checks its own values."""
    key, _, text = argument.partition("=")
    value: Any = float(text) if text in ("inf", "nan") else yaml.safe_load(text)
    names, owners = key.split("."), [config()]
    for name in names[:-1]:
        owners.append(getattr(owners[-1], name))
    with pytest.raises(UserError) as caught:
        for owner, name in zip(reversed(owners), reversed(names), strict=True):
            value = replace(owner, **{name: value})
    message = str(caught.value)
    assert "\n" not in message
    assert key in message or (key.startswith("data.shapes.") and "data.shapes" in message)


@pytest.mark.parametrize(
    "argument",
    [
        "seed=2147483647",
        "scale.crop_size=64",
        "lrn.size=1",
        "pooling.stride=3",
        "pooling.stride=1",
        "dropout.probability=0",
        "color.std=0",
        "optimizer.momentum=0",
        "optimizer.weight_decay=0",
        "schedule.epochs=1",
        "schedule.max_lr_drops=0",
        "schedule.milestones=[]",
        "hardware.threads=1",
        "lrn.layers=[1,2,3,4,5]",
    ],
)
def test_a_value_at_its_limit_is_accepted(argument: str) -> None:
    key, _, value = argument.partition("=")
    node = validate(with_value(argument))
    for part in key.split("."):
        node = getattr(node, part)
    assert str(node).replace(" ", "") in (value, f"{value}.0")


FIGURE1 = "experiment=figure1"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("architecture=cifar_19pct", "add columns=one dropout=none"),
        (f"{FIGURE1} columns.kind=two", "add columns=one"),
        (f"{FIGURE1} depth.sixth_conv=true", "add depth=five"),
        (f"{FIGURE1} +ablation=no_conv3", "fixed layers"),
        (f"{FIGURE1} +ablation=no_bias_init", "init.bias has no meaning for architecture=cifar_19pct"),
        (f"{FIGURE1} init=paper", "init has no meaning"),
        (f"{FIGURE1} +ablation=no_dropout", "changes nothing"),
        (f"{FIGURE1} lrn.layers=[3]", "lrn.layers"),
        (f"{FIGURE1} +ablation=figure1/tahn", "did you mean figure1/tanh?"),
        (f"{FIGURE1} +ablation/figure1=tanh", "+ablation=figure1/"),
        ("+optimizer.weight_decay_multipliers.fc8=-1", "optimizer.weight_decay_multipliers.fc8"),
        ("+optimizer.lr_multipliers={fc8:-1}", "optimizer.lr_multipliers.fc8=-1"),
        (f"{FIGURE1} classifier.bottleneck=true", "add classifier.bottleneck=false"),
    ],
)
def test_what_has_no_meaning_for_a_cifar_net_is_refused(arguments: str, part: str) -> None:
    assert part in refusal(*arguments.split(), by=checked)


def test_all_names_are_listed_where_none_is_near() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == "; choose from: a, b"
    assert did_you_mean("relus", ["relu", "tanh"]) == ": did you mean relu?"
    assert did_you_mean("x", []) == ""


@pytest.fixture
def ablation_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in the place of ablations/."""
    monkeypatch.setattr(composing, "ABLATIONS", tmp_path)
    caches = (ablation_choices, ablation_content)
    for one in caches:
        one.cache_clear()
    yield tmp_path
    for one in caches:
        one.cache_clear()


CLAIM = "ablations:\n  {name}:\n    title: T\n    section: '1'\n    statement: S\n"


BROKEN = {
    "broken_yaml": ("ablations: [", "not readable as YAML"),
    "broken_tabs": ("ablations:\n\tx: 1", "not readable as YAML"),
    "broken_list": ("- 1\n", "ablations.broken_list"),
    "broken_empty": ("", "ablations.broken_empty"),
    "broken_name": (CLAIM.format(name="another"), "ablations.broken_name"),
    "broken_bare": ("lrn:\n  layers: []\n", "ablations.broken_bare"),
    "broken_text": ("ablations: broken_text\n", "ablations.broken_text"),
}


def test_a_broken_ablation_file_refuses_only_what_chooses_it(ablation_folder: Path) -> None:
    for name, (text, _) in BROKEN.items():
        (ablation_folder / f"{name}.yaml").write_text(text)
    compose_config(["seed=1"])  # commands that do not choose one go on
    assert AblationFiles("alexnet", "ablations://").list("ablation", None) == sorted(BROKEN)  # patterns take them in
    for name, (_, part) in BROKEN.items():
        for chosen in (f"+ablation={name}", f"ablation=[none,{name}]"):
            said = refusal(chosen)
            assert str(ablation_folder / f"{name}.yaml") in said and part in said


@pytest.mark.parametrize(
    ("name", "changes", "part"),
    [
        ("wrong_key", "lrn:\n  lyers: []\n", "lrn.lyers: did you mean lrn.layers?"),
        ("wrong_group", "lnr:\n  layers: []\n", "lnr: did you mean lrn?"),
        ("wrong_value", "lrn:\n  layers: [9]\n", "lrn.layers"),
        ("wrong_nothing", "lrn:\n  layers: [1, 2]\n", "wrong_nothing changes nothing"),
        ("wrong_claim", "  # the claim goes on\n    papr: {top1: 1}\n", "did you mean ablations.wrong_claim.paper?"),
    ],
)
def test_a_mistake_in_an_ablation_file_is_found_in_use(
    ablation_folder: Path, name: str, changes: str, part: str
) -> None:
    (ablation_folder / f"{name}.yaml").write_text(CLAIM.format(name=name) + changes)
    assert part in refusal(f"+ablation={name}")


def test_an_ablation_is_added_by_adding_a_file(ablation_folder: Path) -> None:
    (ablation_folder / "wide_window.yaml").write_text(CLAIM.format(name="wide_window") + "lrn:\n  size: 9\n")
    assert composed("+ablation=wide_window").changes == {"lrn.size": (5, 9)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# @package _global_\nablations: {x: [1\n", "idea.yaml, line 2: not readable as YAML: expected ',' or ']'"),
        ("# @package _global_\nlrn:\n\tk: 1\n", "idea.yaml, line 3: not readable as YAML: found character '\\t'"),
        (CLAIM.format(name="idea"), 'idea.yaml: its first line must be "# @package _global_"'),
        ("", "idea.yaml: it is empty; its first line must be"),
        ("\ufeff" + CLAIM.format(name="idea"), "idea.yaml: it begins with a byte order mark; its first line must be"),
        (CLAIM.format(name="idea") + "  # \x01", "idea.yaml: not readable as YAML: unacceptable character #x0001"),
        ("# @package _global_\n# caf\udce9", "idea.yaml: not text in UTF-8"),
    ],
)
def test_a_mistake_in_a_file_of_ones_own_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    own_ablation(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    message = refusal(f"hydra.searchpath=[file://{tmp_path}/mine]", "+ablation=idea")
    assert message.startswith(f"mine/ablation/{said}")


SETS = [
    ("lrn: {size: '3'}", ""),
    ("within_channel_lrn: {layers: [1], size: '${lrn.size}'}", ""),
    ("lrn: {size: '5'}", "ablation idea2 changes nothing here: lrn.size=5 already holds"),
    ("", "ablation idea3 changes nothing here: it sets no value"),
    ("  on: {title: T}", "In 'ablation/idea4': names such as on, no and 2024 need quotes (True is no text)"),
    ("defaults: [{override /lrn: none}]", "(an ablation holds plain values, and no choices of groups)"),
    ("hydra: {run: {dir: /elsewhere}}", "ablation idea6 sets hydra.run.dir, which is not a part of the network"),
    (f"x: {'[' * 3000}", "the configuration: not readable as YAML: maximum recursion depth"),
    (f"lrn: {{size: {'9' * 5000}}}", "the configuration: not readable as YAML: Exceeds the limit"),
]


@pytest.fixture(scope="module")
def ideas(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One folder for all of these ablations, so that Hydra composes once what is the same without them."""
    folder = tmp_path_factory.mktemp("ideas")
    for number, (sets, _) in enumerate(SETS):
        own_ablation(folder, f"# @package _global_\n{CLAIM.format(name=f'idea{number}')}{sets}\n", f"idea{number}")
    return f"hydra.searchpath=[file://{folder}/mine]"


@pytest.mark.parametrize("number", range(len(SETS)), ids=[sets[:40] for sets, _ in SETS])
def test_what_an_ablation_of_ones_own_sets_is_read_as_elsewhere(ideas: str, number: int) -> None:
    said, given = SETS[number][1], (ideas, f"+ablation=idea{number}")
    assert said in refusal(*given) if said else composed(*given).changes


@pytest.mark.parametrize("choice", ["idea", "idea.yaml"])
def test_a_file_in_a_folder_that_is_not_named_is_pointed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    own_ablation(tmp_path, CLAIM.format(name="idea"))
    with pytest.raises(MissingConfigException) as missing:
        compose_config([f"+ablation={choice}"])
    too_deep = ["--config-dir", str(tmp_path / "mine" / "ablation")]
    assert "must name the folder that holds ablation/" in str(explain(missing.value, too_deep))
    monkeypatch.chdir(tmp_path)
    assert str(explain(missing.value)).endswith("mine/ablation/idea.yaml exists: give --config-dir mine")


def test_a_file_of_ones_own_with_the_name_of_one_of_ours_is_refused(tmp_path: Path) -> None:
    for name in ("ablation/no_lrn", "lrn/paper"):
        file = tmp_path / f"{name}.yaml"
        file.parent.mkdir()
        file.write_text(CLAIM.format(name="no_lrn"))
        with pytest.raises(UserError, match=f"{name}.yaml: the project has a file of this name"):
            refuse_shadows(str(tmp_path))
    assert "the project has a file of this name" in refusal(f"hydra.searchpath=[file://{tmp_path}]")
    assert refusal("hydra.searchpath=[file:///nowhere]") == "hydra.searchpath: /nowhere: there is no such folder"


def test_defaults_that_lead_back_are_told(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ndefaults: [mine]\n")
    said = refusal(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine")
    assert said == "the configuration: the `defaults` of a file lead back to that file"


def own_ablation(folder: Path, text: str, name: str = "idea") -> None:
    (folder / "mine" / "ablation").mkdir(parents=True, exist_ok=True)
    (folder / "mine" / "ablation" / f"{name}.yaml").write_text(text, "utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lrn.layers=[]", "lrn.size=7"), "lrn.size=7 has no effect: lrn.layers=[]"),
        (("lrn=none", "lrn.size=7", "data=cifar10", "data.shapes.seed=3"), "lrn.size=7 has no effect: lrn.layers=[]"),
        (("lrn=none", "lrn.size=7", "data=cifar10", "data.shapes.seed=3"), "; data.shapes.seed=3 has no effect: "),
        (("columns.kind=one", "lrn.across_columns=true"), "one column has nothing to cross"),
        (("schedule.kind=cosine", "schedule.factor=5"), "never divided"),
        (("dropout.layers=[]", "dropout.probability=0.9"), "dropout.layers=[]"),
        (("color.std=0", "color.magnitude=eigenvalue"), "color.std=0"),
        (("crops.random=false", "crops.include_last_offset=false"), "crops.random=false"),
        (("schedule.max_lr_drops=1",), "alone waits for plateaus"),
        (("pretrained.reinit=[fc8]",), "pretrained.checkpoint"),
        (("late_changes.freeze_epoch=3",), "late_changes.layers=[]"),
        (("within_channel_lrn.size=7",), "within_channel_lrn.layers=[]"),
        (("data.name=cifar10", "data.shapes.seed=3"), "not the drawn ones"),
        (("optimizer.weight_decay=0", "+optimizer.weight_decay_multipliers.fc8=2"), "decays nothing"),
        (("lrn.layers=[2,1]",), "rising order"),
        (("ablation=[]",), "no ablation is named"),
        (("+ablation=[no_lrn,no_lrn]",), "no_lrn is chosen twice"),
        (("recipe=[source_2012,paper]",), "give the name of one choice"),
        (("crops={flip:5}",), "give the name of one choice"),
        (("dropout.probability=0", "+ablation=no_dropout"), "changes nothing here"),
        (("color=none", "+ablation=source/color_rescaled"), "color.std=0 adds no noise"),
        (("scale=cifar_whole", "+ablation=source/all_offsets"), "a crop has one place in its image"),
        (("lrn.alpha=0", "+ablation=source/lrn_alpha"), "lrn.alpha=0 sums nothing"),
        (("lrn.alpha=0", "lrn.k=1", "+ablation=no_lrn"), "the same without it"),
        (("schedule.milestones=[]", "schedule.epochs=1", "+ablation=source/color_off"), "the same without it"),
        (("schedule.milestones=[]", "schedule.epochs=1", "+ablation=source/conv1_frozen"), "the same without it"),
        (("scale.conv1_stride=100",), "scale.conv1_kernel"),
        (("data.shapes.seed=99999999999999999999",), "data.shapes.seed"),  # its float would name other images too
    ],
)
def test_what_changes_nothing_is_refused_with_the_reason(arguments: tuple[str, ...], said: str) -> None:
    assert said in refusal(*arguments, by=checked)


def test_a_value_that_only_the_baseline_uses_may_be_given() -> None:
    assert job("lrn.size=7", "+ablation=no_lrn").changes == {"lrn.layers": ([1, 2], [])}


@pytest.mark.parametrize("key", ["seed", "runs", "experiment", "hardware.threads"])
def test_an_ablation_may_not_say_which_runs_or_where(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"seed": {"seed": 3}, "runs": {"runs": "x"}, "experiment": {"experiment": "x"}}
    contents = {"ablations": {"no_lrn": {}}, **parts.get(key, {"hardware": {"threads": 1}})}
    monkeypatch.setattr("alexnet.config.job.ablation_content", lambda *_: contents)
    assert f"ablation no_lrn sets {key}" in refusal("+ablation=no_lrn", "lrn.k=3", by=checked)
