"""`alexnet plan`: write the plan of a study, to be committed before its first run."""

from pathlib import Path

from alexnet.config.job import check
from alexnet.errors import UserError
from alexnet.runs.decode import FieldError
from alexnet.runs.plan import Look, Plan, RateSearch, write_plan
from alexnet.sweep.plan import with_choice


def run(
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
) -> None:
    """Check every arm of the plan, and write it.

    Raises:
        UserError: the plan contradicts itself, one of its arms cannot be run, or the file exists.
    """
    try:
        counts, shares = [int(one) for one in seeds.split(",")], [float(one) for one in levels.split(",")]
        looks = tuple(Look(seeds=count, level=share) for count, share in zip(counts, shares, strict=True))
        search = None
        if rates:
            grid, search_of = tuple(map(float, rates.split(","))), tuple(map(int, search_seeds.split(",")))
            search = RateSearch(grid=grid, seeds=search_of, epochs=search_epochs)
        plan = Plan(
            name=name or file.stem,
            overrides=tuple(overrides),
            ablations=tuple(ablations.split(",")),
            baseline_seeds=baseline_seeds,
            looks=looks,
            measure=measure,
            margin=margin,
            search=search,
        )
    except FieldError as error:
        raise UserError(f"{file}: {error}") from None
    except ValueError:
        raise UserError(
            "--seeds and --levels need as many numbers each, such as 5,10 and 0.01,0.04; --rates and --search-seeds"
            " are numbers too, such as 0.0025,0.005,0.01 and 1000,1001"
        ) from None
    for choice in plan.arms:
        check([*plan.overrides, *with_choice(choice), *(search.overrides(search.grid[0]) if search else [])])
    write_plan(file, plan)
    first, most = len(plan.jobs()), len(plan.jobs(len(plan.looks) - 1))
    print(f"{file}: plan {plan.name} ({plan.hash}), {first} runs to the first look, at most {most}")
    if search:
        budget = len(search.grid) * len(search.seeds)
        print(
            f"before them {budget * len(plan.arms)} runs that choose the rates, {budget} for every arm, and a rate more"
            " for all on a side where the best of one is at the edge; an arm whose best rate is not the baseline's is"
            " run at both"
        )
    print(f"Commit it, then: alexnet train study.plan={file}")
