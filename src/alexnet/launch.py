"""Between the command line and a run: check everything first, let Hydra start the jobs, compare them at the end.

Torch and Lightning are imported only once the command line has passed: a slip is answered at once.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from alexnet.config.command_line import read_command_line
from alexnet.config.compose import register
from alexnet.config.job import Job, check
from alexnet.errors import UserError, exit_with, first_line, one_line_errors
from alexnet.sweep.launcher import max_parallel_jobs
from alexnet.sweep.machine import stay_on_one_gpu
from alexnet.sweep.run import print_unreached_milestones, run_sweep

SCREEN_FILE = "screen.log"
"""What a run prints that shares the terminal with others."""
FILE_WIDTH = 120
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
        command = read_command_line(arguments.overrides, multirun=arguments.multirun)
        jobs = [check(overrides) for overrides in command.jobs]
        if arguments.cfg or arguments.info:
            hydra_main()
        elif command.sweep:
            _refuse_to_be_one_of_several()
            run_sweep(command, jobs, run_job)
        else:
            _preflight(jobs[0])
            hydra_main()


def _refuse_to_be_one_of_several() -> None:
    from alexnet.training.world import external_launch

    if (world := external_launch()) is not None:
        raise UserError(
            f"a sweep is one process, and {world.size} were started: give the command by itself, with devices=ddp for"
            " runs of several processes each"
        )


def _preflight(job: Job) -> None:
    from alexnet.training.fit import preflight
    from alexnet.training.world import detect

    if detect(job.config).is_rank_zero:
        print_unreached_milestones([job], Console())
    preflight(job)


def run_job(_: DictConfig) -> None:
    """The body of one Hydra job.

    In a sweep an error is shown and raised, so that Hydra goes on with the other jobs; a single run just ends.
    """
    from alexnet.training.run import run
    from alexnet.training.world import requested_world_size

    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    job = check(list(hydra.overrides.task))
    at_once = max_parallel_jobs(hydra) or 1
    if at_once > 1 and requested_world_size(job.config) == 1:
        stay_on_one_gpu(directory.parent)
    try:
        with _console(str(hydra.runtime.choices["hydra/launcher"]), directory) as console:
            run(job, directory, console=console, at_once=at_once)
    except KeyboardInterrupt:
        print("interrupted: give the command again to continue", file=sys.stderr)
        raise
    except Exception as error:
        if hydra.mode is RunMode.MULTIRUN:
            _show_failure(job, error)
            raise
        if isinstance(error, UserError):
            exit_with(error)
        raise


@contextmanager
def _console(launcher: str, directory: Path) -> Iterator[Console]:
    """The terminal; a file of the run where it would be shared with runs that print at the same time."""
    if launcher != "joblib":
        yield Console()
        return
    with (directory / SCREEN_FILE).open("a", encoding="utf-8") as file:
        yield Console(file=file, width=FILE_WIDTH)


def _show_failure(job: Job, error: Exception) -> None:
    if isinstance(error, UserError):
        print(f"error: {job.command}: {error}", file=sys.stderr)
    else:
        logging.getLogger(__name__).exception(job.command)  # into the run's log file
        print(f"error: {job.command}: {type(error).__name__}: {first_line(error)}", file=sys.stderr)


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
        raise UserError(first_line(error)) from error
    except SystemExit as stop:
        if type(stop).__name__ == "SIGTERMException":  # Lightning's, which may not be imported yet
            sys.exit(TERMINATED)
        raise
