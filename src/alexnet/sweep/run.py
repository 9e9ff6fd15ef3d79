"""One sweep from its jobs to the comparison: what it costs, the runs that are missing, the table."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hydra.types import TaskFunction
from omegaconf import DictConfig
from rich.console import Console

from alexnet.config.command_line import CommandLine
from alexnet.config.job import Job, unreached_milestones
from alexnet.data.pack.pack import Pack
from alexnet.errors import UserError, first_line
from alexnet.runs.directory import RESULT_FILE
from alexnet.runs.result import Result
from alexnet.study.report.report import report
from alexnet.sweep.launcher import Launching, launching, start_all
from alexnet.sweep.planned import PlannedRun, planned_runs
from alexnet.sweep.progress import Progress, shown_time


def run_sweep(command: CommandLine, jobs: Sequence[Job], task: TaskFunction) -> None:
    """Launch the runs that are not finished, then compare all that have a result, whatever became of the others.

    Raises:
        UserError: something is refused before the first run, or a run did not finish.
    """
    console = Console()
    runs = planned_runs(list(zip(command.jobs, jobs, strict=True)))
    finished = {run.directory: result for run in runs if (result := run.finished_before) is not None}
    missing = [run for run in runs if run.directory not in finished]
    console.print(_count(runs, missing), highlight=False)
    if warning := _other_precision([(run, finished[run.directory]) for run in runs if run.directory in finished]):
        console.print(warning, style="yellow", highlight=False, soft_wrap=True)
    print_unreached_milestones(jobs, console)
    try:
        if missing:
            with launching(command.hydra, missing[0].overrides) as how:
                _run(missing, how, task, console)
    finally:
        begun = [run.directory for run in runs if (run.directory / RESULT_FILE).is_file()]
        if begun:
            settings = jobs[0].config
            output, wandb = Path(settings.runs), settings.wandb
            report(begun, output=output, split=None, view="ten_crop", console=console, wandb=wandb)
    _check_all_finished(missing, of=len(runs))


def print_unreached_milestones(jobs: Sequence[Job], console: Console) -> None:
    """Say once of each schedule which of its drops training does not live to see."""
    for line in dict.fromkeys(filter(None, map(unreached_milestones, jobs))):
        console.print(line, style="yellow", highlight=False, soft_wrap=True)


def _count(runs: Sequence[PlannedRun], missing: Sequence[PlannedRun]) -> str:
    resumed = sum(run.written_before is not None and not run.job.config.restart for run in missing)
    begun = f" ({resumed} of them begun before)" if resumed else ""
    return f"{len(runs)} runs: {len(runs) - len(missing)} finished before, {len(missing)} to do{begun}"


def _other_precision(finished: Iterable[tuple[PlannedRun, Result]]) -> str | None:
    """A warning where a run counts as finished that was trained at another precision than the one asked for now."""
    others = [one.precision for run, one in finished if one.has_other_precision(run.job.config.hardware.precision)]
    if not others:
        return None
    return f"note: {len(others)} of those finished before are at precision {others[0]}: restart=true runs them again"


def _run(runs: Sequence[PlannedRun], how: Launching, task: TaskFunction, console: Console) -> None:
    progress = _forecast(runs, how, console)
    if not how.in_this_process:
        with progress.watched():
            start_all(how, task, runs)
        return
    queue = iter(runs)

    def announced(config: DictConfig) -> object:
        with progress.one_by_one(next(queue)):
            return task(config)

    how.start(announced, runs)


def _forecast(runs: Sequence[PlannedRun], how: Launching, console: Console) -> Progress:
    """Say what the runs will cost, once everything that can be refused before the first of them has been looked at."""
    from alexnet.sweep.cost import open_packs, work  # torch, which slips on the command line need not wait for

    packs = open_packs(runs)
    left = {run.directory: work(run, packs[run.directory]) for run in runs}
    console.print(f"at most {sum(one.trained for one in left.values()):,} training images", highlight=False)
    speeds = _speeds(runs, packs, how, console)
    weights = {place: one.weight * (speeds[place] if speeds else 1) for place, one in left.items()}
    expected = None
    if speeds and how.max_parallel_jobs:
        max_parallel_jobs = min(how.max_parallel_jobs, len(runs))
        expected = sum(weights.values()) / max_parallel_jobs
        console.print(_expected(expected, max_parallel_jobs, speeds), highlight=False, soft_wrap=True)
    return Progress(runs, weights=weights, expected_seconds=expected, console=console)


def _speeds(
    runs: Sequence[PlannedRun], packs: Mapping[Path, Pack], how: Launching, console: Console
) -> dict[Path, float] | None:
    """Seconds per image of each run; None where the runs go elsewhere, or no step can be made here."""
    from alexnet.sweep.cost import timed_speeds
    from alexnet.training.world import requested_world_size

    if how.max_parallel_jobs is None:
        console.print(
            f"no forecast of the time: hydra/launcher={how.name} decides where the runs compute", soft_wrap=True
        )
        return None
    if any(requested_world_size(run.job.config) > 1 for run in runs):
        console.print("no forecast of the time: its runs are of several processes", highlight=False)
        return None
    try:
        return timed_speeds(runs, packs)
    except Exception as error:  # whatever is wrong with a run, it says so itself, and the others go on
        console.print(f"no forecast of the time: {first_line(error)}", highlight=False)
        return None


def _expected(seconds: float, max_parallel_jobs: int, speeds: Mapping[Path, float]) -> str:
    slowest, fastest = 1 / max(speeds.values()), 1 / min(speeds.values())
    order = (
        "one run at a time"
        if max_parallel_jobs == 1
        else f"{max_parallel_jobs} runs at a time, each as fast as one alone"
    )
    return f"about {shown_time(seconds)}: {order}, {slowest:,.0f} to {fastest:,.0f} images/s in a few steps timed now"


def _check_all_finished(runs: Sequence[PlannedRun], *, of: int) -> None:
    left = [f"{run} ({run.outcome.status if run.outcome else 'not begun'})" for run in runs if not _is_done(run)]
    if left:
        raise UserError(f"{len(left)} of {of} runs did not finish: {', '.join(left)}; the same command does the rest")


def _is_done(run: PlannedRun) -> bool:
    outcome = run.outcome
    return outcome is not None and outcome.status == "finished"
