"""`alexnet plan` and `alexnet new-ablation`: files to begin a study of one's own with."""

import os
import re
import shlex
from pathlib import Path

import yaml

from alexnet.config.compose import searched, taken_names
from alexnet.config.identity import ablation_name
from alexnet.config.job import check
from alexnet.errors import UserError
from alexnet.files import write_file
from alexnet.runs.study_plan import Look, Plan, RateSearch, result_name, write_plan
from alexnet.sweep.planned_study import with_choice
from alexnet.untrusted import FieldError

TEMPLATE = """\
# @package _global_
# What you expect, and the change that tests it. Try it:
#
#   alexnet train --config-dir {folder} +ablation={name} --cfg job
#   alexnet train --config-dir {folder} -m '+ablation=none,{name}' seed=0,1,2
#
# The second line trains three seeds of each arm and ends with the comparison (docs/own-claims.md).
ablations:
  {name}:
    title: {title}
    section: mine                 # of the paper, if it speaks of it
    statement: What you expect, in a sentence.
    paper:                        # the rise of the error that is claimed, in percentage points; below 0: it falls
      top1: null                  # null: no number, only the sign
      top5: null
      relation: worse             # or better, equals, about, at_least, no_effect, not_worse
    margin: {{top1: 0.3, top5: 0.15}}   # points that do not matter
# Below, every value that the change sets; `alexnet train --cfg job` shows them all. This example halves the dropout.
dropout:
  probability: 0.25
"""


OF_SEARCH = {"grid": "--rates", "seeds": "--search-seeds", "search.seeds": "--search-seeds"}
"""Options of the search for rates, by field."""


def plan(
    file: Path,
    overrides: list[str],
    *,
    ablations: str,
    seeds: str,
    levels: str,
    baseline_seeds: int,
    measure: str,
    margin: float | None,
    rates: str | None,
    search_seeds: str,
    search_epochs: int | None,
    name: str | None,
    config_dir: Path | None,
) -> None:
    """Check every arm of the plan of a study, and write it, to be committed before the first run."""
    if search_epochs is not None and not rates:
        raise UserError("--search-epochs is of a search for rates: add --rates, such as 0.0025,0.005,0.01")
    try:
        counts, shares = [int(one) for one in seeds.split(",")], [float(one) for one in levels.split(",")]
        looks = tuple(Look(seeds=count, level=share) for count, share in zip(counts, shares, strict=True))
        search = None
        if rates:
            grid, search_of = tuple(map(float, rates.split(","))), tuple(map(int, search_seeds.split(",")))
            search = RateSearch(grid=grid, seeds=search_of, epochs=search_epochs)
        planned = Plan(
            name=name or file.stem,
            overrides=tuple(overrides),
            ablations=tuple(one.strip() for one in ablations.split(",")),
            baseline_seeds=baseline_seeds,
            looks=looks,
            measure=measure,
            margin=margin,
            search=search,
        )
    except FieldError as error:
        raise UserError(f"{OF_SEARCH.get(error.field, error.field)}: {error.problem}") from None
    except ValueError:
        looks_need = "--seeds and --levels are numbers, as many of each, such as 5,10 and 0.01,0.04"
        search_needs = "; --rates and --search-seeds are numbers too, such as 0.0025,0.005,0.01 and 1000,1001"
        raise UserError(looks_need + search_needs * bool(rates)) from None
    if min(baseline_seeds, counts[-1]) < 3:
        raise UserError("--seeds, --baseline-seeds: a verdict needs three seeds of both arms, which no look has")
    of_search = [f"seed={max(search.seeds)}", *search.overrides(search.grid[0])] if search else []
    for choice in planned.arms:
        job = check([*searched(config_dir), *planned.overrides, *with_choice(choice), *of_search])
        if (found := ablation_name(job.tree)) != result_name(choice):
            raise UserError(f"--ablations {choice}: its runs are called {found}; the baseline needs no mention")
    own = f"--config-dir {shlex.quote(str(config_dir))} " if config_dir else ""
    command = f"alexnet train {own}study.plan={file}"
    write_plan(file, planned, command)
    first, most = len(planned.jobs()), len(planned.jobs(len(planned.looks) - 1))
    print(f"{file}: plan {planned.name} ({planned.hash}), {first} runs to the first look, at most {most}")
    if search:
        each = len(search.grid) * len(search.seeds)
        print(
            f"before them {each * len(planned.arms)} runs that choose the rates, {each} for every arm, and a rate more"
            " for all on a side where the best of one is at the edge; an arm whose best rate is not the baseline's is"
            " run at both"
        )
    print(f"Commit it, then: {command}")


def new_ablation(name: str, folder: Path) -> None:
    """Write a template as `FOLDER/ablation/NAME.yaml` and say how to use it."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UserError(f"{name}: a name is of letters, digits and _, and begins with a letter, such as my_idea")
    if name in taken_names() or yaml.safe_load(name) != name:  # null, true: no text
        raise UserError(f"{name}: the project has another use for this name; choose another")
    file = folder / "ablation" / f"{name}.yaml"
    if os.path.lexists(file):
        raise UserError(f"{file} exists; change it, or choose another name")
    write_file(file, TEMPLATE.format(name=name, folder=folder, title=name.replace("_", " ").capitalize()))
    print(f"{file}: change it, then\n  alexnet train --config-dir {folder} -m '+ablation=none,{name}' seed=0,1,2")
