"""The runs of a planned study: which come next, and whether a run belongs to it."""

from pathlib import Path

from alexnet.config.job import Job, ablation_name, check
from alexnet.config.numerics import NUMERICS
from alexnet.errors import UserError
from alexnet.runs.collect import Run, collect
from alexnet.runs.plan import Plan, read_plan


def next_look(path: Path, runs: Path) -> list[list[str]]:
    """Return the overrides of every run up to the next look of a plan, finished or not; `runs` is their folder.

    Raises:
        UserError: the plan cannot be read, or was changed after its first run.
    """
    plan = read_plan(path)
    jobs = plan.jobs()
    # Runs of other NUMERICS are not compared with these, and have other names.
    if made := [run for run in _of_plan(plan, path, runs) if run.result.numerics == NUMERICS]:
        from alexnet.study.comparison import compare  # scipy, which a run does not wait for
        from alexnet.study.looks import judge

        for table in compare(made, split=None, view="ten_crop"):
            arms = {row.ablation: row.runs for row in table.rows}
            judged = judge(arms, plan, experiment=table.experiment)
            jobs = plan.jobs(min(judged.next_look, len(plan.looks) - 1), judged.settled)
    return [[*with_choice(choice), f"seed={seed}"] for choice, seed in jobs]


def check_in_plan(job: Job) -> None:
    """Refuse a run with `study.plan` that is none of the plan's.

    Raises:
        UserError: its ablation, seed or settings are not the plan's, or the plan was changed after its first run.
    """
    if (file := job.config.study.plan) is None:
        return
    plan = read_plan(Path(file))
    if text := plan.objection(ablation_name(job.tree), job.config.seed):
        raise UserError(f"{file}: {text}")
    if check(list(plan.overrides)).pairing_key != job.pairing_key:
        raise UserError(f"{file}: the run has other settings than the plan, which says: {' '.join(plan.overrides)}")
    _of_plan(plan, Path(file), Path(job.config.runs))


def _of_plan(plan: Plan, path: Path, runs: Path) -> list[Run]:
    """Return the runs of a plan in a folder; UserError if it was changed after the first of them."""
    try:
        found = collect([runs]).runs
    except UserError:  # no folder yet, or nothing in it
        return []
    named = [run for run in found if run.result.plan and run.result.plan.name == plan.name]
    for run in named:
        if run.result.plan != plan:
            raise UserError(
                f"{path}: the plan {plan.name} was changed after its first run, {run.result.run}; restore it, or give"
                " the new plan another name"
            )
    return named


def with_choice(choice: str | None) -> list[str]:
    """Return the override that chooses an ablation as a plan names it; none for the baseline."""
    if choice is None:
        return []
    return [f"+ablation=[{choice.replace('+', ',')}]" if "+" in choice else f"+ablation={choice}"]
