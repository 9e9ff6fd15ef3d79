"""Hydra's launchers, given exactly the jobs that are to be done.

Hydra's own sweeper cannot leave out a job of a grid, so it is not used: the list of jobs goes to the launcher.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import cpu_count
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction

from alexnet.config.compose import CONF
from alexnet.errors import first_line
from alexnet.sweep.planned import PlannedRun


@dataclass(frozen=True, kw_only=True)
class Launching:
    """How the jobs of a sweep are started."""

    name: str
    """The choice of `hydra/launcher`."""
    max_parallel_jobs: int | None
    """Jobs that run side by side on this machine; None where the launcher decides, here or elsewhere."""
    start: Callable[[TaskFunction, Sequence[PlannedRun]], None]
    """Runs them with a task function and returns when all have ended; an error means that a worker process died."""

    @property
    def in_this_process(self) -> bool:
        """Whether jobs run here, one after another."""
        return self.name == "basic"


@contextmanager
def launching(to_hydra: list[str], first_job: Sequence[str]) -> Iterator[Launching]:
    """Compose Hydra's own settings and the launcher they choose; `first_job` gives what they refer to, as `runs`."""
    search_path = create_automatic_config_search_path(None, None, str(CONF))
    hydra = Hydra.create_main_hydra2(task_name="train", config_search_path=search_path)
    try:
        overrides = [*to_hydra, "hydra.mode=MULTIRUN", *first_job]
        config = hydra.compose_config("config", overrides, run_mode=RunMode.MULTIRUN, with_log_configuration=True)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
        context.callbacks.on_multirun_start(config=config, config_name="config")

        def start(task: TaskFunction, runs: Sequence[PlannedRun]) -> None:
            plugin = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
            _launch(plugin, [list(run.overrides) for run in runs])

        yield Launching(
            name=str(config.hydra.runtime.choices["hydra/launcher"]),
            max_parallel_jobs=max_parallel_jobs(config.hydra),
            start=start,
        )
        context.callbacks.on_multirun_end(config=config, config_name="config")
    finally:
        GlobalHydra.instance().clear()


def max_parallel_jobs(hydra: Any) -> int | None:
    """How many jobs run side by side on this machine, by Hydra's own settings; None where the launcher decides."""
    launcher = str(hydra.runtime.choices["hydra/launcher"])
    if launcher == "basic":
        return 1
    if launcher != "joblib":
        return None
    jobs = int(hydra.launcher.n_jobs)
    return jobs if jobs > 0 else max(1, (cpu_count() or 1) + 1 + jobs)  # joblib counts down from all cores: -1, -2


def _launch(plugin: Launcher, jobs: list[list[str]]) -> None:
    if "submitit" in type(plugin).__module__:
        with _all_awaited():
            plugin.launch(jobs, initial_job_idx=0)
    else:
        plugin.launch(jobs, initial_job_idx=0)


@contextmanager
def _all_awaited() -> Iterator[None]:
    """Let the submitit launcher wait for all of its jobs: by itself it gives up on the others when one has died."""
    import submitit

    original = submitit.AutoExecutor

    class AwaitingExecutor(submitit.AutoExecutor):
        def map_array(self, *arguments: Any) -> list[Any]:
            return [_Awaited(job) for job in super().map_array(*arguments)]

    vars(submitit)["AutoExecutor"] = AwaitingExecutor
    try:
        yield
    finally:
        vars(submitit)["AutoExecutor"] = original


class _Awaited:
    """A submitit job whose death is a result."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def results(self) -> list[Any]:
        try:
            results: list[Any] = self.job.results()
        except Exception as error:
            print(f"error: job {self.job.job_id} died: {first_line(error)}", file=sys.stderr)
            return [error]
        return results


def start_all(launching: Launching, task: TaskFunction, runs: Sequence[PlannedRun]) -> None:
    """Run all in worker processes, also when one dies and takes its launcher's other workers with it.

    Those not begun are launched again together, those that were under way singly: one of them may be the culprit.
    """
    waiting, suspects = list(runs), []
    while waiting:
        try:
            launching.start(task, waiting)
            break
        except Exception as error:
            begun = [run for run in waiting if run.outcome is not None]
            if not begun:
                raise
            print(f"error: a worker process died: {first_line(error)}", file=sys.stderr)
            suspects += [run for run in begun if not run.is_settled]
            waiting = [run for run in waiting if run not in begun]
    for run in suspects:
        try:
            launching.start(task, [run])
        except Exception as error:
            print(f"error: {run}: its process died: {first_line(error)}", file=sys.stderr)
