"""`alexnet plan`: write the plan of a study, to be committed before its first run."""

from pathlib import Path

from alexnet.config.job import check
from alexnet.errors import UserError
from alexnet.runs.decode import FieldError
from alexnet.runs.plan import Look, Plan, write_plan
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
    name: str | None,
) -> None:
    """Check every arm of the plan, and write it.

    Raises:
        UserError: the plan contradicts itself, one of its arms cannot be run, or the file exists.
    """
    try:
        counts, shares = [int(one) for one in seeds.split(",")], [float(one) for one in levels.split(",")]
        looks = tuple(Look(seeds=count, level=share) for count, share in zip(counts, shares, strict=True))
        plan = Plan(
            name=name or file.stem,
            overrides=tuple(overrides),
            ablations=tuple(ablations.split(",")),
            baseline_seeds=baseline_seeds,
            looks=looks,
            measure=measure,
            margin=margin,
        )
    except FieldError as error:
        raise UserError(f"{file}: {error}") from None
    except ValueError:
        raise UserError("--seeds and --levels need as many numbers each, such as 5,10 and 0.01,0.04") from None
    for choice in (None, *plan.ablations):
        check([*plan.overrides, *with_choice(choice)])
    write_plan(file, plan)
    first, most = len(plan.jobs()), len(plan.jobs(len(plan.looks) - 1))
    print(f"{file}: plan {plan.name} ({plan.hash}), {first} runs to the first look, at most {most}")
    print(f"Commit it, then: python train.py study.plan={file}")
