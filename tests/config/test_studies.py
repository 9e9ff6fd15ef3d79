"""Studies: experiments that list their own runs, and how the command line changes the list."""

import pytest
import yaml

from alexnet.config.compose import CONF, ablation_choices, ablation_content
from alexnet.config.job import check
from alexnet.config.overrides import merged

STUDIES = {file.stem: yaml.safe_load(file.read_text()) for file in (CONF / "experiment").glob("study_*.yaml")}


@pytest.mark.parametrize("study", sorted(STUDIES))
def test_a_study_lists_its_seeds_and_ablations(study: str) -> None:
    plain, tree = study.removeprefix("study_"), STUDIES[study]
    assert tree["defaults"] == [plain] and tree.keys() == {"defaults", "hydra"} and tree["hydra"]["mode"] == "MULTIRUN"
    params = tree["hydra"]["sweeper"]["params"]
    assert list(params) == ["seed", "+ablation"] and params["seed"] in ("0,1,2", "0,1,2,3,4")
    ablations = params["+ablation"].split(",")
    assert len(set(ablations)) == len(ablations) == {"study_small": 6, "study_tiny_imagenet": 10}.get(study, 9)
    assert set(ablations) < set(ablation_choices()) and "none" in ablations
    if "ilsvrc" in study:  # all claims with a number
        claims = {
            name: claim for name in ablation_choices() for claim in ablation_content(name, ())["ablations"].values()
        }
        numbers = {
            name
            for name, claim in claims.items()
            if any(claim.get(source, {}).get(k) is not None for source in ("paper", "log") for k in ("top1", "top5"))
        }
        assert set(ablations) - {"none"} == {name for name in numbers if "/" not in name}


def test_a_study_s_run_is_the_run_of_its_experiment() -> None:
    one = check(["experiment=study_small", "seed=1", "+ablation=no_lrn"])
    plain = check(["experiment=small", "ablation=no_lrn", "seed=1"])
    assert (one.name, one.pairing_key, one.tree) == (plain.name, plain.pairing_key, plain.tree)


def test_merged_puts_the_command_line_in_place_of_the_study_s_lists() -> None:
    swept = ["seed=0,1,2", "+ablation=none,no_lrn"]
    assert merged(swept, ["experiment=study", "lrn.k=1"]) == (
        {"seed": "0,1,2", "+ablation": "none,no_lrn"},
        ["experiment=study", "lrn.k=1"],
    )
    assert merged(swept, ["ablation=tanh,none", "seed=7"]) == ({"seed": "7", "ablation": "tanh,none"}, [])
    assert merged([], ["+ablation=[a,b]"]) == ({}, ["+ablation=[a,b]"])
