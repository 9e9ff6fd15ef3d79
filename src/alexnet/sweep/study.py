"""Many runs by one command: those that are missing, what they cost, their comparison. Knows no Hydra plugin."""

import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console

from alexnet.config.compose import ABLATIONS, CONF
from alexnet.config.identity import ablation_name
from alexnet.config.job import Job, misnamed_images, unreached_milestones
from alexnet.data.threads import available_cpus
from alexnet.errors import UserError, first_line, plural, print_line
from alexnet.files import exclusive, is_held
from alexnet.processes import check_environment
from alexnet.runs.collect import collect
from alexnet.runs.directory import LOCK_FILE, RESULT_FILE
from alexnet.runs.metrics import read_metrics
from alexnet.runs.result import Result, finished_run, read_result
from alexnet.runs.study_plan import read_plan
from alexnet.sweep.planned_study import OpenPlan, diverged_line, missing_runs
from alexnet.sweep.progress import Progress
from alexnet.sweep.workers import run_side_by_side
from alexnet.terminal import IMPORTING, Terminal, busy

QUEUED_SOURCE = "ALEXNET_QUEUED_SOURCE"
"""Hands the digest to the jobs: launchers and schedulers pass the environment on."""
PACKAGE = Path(__file__).parents[1]


def _written(directory: Path) -> int | None:
    with suppress(OSError):
        return (directory / RESULT_FILE).stat().st_mtime_ns
    return None


class PlannedRun:
    """One checked job of a study, and when a result was left in its directory before, if there is one."""

    def __init__(self, overrides: Sequence[str], job: Job) -> None:
        self.overrides, self.job = overrides, job
        self.directory = Path(job.config.runs) / job.name
        self.written_before = _written(self.directory)
        self.name = f"{ablation_name(self.job.tree)} seed {self.job.config.seed}"
        self.apart: list[str] = []
        """Overrides that tell it from others of this name in its study."""

    def __str__(self) -> str:
        return " ".join([self.name, *self.apart])

    @property
    def finished_before(self) -> Result | None:
        """Its result if there is nothing to do: it was finished before, and is not to be restarted."""
        with suppress(UserError):  # the run itself will say what is wrong with its result file
            job = self.job
            return finished_run(self.directory, job.name, job.identity, restart=job.config.restart)
        return None

    @property
    def outcome(self) -> Result | None:
        """What this study has made of the run so far; None if it has not begun, `interrupted` also while it runs."""
        with suppress(UserError):
            return None if _written(self.directory) == self.written_before else read_result(self.directory)
        return None

    @property
    def is_settled(self) -> bool:
        """Whether this study has finished it, or seen it fail."""
        return (outcome := self.outcome) is not None and outcome.status != "interrupted"

    @property
    def is_answer(self) -> bool:
        """Whether it diverged in a plan: that rules out its rate in a search, and its look has the other seeds."""
        return (outcome := self.outcome) is not None and outcome.plan is not None and outcome.diverged

    @property
    def end(self) -> str:
        """What to say of it if it has not finished."""
        if is_held(self.directory / LOCK_FILE):
            return "running elsewhere"
        one = self.outcome
        return "not begun" if one is None else "diverged" if one.diverged else one.status

    @property
    def epochs_done(self) -> int:
        """Epochs in its directory, of which a restart keeps none."""
        stale = self.job.config.restart and self.outcome is None
        return 0 if stale else len(read_metrics(self.directory).epochs)

    @property
    def objective(self) -> float | None:
        """Its final error, for a sweeper that searches; None if it has none."""
        done = self.outcome or self.finished_before
        return objective(done) if done is not None and done.status == "finished" else None


Start = Callable[[Sequence[PlannedRun]], None]
"""Runs all and returns when they have ended; an exception means that a worker process died."""
Body = Callable[[PlannedRun, int], Callable[[], object]]
"""Makes what a process of its own is to call for a run, of so many that share the machine; it can be pickled."""


class Study:
    """All runs of one command, batch by batch: a grid is one batch, an adaptive search many."""

    def __init__(self, hydra: Any) -> None:
        """Take Hydra's configuration, for its launcher."""
        self.console = Terminal()
        self.runs: dict[Path, PlannedRun] = {}
        self.progress = Progress([], console=self.console)
        self.launcher, self.at_once = str(hydra.runtime.choices["hydra/launcher"]), max_parallel_jobs(hydra)
        self._batch: list[PlannedRun] = []
        self.console.print("checking every run before the first one starts")

    def begin(self, batch: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Take up a batch of runs and return those that are to be done: each once, and no finished one."""
        new = {run.directory: run for run in batch if run.directory not in self.runs}
        self.runs |= new
        for run in new.values():
            same = [one.overrides for one in self.runs.values() if one.name == run.name]
            run.apart = [word for word in run.overrides if not all(word in one for one in same)]
        self._batch = list(new.values())
        finished = {run: done for run in new.values() if (done := run.finished_before)}
        missing = [run for run in new.values() if run not in finished]
        resumed = sum(run.written_before is not None and not run.job.config.restart for run in missing)
        begun = f" ({resumed} of them begun before)" if resumed else ""
        self.console.print(f"{plural(len(new), 'run')}: {len(finished)} finished before, {len(missing)} to do{begun}")
        paired = [run for run in batch if self.runs[run.directory].job.pairing_key != run.job.pairing_key]
        paired += [run for run, done in finished.items() if done.pairing_key != run.job.pairing_key]
        if paired:
            what = f"note: {paired[0]} computes the same with another baseline, and is compared with that one alone"
            self.console.print(f"{what}: to compare it with this one too, give another folder, runs=FOLDER")
        plans, asked = cache(read_plan), [(run, done, run.job.config.study.plan) for run, done in finished.items()]
        if unplanned := [run for run, done, file in asked if file and done.plan != plans(Path(file))]:
            how_many = f"{len(unplanned)} (such as {unplanned[0]})"
            what = f"note: of those finished before, {how_many} were made without this plan: a report flags them"
            self.console.print(f"{what}; another folder, runs=FOLDER, makes them the plan's")
        if stale := saw_other_images([(run.job, done) for run, done in finished.items()]):
            how_many = f"{len(stale)} (such as {ablation_name(stale[0].tree)} seed {stale[0].config.seed})"
            what = f"note: of those finished before, {how_many} saw other images than data.root holds now"
            self.console.print(f"{what}: restart=true runs them again")
        others = [done for run, done in finished.items() if done.has_other_precision(run.job.config.hardware.precision)]
        if others:
            count = f"{len(others)} of those finished before {'is' if len(others) == 1 else 'are'}"
            self.console.print(f"note: {count} at precision {others[0].precision}: restart=true runs them again")
        print_notes([run.job for run in new.values()], self.console)
        return missing

    def run(self, runs: Sequence[PlannedRun], start: Start, body: Body) -> None:
        """Do the runs of a batch, after everything that can be refused has been looked at.

        Without a launcher they run in this process one by one, or side by side in processes of their own.
        """
        begun = time.monotonic()
        refuse_at_once([run.job for run in runs])
        self.console.print(IMPORTING)
        with busy(IMPORTING, self.console):
            from alexnet.sweep.cost import forecast, runs_at_once
            from alexnet.training.distributed import external_launch

        imported = time.monotonic() - begun
        if (world := external_launch()) is not None:
            raise UserError(
                f"a sweep is one process, and {world.size} were started: give the command by itself, with devices=ddp"
                " for runs of several processes each"
            )
        at_once = self.at_once
        if self.launcher == "basic":  # by all runs of the batch, so that a repeated command gives each the same threads
            at_once = runs_at_once([run.job.config for run in self._batch])
        work, seconds = None, None
        if not self.has_begun:  # the later batches of a search take as long as the first
            work, seconds = forecast(runs, self.launcher, at_once, self.console, import_seconds=imported)
        self.progress = Progress(runs, console=self.console, work=work, seconds=seconds)
        if self.launcher != "basic":
            with self.progress.watched():
                start_all(start, runs)
        elif at_once == 1:
            start(runs)
        else:
            at_once = at_once or 1
            with self.progress.displayed():
                codes = run_side_by_side([body(run, at_once) for run in runs], at_once, look=self.progress.look)
            for run, code in zip(runs, codes, strict=True):
                if code < 0:
                    print_line(f"error: {run}: its process was killed ({signal.Signals(-code).name})", file=sys.stderr)

    def compare(self) -> None:
        """Compare all runs that have a result, with those of the plan that an earlier command has made.

        If none has finished, the comparison that there may be is left as it is.
        """
        begun = [directory for directory in self.runs if (directory / RESULT_FILE).is_file()]
        if begun:
            from alexnet.study.report.report import report

            settings = self.runs[begun[0]].job.config
            output = Path(settings.runs)
            opened = OpenPlan.read(Path(settings.study.plan), output) if settings.study.plan else None
            begun += [run.directory for run in opened.runs] if opened else []
            if not any(run.finished for run in collect(begun).runs):
                return
            compared = report(
                begun, output=output, split=None, view="ten_crop", console=self.console, wandb=settings.logger.wandb
            )
            known = {directory.resolve() for directory in begun}
            if others := {file.parent.resolve() for file in output.glob(f"*/{RESULT_FILE}")} - known:
                left = f"{plural(len(others), 'other run')} in {output} {'is' if len(others) == 1 else 'are'} left out"
                self.console.print(f"note: {left}; to compare all:")
                self.console.print(f"  alexnet report {shlex.quote(str(output))}", soft_wrap=True)
            if opened:
                tables = (one for one in compared.tables if one.plan == opened.plan)
                settled = next((one.judged.settled for one in tables if one.judged), None)
                if lost := diverged_line(opened.runs):
                    self.console.print(f"plan {opened.plan.name}: {lost}")
                if missing := missing_runs(opened.plan, opened.runs, settled):
                    same = "; the same command does them" if opened.runs else ", as runs of this plan"
                    self.console.print(f"plan {opened.plan.name}: {missing}{same}")

    def say_how_to_continue(self) -> None:
        """Print the last line of a study that Ctrl-C or a signal has ended."""
        if total := len(self.runs):
            done = sum(run.objective is not None for run in self.runs.values())
            again = " without restart=true" * any(run.job.config.restart for run in self.runs.values())
            print_line(
                f"interrupted: {done} of {total} runs have finished; to resume, repeat the command{again}",
                file=sys.stderr,
            )

    @property
    def has_begun(self) -> bool:
        return any(run.outcome for run in self.runs.values())

    @property
    def all_have_errors(self) -> bool:
        """Whether every run has a final error: none has failed or diverged."""
        return all(run.objective is not None for run in self.runs.values())

    def check_all_finished(self) -> None:
        """Raise a UserError that names the runs that have not finished; one of a plan that diverged is an answer."""
        left = [run for run in self.runs.values() if run.objective is None and not run.is_answer]
        if left:
            ends = [run.end for run in left]
            told = ", ".join(f"{run} ({end})" for run, end in zip(left, ends, strict=True))
            what_next = ["the same command does the rest"] * any(end != "diverged" for end in ends)
            what_next += ["what diverged does so again: lower its optimizer.lr"] * ("diverged" in ends)
            raise UserError("; ".join([f"{len(left)} of {len(self.runs)} runs did not finish: {told}", *what_next]))


def refuse(mistakes: Sequence[str | None]) -> None:
    """Show what is wrong with the jobs, each mistake once, and raise the last as a UserError; None is a sound job."""
    counts, jobs = Counter(filter(None, mistakes)), len(mistakes)
    lines = [text if n == jobs else f"{text} ({n} of {jobs} jobs)" for text, n in counts.items()]
    for line in lines[:-1]:
        print_line(f"error: {line}", file=sys.stderr)
    if lines:
        raise UserError(f"{lines[-1]}; nothing was started")


def refuse_at_once(jobs: Sequence[Job]) -> None:
    """Raise a UserError for what can be seen before torch is imported: variables of the environment, and no data."""
    from alexnet.data.pack.prepare import check_root  # numba, which finished runs do not wait for

    check_environment()
    for job in jobs:
        check_root(job.config.data)


def saw_other_images(finished: Sequence[tuple[Job, Result]]) -> list[Job]:
    """Return those of some finished runs whose `data.root` holds other images now, as far as can be told."""
    asked: dict[tuple[str, str], bool] = {}
    found: list[Job] = []
    for job, result in finished:
        data, fingerprint = job.config.data, result.data.fingerprint
        if data.root is None:
            continue
        if (key := (repr(data), fingerprint)) not in asked:
            from alexnet.data.pack.prepare import holds_other_images  # numba, which others do not wait for

            asked[key] = holds_other_images(data, job.config.scale.image_size, fingerprint)
        if asked[key]:
            found.append(job)
    return found


def print_notes(jobs: Sequence[Job], console: Console) -> None:
    """Say once each which drops of the learning rate training does not reach, and which images have a wrong name."""
    for line in dict.fromkeys(note for job in jobs for note in (unreached_milestones(job), misnamed_images(job))):
        if line:
            console.print(line, style="yellow")


def max_parallel_jobs(hydra: Any) -> int | None:
    """Return how many jobs run side by side on this machine, by Hydra's settings; None where the launcher decides."""
    launcher = str(hydra.runtime.choices["hydra/launcher"])
    if launcher == "basic":
        return 1
    if launcher != "joblib":
        return None
    jobs = int(hydra.launcher.n_jobs)
    return jobs if jobs > 0 else max(1, available_cpus() + 1 + jobs)  # as joblib counts: -1 are all, -2 all but one


def start_all(start: Start, runs: Sequence[PlannedRun]) -> None:
    """Do all runs in worker processes, also when one dies and its launcher gives up the others.

    Those not begun are started again together, those that were under way one by one: one of them may be the culprit.
    """
    try:
        start(runs)
    except Exception as error:
        begun = [run for run in runs if run.outcome is not None]
        if not begun:
            raise
        print_line(f"error: a worker process died: {first_line(error)}", file=sys.stderr)
        for run in begun:  # submitit's other jobs go on, and it no longer waits for them
            with suppress(UserError), exclusive(run.directory / LOCK_FILE, str(run), wait=lambda _: None):
                pass
        suspects = [run for run in begun if not run.is_settled]
        if waiting := [run for run in runs if run.outcome is None]:
            start_all(start, waiting)
        for run in suspects:
            try:
                start([run])
            except Exception as again:
                print_line(f"error: {run}: its process died: {first_line(again)}", file=sys.stderr)


def _source_digest(hydra: Any) -> str:
    """Hash the package's code, its choices, and those in the user's own folders."""
    own = sorted(Path(one.path) for one in hydra.runtime.config_sources if one.schema == "file")
    digest = sha256()
    for folder in dict.fromkeys((PACKAGE, CONF, ABLATIONS, *own)):
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.yaml")]):
            digest.update(f"{file} ".encode() + sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def note_source(hydra: Any) -> None:
    """Note the code and choices for the jobs that are about to be queued."""
    os.environ[QUEUED_SOURCE] = _source_digest(hydra)


def check_source(hydra: Any) -> None:
    """Refuse a queued job whose code or choices have changed since; a `UserError`."""
    noted = os.environ.get(QUEUED_SOURCE)
    if noted is not None and noted != _source_digest(hydra):
        raise UserError("the code or the choices in conf/ changed after this job was queued; repeat the command")


def objective(result: Result) -> float:
    """Return the top-1 error in percent that a search is to minimize: of validation images, where there are any."""
    rates = result.errors["val" if "val" in result.errors else "test"]
    return 100 * rates["ten_crop"].top1
