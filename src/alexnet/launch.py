"""Between the command line and a run: check everything first, let Hydra start the jobs, compare them at the end.

Torch and Lightning are imported only once the command line has passed: a slip is answered at once.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from alexnet.config.command_line import expand
from alexnet.config.compose import one_line, register
from alexnet.config.job import Job, check, run_name
from alexnet.errors import UserError, exit_with, one_line_errors
from alexnet.results import RESULT_FILE
from alexnet.study.report import report

TERMINATED = 143
"""Exit code of a process that obeyed SIGTERM (128 + 15); Lightning 2.6 would leave with 0, which reads as success."""


def main(hydra_main: Callable[[], None]) -> None:
    """Run the command line of this process: one job, or a sweep that ends with its comparison table."""
    with one_line_errors(), _lightning_and_hydra_errors():
        arguments = get_args_parser().parse_args()
        register()
        if arguments.help or arguments.hydra_help or arguments.shell_completion:
            hydra_main()
            return
        jobs = _checked_jobs(arguments)
        if arguments.cfg or arguments.info:
            hydra_main()
        elif arguments.multirun:
            _sweep(jobs, hydra_main)
        else:
            _preflight(jobs)
            hydra_main()


def _checked_jobs(arguments: Namespace) -> list[Job]:
    return [check(overrides) for overrides in expand(arguments.overrides, sweep=arguments.multirun)]


def _sweep(jobs: list[Job], hydra_main: Callable[[], None]) -> None:
    """Run all jobs, then compare those that have a result, whatever became of the others."""
    console = Console()
    directories = list(dict.fromkeys(Path(job.config.runs) / run_name(job.tree) for job in jobs))
    _announce(jobs, directories, console)
    _preflight(jobs)
    try:
        hydra_main()
    finally:
        begun = [directory for directory in directories if (directory / RESULT_FILE).is_file()]
        if begun:
            settings = jobs[0].config
            output, wandb = Path(settings.runs), settings.wandb
            report(begun, output=output, split=None, view="ten_crop", console=console, wandb=wandb)


def _preflight(jobs: list[Job]) -> None:
    from alexnet.training.run import preflight

    for job in jobs:
        preflight(job)


def _announce(jobs: list[Job], directories: list[Path], console: Console) -> None:
    begun = sum((directory / RESULT_FILE).is_file() for directory in directories)
    epochs = sum(job.config.schedule.epochs for job in jobs)
    console.print(f"{len(directories)} runs, at most {epochs} epochs; {begun} of them begun or finished before")


def run_job() -> None:
    """The body of one Hydra job.

    In a sweep an error is logged and raised, so that Hydra goes on with the other jobs; a single run just ends.
    """
    from alexnet.training.run import run

    hydra = HydraConfig.get()
    console = Console()
    job = check(list(hydra.overrides.task))
    try:
        run(job, Path(hydra.runtime.output_dir), console=console)
    except KeyboardInterrupt:
        print("interrupted: give the command again to continue", file=sys.stderr)
        raise
    except UserError as error:
        if hydra.mode is RunMode.MULTIRUN:
            print(f"error: {job.command}: {error}", file=sys.stderr)
            raise
        exit_with(error)


@contextmanager
def _lightning_and_hydra_errors() -> Iterator[None]:
    """Exceptions of the two frameworks as ours: one line for users, honest exit codes for schedulers."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra must hand its exceptions on instead of printing them
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        raise UserError(one_line(error)) from error
    except SystemExit as stop:
        if type(stop).__name__ == "SIGTERMException":  # Lightning's, which may not be imported yet
            sys.exit(TERMINATED)
        raise
