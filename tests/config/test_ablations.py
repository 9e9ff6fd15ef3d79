"""Every file of ablations/: it composes, changes exactly what it says, and holds the paper's numbers."""

import shlex
from functools import cache
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, OmegaConf

from alexnet.config.compose import (
    ABLATIONS,
    CONF,
    VERSION_BASE,
    AblationFiles,
    compose_config,
    plain_values,
    register,
    with_schema,
)
from alexnet.config.identity import ablation_name
from alexnet.config.job import check
from alexnet.config.overrides import expanded
from alexnet.errors import UserError
from tests.config.conftest import job, leaves

FILES = {file.stem: yaml.safe_load(file.read_text()) for file in ABLATIONS.glob("*.yaml")}
CHANGING = sorted(set(FILES) - {"none"})

PAPER: dict[str, tuple[float, float | None]] = {
    "no_lrn": (1.4, 1.2),  # section 3.3
    "no_overlap": (0.4, 0.3),  # section 3.4
    "one_column": (1.7, 1.2),  # section 3.2
    "no_color": (1.0, None),  # section 4.1, "over 1 %"
    "no_conv2": (2.0, None),  # section 7, "about 2 %" for any of the middle layers
    "no_conv3": (2.0, None),
    "no_conv4": (2.0, None),
}
LOG = {  # the authors' log: test errors of their nets, as differences from net 145 on the same images
    "no_lrn": (1.37, 1.152),
    "no_overlap": (0.394, 0.3),
    "one_column": (1.695, 1.23),
    "isolated_columns": (1.164, 1.12),
}


def without_claims(tree: dict[str, Any]) -> dict[str, Any]:
    return leaves({key: value for key, value in tree.items() if key not in ("ablations", "target")})


def declared(name: str) -> dict[str, Any]:
    return without_claims(FILES[name])


def changed(tree: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    before, after = without_claims(baseline), without_claims(tree)
    assert before.keys() == after.keys()
    return {key: value for key, value in after.items() if value != before[key]}


def test_they_change_the_same_in_the_paper_s_own_experiment() -> None:
    arguments, names = ["experiment=ilsvrc2012", "data.root=/data/pack"], ["no_lrn", "one_column", "no_conv3"]
    expected = {key: value for name in names for key, value in declared(name).items()}
    assert changed(job(*arguments, f"+ablation=[{','.join(names)}]").tree, job(*arguments).tree) == expected


def test_none_is_the_baseline() -> None:
    for argument in ("+ablation=none", "ablation=[none]"):
        assert (job(argument).name, job(argument).tree) == (job().name, job().tree)
    assert ablation_name(job().tree) == "baseline"


@pytest.mark.parametrize("name", CHANGING)
def test_it_says_what_is_claimed_and_where(name: str) -> None:
    (claim,) = FILES[name]["ablations"].values()
    sections = ("log", "3.1", "3.2", "3.3", "3.4", "4.1", "4.2", "5", "6", "7")
    assert claim["title"].strip() and len(claim["statement"].split()) > 5
    assert claim["section"] in sections


@cache
def composed(folder: str) -> DictConfig:
    """All of a folder's ablations in their experiment, by Hydra; they may overrule each other."""
    return compose_config([*EXPERIMENTS[folder], f"+ablation=[{','.join(of(folder))}]"])


@pytest.fixture(scope="module")
def claims() -> DictConfig:
    """All claims, composed together, as they hold whatever else changes."""
    return composed("").ablations


@pytest.mark.parametrize("name", CHANGING)
def test_its_numbers_are_the_paper_s_and_the_log_s_and_say_of_what(claims: DictConfig, name: str) -> None:
    claim = claims[name]
    assert (claim.paper.top1, claim.paper.top5) == PAPER.get(name, (None, None))
    assert (claim.log.top1, claim.log.top5) == LOG.get(name, (None, None))

    for effect in (claim.paper, claim.log):
        assert effect.top1 is None or effect.of
    assert claim.log.top1 is None or "145" in str(claim.log.of)
    assert claim.margin.top1 is not None


def test_claims_in_words_are_relations(claims: DictConfig) -> None:
    expected = {"no_color": ("at_least", 0.1), "no_conv3": ("about", 1.0), "no_lrn": ("equals", 0.1)}
    found = {name: claims[name].paper for name in expected}
    assert {name: (effect.relation, effect.unit) for name, effect in found.items()} == expected
    assert claims.no_dropout.paper.relation == "worse"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("paper.relation=eqals", r"ablations.no_lrn.paper.relation=eqals: .* did you mean equals"),
        ("paper.relation=no_effect", "relation=no_effect needs margin"),
        ("paper.relation=range", "relation=range needs up_to"),
        ("paper.up_to.top1=1.3", "up_to.top1=1.3 is below 1.4"),
        ("margin.top1=-0.3", "margin.top1=-0.3 is not between 0 and 100"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(change: str, message: str) -> None:
    margin = ["ablations.no_lrn.margin.top1=null", "ablations.no_lrn.margin.top5=null"]
    with pytest.raises(UserError, match=message):
        job("+ablation=no_lrn", *margin, f"ablations.no_lrn.{change}")


def test_a_list_combines() -> None:
    both = job("+ablation=[no_lrn,no_dropout]")
    assert changed(both.tree, job().tree) == declared("no_lrn") | declared("no_dropout")
    assert ablation_name(both.tree) == "no_dropout+no_lrn"
    assert set(both.config.ablations) == {"no_lrn", "no_dropout"}
    reverse = job("ablation=[no_dropout,no_lrn]")
    assert (reverse.tree, reverse.changes) == (both.tree, both.changes)


def expansions(*arguments: str) -> list[str]:
    register()
    with initialize_config_dir(str(CONF), version_base=VERSION_BASE):
        return expanded(list(arguments), GlobalHydra.instance().config_loader(), [])


def test_a_pattern_may_name_a_folder_and_be_in_a_list() -> None:
    """`*` stays in its folder: those that belong to other experiments are asked for by theirs."""
    source = {f"source/{file.stem}" for file in ABLATIONS.glob("source/*.yaml")}
    some = {name for name in FILES if name.startswith("no_") and not name.startswith("no_c")}
    some |= {name for name in source if not name.startswith("source/c")}
    expected = {
        "glob(*)": set(FILES),
        "glob(no_*,exclude=no_c*),glob(source/*,exclude=source/c*)": some,
        "glob(source/*)": source,
        "none,glob(source/l*),[no_lrn,no_dropout]": {"none", "source/lrn_alpha", "[no_lrn", "no_dropout]"},
        "glob([*,source/*])": source | FILES.keys(),
    }
    found = expansions(*(f"+ablation={value}" for value in expected))
    assert "none" in FILES and len(source) > 8
    assert [set(one.removeprefix("+ablation=").split(",")) for one in found] == list(expected.values())
    unchanged = ["seed=0,1", "+ablation=none,[no_lrn,no_color]"]
    assert expansions(*unchanged) == unchanged
    with pytest.raises(UserError, match="nothing matches"):
        expansions("+ablation=none,glob(source/zz*)")


def test_hydra_finds_them_in_their_group_and_nothing_in_others() -> None:
    """As it does to complete a word, and for its own lists."""
    files = AblationFiles("alexnet", "ablations://")
    assert files.list("", None) == files.list("", ObjectType.GROUP) == ["ablation"]
    assert files.list("", ObjectType.CONFIG) == []
    assert files.list("ablation", ObjectType.GROUP) == sorted(one.name for one in ABLATIONS.iterdir() if one.is_dir())
    assert set(files.list("ablation", ObjectType.CONFIG)) == set(FILES) < set(files.list("ablation", None))
    assert files.is_group("ablation/source") and files.is_config("ablation/source/init.yaml")
    for elsewhere in ("source", "lrn", "conf", "ablations"):
        assert not files.is_group(elsewhere) and not files.is_config(f"{elsewhere}/no_lrn"), elsewhere


EXPERIMENTS = {
    "": [],
    "cifar10": ["experiment=cifar10_normalization"],
    "figure1": ["experiment=figure1"],
    "record": ["experiment=net_145_2012", "data.root=/data/pack"],
    "source": ["experiment=ilsvrc2012", "data.root=/data/pack", "schedule=log_2012"],
}
"""Folder of ablations -> the command line that they belong to."""
ALL = {
    file.relative_to(ABLATIONS).with_suffix("").as_posix(): yaml.safe_load(file.read_text())
    for folder in EXPERIMENTS
    for file in sorted((ABLATIONS / folder).glob("*.yaml"))
    if file.stem != "none"
}


def of(folder: str) -> list[str]:
    return [choice for choice in ALL if choice.rpartition("/")[0] == folder]


def together() -> list[list[str]]:
    """All of them; those of one folder that change other groups of keys are composed together."""
    found: list[list[str]] = []
    for choice, tree in ALL.items():
        folder, groups = choice.rpartition("/")[0], tree.keys() - {"ablations"}
        for others in found:
            taken = {group for other in others for group in ALL[other]} - {"ablations"}
            if others[0].rpartition("/")[0] == folder and not groups & taken:
                others.append(choice)
                break
        else:
            found.append([choice])
    return found


@pytest.mark.parametrize("folder", EXPERIMENTS)
def test_hydra_composes_every_file_as_the_jobs_of_these_tests_merge_it(folder: str) -> None:
    merged = OmegaConf.merge(job(*EXPERIMENTS[folder]).tree, *(ALL[choice] for choice in of(folder)))
    one, other = (plain_values(with_schema(plain_values(tree))) for tree in (composed(folder), merged))  # type: ignore[arg-type]
    assert one == other and len(one["ablations"]) == len(of(folder)) > 1


def test_the_jobs_of_these_tests_are_those_of_the_command_line() -> None:
    words = ("experiment=small", "columns=one", "seed=1", "+ablation=[no_color,no_lrn]", "init.std=0.02")
    assert job(*words) == check(list(words))
    # Also of the command that resumes them, which keeps what a restart has computed.
    assert job(*words, "restart=true").command == job(*words).command


@pytest.mark.parametrize("choices", together(), ids=",".join)
def test_they_change_exactly_what_their_files_declare_in_their_experiment(choices: list[str]) -> None:
    experiment = EXPERIMENTS[choices[0].rpartition("/")[0]]
    arguments = [*experiment, f"+ablation=[{','.join(choices)}]"]
    one, baseline = job(*arguments), job(*experiment)
    assert one.command == f"python train.py {shlex.join(arguments)}"
    names = sorted(choice.replace("/", "_") for choice in choices)
    assert one.tree["ablations"].keys() == set(names)
    assert ablation_name(one.tree) == "+".join(names) and "/" not in one.name
    assert one.pairing_key == baseline.pairing_key
    expected, before = dict[str, Any](), without_claims(baseline.tree)
    for choice in choices:
        ((name, claim),) = ALL[choice]["ablations"].items()
        assert name == choice.replace("/", "_")
        assert "/" not in choice or claim["section"] in ("3.1", "3.3", "log", "source")
        # some declare a whole choice, such as a pooling stride that is the baseline's too
        differing = {key: value for key, value in without_claims(ALL[choice]).items() if value != before[key]}
        assert differing
        expected |= differing
    assert changed(one.tree, baseline.tree) == expected
    assert one.changes == {key: (before[key], value) for key, value in expected.items()}


def test_the_normalisation_pairs_are_the_released_nets() -> None:
    """The published pair with its two differences besides the norm, and the pair that differs in the norm alone."""
    experiment = "experiment=cifar10_normalization"
    clean = job(experiment, "+ablation=cifar10/norm_clean")
    assert {key.partition(".")[0] for key in clean.changes} == {"lrn"}
    assert clean.config.lrn == job("lrn=cifar_5_channels").config.lrn
    published = job(experiment, "+ablation=cifar10/norm_published")
    assert published.config.lrn == job("lrn=cifar_9_channels").config.lrn
    assert published.config.architecture.name == "cifar_11pct"
    optimizer = published.config.optimizer
    assert optimizer.weight_decay * optimizer.weight_decay_multipliers["fc5"] == pytest.approx(0.01)
    assert {claim.paper.top1 for pair in (clean, published) for claim in pair.config.ablations.values()} == {-2.0}


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("+ablation=no_lrn lrn.layers=[1]", ["no_lrn", "lrn.layers=[]", "lrn.layers=[1]", "choose one"]),
        ("+ablation=one_column columns=isolated", ["columns.kind=one", "columns.kind=isolated"]),
        ("+ablation=[one_column,isolated_columns]", ["columns.kind=one", "columns.kind=isolated", "another ablation"]),
        ("+ablation=no_lrn lrn=none", ["changes nothing", "lrn.layers=[]"]),
        ("+ablation=no_color color.std=0", ["changes nothing", "color.std=0.0"]),
    ],
)
def test_a_contradiction_is_refused(arguments: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        job(*arguments.split())
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_the_usual_choice_makes_the_baseline_where_the_experiment_chooses_otherwise() -> None:
    """The demo starts as the source does."""
    with pytest.raises(UserError, match=": init=paper makes a baseline to compare it with"):
        job("+ablation=source/init")
    assert job("init=paper", "+ablation=source/init").changes == {"init.std_conv3_to_5": (0.01, 0.03)}
    assert job("init=paper", "+ablation=source/init").pairing_key == job("init=paper").pairing_key
    with pytest.raises(UserError, match="choose one of them, and leave the other out"):
        job("init.std_conv3_to_5=0.02", "+ablation=source/init")


def test_a_value_beside_the_ablation_s_is_no_contradiction() -> None:
    one = job("+ablation=no_lrn", "dropout.layers=[6]", "columns=one")
    assert one.changes == {"lrn.layers": ([1, 2], [])}
    assert one.config.columns.kind == "one"
