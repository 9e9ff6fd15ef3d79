"""`python train.py`, and `alexnet train` from any folder: one run, or a study of many; and `train` for Python."""

import io
import logging
import os
import shlex
import sys
import textwrap
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from alexnet.config.compose import ABLATIONS, CONF, VERSION_BASE, register
from alexnet.config.job import Job, WeightsDigest, check, check_composed
from alexnet.config.overrides import explain, named
from alexnet.errors import UserError, as_started, first_line, one_line_errors, print_line, refuse_unknown_options
from alexnet.files import from_here, unlinked
from alexnet.processes import Preempted, is_started_again
from alexnet.runs.collect import Run, load_run
from alexnet.runs.directory import TERMINAL_LOG, last_checkpoint, weights_file
from alexnet.runs.result import BASELINE, Result, finished_run
from alexnet.runs.study_plan import read_plan
from alexnet.runs.summary import show_again
from alexnet.sweep.planned_study import check_in_plan
from alexnet.sweep.study import (
    check_source,
    max_parallel_jobs,
    objective,
    print_notes,
    refuse_at_once,
    saw_other_images,
)
from alexnet.terminal import IMPORTING, Terminal, busy, lasting_output

HELP = """\
python train.py [-m] [--config-dir DIR] [GROUP=CHOICE] [KEY=VALUE] [+ablation=X]
Train AlexNet, whole or without some ingredients.
  python train.py                                    the demo, on two cores
  python train.py +ablation=no_lrn                   without one ingredient
  python train.py -m '+ablation=glob(*)' seed=0,1,2  a study, then compared
  python train.py experiment=study_small             a study from one file
  python train.py study.plan=plan.yaml               a planned study's next look
  python train.py optimizer.lr=0.02 schedule.epochs=9   single values
  python train.py --cfg job                          the values; --hydra-help

Groups and choices (conf/, ablations/; in subfolders too: ablation=source/init):
"""
PLAN = "study.plan="
LOG_WIDTH, SCREEN_WIDTH = 100, 80
MODES = ("-m", "--multirun", "-r", "--run", "-c", "--cfg", "-i", "--info", "-sc", "--shell-completion", "--hydra-help")
"""Hydra's options that say themselves what is to be done."""
OTHER_OPTIONS = (
    "--config-dir", "--config-name", "--config-path", "--experimental-rerun", "--package", "--resolve", "--version",
)  # fmt: skip
"""The rest of Hydra's."""
WITH_PATH = ("-cd", "--config-dir", "-cp", "--config-path", "--experimental-rerun")
"""Those of them that a path follows, which may have a = in it."""
WITH_VALUE = (*WITH_PATH, "-c", "--cfg", "-cn", "--config-name", "-p", "--package")
TERMINATED = 143
"""Exit code of a process that obeyed SIGTERM (128 + 15); Lightning 2.6 would leave with 0, which reads as success."""


def train(*overrides: str) -> Run:
    """Train and evaluate one network, or return the run if it is finished; an interrupted one is resumed.

    `overrides` are those of the command line: `train("+ablation=no_lrn", "seed=1", "data.root=/packs/mine")`. The run
    directory is the command's, in `runs/` below the current folder. UserError: a refusal, or training diverged.
    """
    from alexnet.trained.weights import weights_digest

    job = check(list(overrides), weights_digest=weights_digest)
    directory = Path(job.config.runs) / job.name
    do(job, directory, Terminal())
    return load_run(directory)


@hydra.main(version_base=VERSION_BASE, config_path=str(CONF), config_name="config")
def _hydra_job(config: DictConfig) -> float | None:
    return run_job(config)  # by its name, so that worker processes import this module


def main(arguments: list[str] | None = None) -> None:
    """Run a command line, by default this process's: one job, or a study that ends with its comparison."""
    if arguments is not None:  # Hydra reads sys.argv, and COMP_LINE to complete words
        sys.argv = [sys.argv[0], *arguments]
        os.environ.update({k: v.replace(" train ", " ", 1) for k, v in os.environ.items() if k == "COMP_LINE"})
    os.environ["MPLBACKEND"] = "agg"  # no window is opened, and matplotlib refuses a backend that it lacks
    with one_line_errors():
        if {"--help", "-h"} & set(sys.argv[1:]):
            print(_help())
            return
        refuse_unknown_options(sys.argv[1:], (*MODES, *OTHER_OPTIONS, *WITH_VALUE))
        wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra must hand its exceptions on instead of printing them
        sys.argv = [sys.argv[0], *_overrides_first(_with_plan(sys.argv[1:]))]
        if (last := sys.argv[-1]) in WITH_VALUE:
            raise UserError(f"{last}: a value is needed after it")
        try:
            register()
            with lasting_output():
                _hydra_job()
        except SystemExit as stop:
            if type(stop).__name__ == "SIGTERMException":  # Lightning's, which may not be imported yet
                sys.exit(TERMINATED)
            raise
        except Exception as error:
            if wants_traceback or (text := explain(error, sys.argv[1:])) is None:
                raise
            raise UserError(text) from error


def _overrides_first(words: list[str]) -> list[str]:
    """Put all overrides before the options: Hydra's parser takes them in one place alone."""

    def is_other(pair: tuple[str, str]) -> bool:
        before, word = pair
        return "=" not in word or word[0] == "-" or before in WITH_PATH

    return [word for _, word in sorted(pairwise(["", *words]), key=is_other)]


def _with_plan(arguments: list[str]) -> list[str]:
    """Return the arguments with what a plan says of every run; with `study.plan` alone, those of a study."""
    files = [one.partition("=")[2] for one in arguments if one.startswith(PLAN)]
    if not files or not files[-1] or files[-1] == "null":
        return arguments
    plan = read_plan(Path(files[-1]))
    is_next_look = not {named(one) for one in arguments} & {"seed", "ablation", *MODES}
    shared = [one for one in plan.overrides if one not in arguments]
    return [*(["--multirun"] if is_next_look else []), *shared, *arguments]


def _help() -> str:
    """Return what fits on one screen; Hydra's own help would take five seconds to list all groups."""
    folders = sorted(folder for folder in [*CONF.iterdir(), ABLATIONS] if folder.is_dir())
    groups = {folder.name.removesuffix("s") if folder is ABLATIONS else folder.name: folder for folder in folders}
    choices = {name: sorted(file.stem for file in place.glob("*.yaml")) for name, place in groups.items()}
    lines = [f"{name}: {', '.join(names)}" for name, names in choices.items() if len(names) > 1]
    return as_started(HELP) + "\n".join(textwrap.fill(line, SCREEN_WIDTH, subsequent_indent="    ") for line in lines)


def checked(config: DictConfig, of_hydra: HydraConf) -> Job:
    """Check a composed job, whose pre-trained weights count by their content.

    `restart=true` is for the first start of a command: a scheduler that starts it again would never see its end.
    """
    digest: WeightsDigest = str
    if checkpoint := OmegaConf.select(config, "pretrained.checkpoint"):
        weights_file(Path(str(checkpoint)).expanduser())  # or a UserError
        from alexnet.trained.weights import weights_digest as digest  # torch, which other runs do not wait for
    job = check_composed(config, of_hydra, weights_digest=digest)
    return replace(job, config=replace(job.config, restart=False)) if is_started_again() else job


# `${run_name:}` in `conf/config.yaml`: a job without a name, since it is not valid, gets no directory.
OmegaConf.register_new_resolver("run_name", lambda *, _root_: checked(_root_, _root_.hydra).name, replace=True)


class LoggedConsole(Terminal):
    """A console whose words go into the run's log as well, so that they are there when the window is closed."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        plain = Terminal(file=io.StringIO(), width=LOG_WIDTH)
        plain.print(*objects, **options)
        if text := plain.file.getvalue().strip():  # type: ignore[attr-defined]
            logging.getLogger(__name__).info(text)


def run_job(config: DictConfig, at_once: int = 1) -> float | None:
    """Do the body of one Hydra job, and return the error that a search is to minimize.

    In a study an error is shown and raised, so that the other jobs are done; a single run just ends. `at_once` is how
    many jobs of the study share this machine, if no launcher says so.
    """
    of_hydra = HydraConfig.get()
    directory = Path(of_hydra.runtime.output_dir)
    job = checked(config, of_hydra)
    if config.restart and not job.config.restart:
        print_line("note: a scheduler has started this command again: restart=true is left out", file=sys.stderr)
    at_once = max(at_once, max_parallel_jobs(of_hydra) or 1)
    refused, in_study = False, of_hydra.mode is RunMode.MULTIRUN
    try:
        if of_hydra.runtime.choices["hydra/launcher"] != "basic":
            check_source(of_hydra)
        if at_once == 1 and of_hydra.runtime.choices["hydra/launcher"] != "joblib":
            # Of several processes, the first alone speaks.
            console = LoggedConsole(quiet=os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) != "0")
            try:
                result = do(job, directory, console, at_once=at_once, in_study=in_study)
            except (KeyboardInterrupt, Preempted):
                if not console.quiet:
                    print(_interrupted(job, directory), file=sys.stderr)
                raise
            if result.status != "finished":  # a trial
                refused = True
                return None
            if not in_study:
                _say_what_next(result, directory, console)
            return objective(result)
        # Many would speak at the same time.
        with open(directory / TERMINAL_LOG, "a", encoding="utf-8", opener=unlinked) as file:
            return objective(do(job, directory, Terminal(file=file, width=120), at_once=at_once, in_study=in_study))
    except Exception as error:
        expected = refused = isinstance(error, UserError)
        if in_study:
            if not expected:
                logging.getLogger(__name__).exception(job.command)  # into the run's log file
            text = str(error) if expected else f"{type(error).__name__}: {first_line(error)}"
            print_line(f"error: {as_started(job.command)}: {text}", file=sys.stderr)
        with nullcontext() if in_study else one_line_errors():  # here, before Hydra puts a line above it
            raise
    finally:
        log = directory / f"{of_hydra.job.name}.log"
        with suppress(OSError):  # Hydra makes the directory also of a run that does not begin
            if set(directory.iterdir()) <= {log} and (refused or not log.exists()):
                log.unlink(missing_ok=True)
                directory.rmdir()
                directory.parent.rmdir()  # if it is empty


def _say_what_next(result: Result, directory: Path, console: Console) -> None:
    """Print where the result lies and what to do with it."""
    console.print(f"saved in {from_here(directory)}")
    is_baseline = result.ablation == BASELINE
    if is_baseline:
        console.print("next, the same without an ingredient, to be compared with it:")
        again = shlex.join(one for one in shlex.split(result.command) if named(one) not in ("restart", "ablation"))
        console.print(f"  {as_started(again)} +ablation=no_lrn", soft_wrap=True)
    console.print("then the comparison:" if is_baseline else "next, the comparison:")
    console.print(f"  alexnet report {shlex.quote(from_here(directory.parent))}", soft_wrap=True)


def _interrupted(job: Job, directory: Path) -> str:
    """Say what is saved of a run that Ctrl-C or another signal has stopped, and how to continue."""
    begun = last_checkpoint(directory).is_file()
    kept = "is saved up to its last step" if begun else "has no checkpoint yet and will start over"
    again = f"to resume, repeat the command:\n  {as_started(job.command)}"
    return f"interrupted: {from_here(directory)} {kept}; {again}"


def do(job: Job, directory: Path, console: Console, *, at_once: int = 1, in_study: bool = False) -> Result:
    """Train, or show a finished run again, for which torch is not imported."""
    if (done := finished_run(directory, job.name, job.identity, restart=job.config.starts_over)) is not None:
        if saw_other_images([(job, done)]):
            what = f"note: it saw other images than data.root={job.config.data.root} holds now"
            console.print(f"{what}: restart=true runs it again on those")
        return show_again(done, directory, precision=job.config.hardware.precision, console=console)
    if not in_study:
        check_in_plan(job)
        console.print(f"{job.name}: {IMPORTING}")
        print_notes([job], console)
    refuse_at_once([job])
    with nullcontext() if in_study else busy(IMPORTING, console):
        from alexnet.sweep.workers import stay_on_one_gpu
        from alexnet.training.distributed import requested_world_size
        from alexnet.training.run import run
    if at_once > 1 and requested_world_size(job.config) == 1:
        stay_on_one_gpu(directory.parent)
    return run(job, directory, console=console, at_once=at_once)
