"""One run: its directory, its lock and its result file."""

import io
import platform
import shutil
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from lightning.pytorch.loggers import Logger
from omegaconf import OmegaConf
from rich.console import Console

from alexnet import __version__
from alexnet.config.identity import NUMERICS, ablation_name
from alexnet.config.job import Job
from alexnet.data.pack.pack import Pack
from alexnet.errors import UserError, first_line
from alexnet.files import exclusive, replace_file
from alexnet.net.plan import layer_specs
from alexnet.net.specs import Parametric, total_parameters
from alexnet.runs.directory import COMPUTED, COMPUTED_FOLDERS, CONFIG_FILE, LOCK_FILE, RESULT_FILE, STACKS_FILE
from alexnet.runs.result import UNFINISHED_MESSAGE, DataFacts, GitState, Result, finished_run, read_result
from alexnet.runs.study_plan import Plan, read_plan
from alexnet.runs.summary import result_table, show_again
from alexnet.terminal import busy, fitted
from alexnet.trained.weights import pretrained_facts
from alexnet.training import tracking
from alexnet.training.checkpoints import discard_unfinished, refuse_links
from alexnet.training.distributed import DistributedContext, detect, requested_world_size, run_in_ranks
from alexnet.training.fit import headline, notes_on_images, preflight, train_and_test
from alexnet.training.hardware import precision, rounding_facts
from alexnet.training.preemption import keyboard_interrupt_kept
from alexnet.training.provenance import environment, git_state, write_provenance

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchmetrics", "wandb", "numpy")
TRIED_OUT = "trainer.fast_dev_run: training, validation and testing ran; nothing is kept"


def run(job: Job, directory: Path, *, console: Console, at_once: int = 1) -> Result:
    """Train and evaluate one job in its run directory, continuing where an earlier attempt stopped.

    A run that is finished, by another process in the meantime, say, is not repeated: its result is shown again, unless
    `restart` is set. `at_once` is the number of runs that share this machine's cores. UserError: the data cannot be
    used, training diverged, or another process or run uses the directory.
    """
    world = replace(detect(job.config), runs=at_once)
    if not world.is_rank_zero:
        return _run(job, directory, preflight(job), world, Console(file=io.StringIO()))
    pack = preflight(job)
    if job.config.trainer.fast_dev_run:
        return _tried_out(job, pack, world, console)
    directory.mkdir(parents=True, exist_ok=True)
    with exclusive(directory / LOCK_FILE, str(directory)):
        if (done := finished_run(directory, job.name, job.identity, restart=job.config.starts_over)) is not None:
            return show_again(done, directory, precision=job.config.hardware.precision, console=console)
        if job.config.restart:
            _discard(directory)
        refuse_links(directory)
        discard_unfinished(directory)
        if world.size > 1 or (processes := requested_world_size(job.config)) == 1:
            return _run(job, directory, pack, world, console)
        result = _initial_result(job, directory, pack, git_state()[0])
        result.write(directory)
        try:
            run_in_ranks(partial(_run_rank, job, directory, world.runs), directory, processes, console=console)
        except BaseException as error:  # the first process may not have lived to say so, or not know the cause
            _aborted(result, error).write(directory)
            raise
        return read_result(directory)


def _initial_result(job: Job, directory: Path, pack: Pack, git: GitState | None) -> Result:
    """Return the result of a run that has only begun: what its file says if the process is killed."""
    config = job.config
    layers = layer_specs(config, len(pack.class_names))
    return Result(
        status="interrupted",
        message=UNFINISHED_MESSAGE,
        run=directory.name,
        ablation=ablation_name(job.tree),
        recipe=config.recipe,
        experiment=config.experiment,
        seed=config.seed,
        pairing_key=job.pairing_key,
        changes=job.changes,
        claims=config.ablations,
        target=config.target,
        data=DataFacts(
            name=config.data.name,
            fingerprint=pack.fingerprint,
            classes=len(pack.class_names),
            images={name: len(split) for name, split in pack.splits.items()},
        ),
        errors={},
        training=None,
        parameters=total_parameters(layers),
        versions={"python": platform.python_version(), "alexnet": __version__}
        | {name: version(name) for name in PACKAGES},
        device="",
        git=git,
        environment=environment() | rounding_facts(config.hardware),
        command=job.command,
        pretrained=pretrained_facts(config, [layer.name for layer in layers if isinstance(layer, Parametric)]),
        precision=precision(config.hardware),
        plan=_plan(job, directory),
        numerics=NUMERICS,
        lr=config.optimizer.lr,
        identity=job.identity,
    )


def _plan(job: Job, directory: Path) -> Plan | None:
    """Return the plan that a run belongs to; one that was begun by a plan is its own, whatever command continues it."""
    if file := job.config.study.plan:
        return read_plan(Path(file))
    is_begun = (directory / RESULT_FILE).is_file() and not job.config.restart
    return read_result(directory).plan if is_begun else None


def _tried_out(job: Job, pack: Pack, world: DistributedContext, console: Console) -> Result:
    """Do some batches of everything, of which nothing is kept; the result says so, and is no finished one."""
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        if world.size > 1 or (processes := requested_world_size(job.config)) == 1:
            _run(job, directory, pack, world, console)
        else:
            run_in_ranks(partial(_run_rank, job, directory, world.runs), directory, processes, console=console)
    console.print(TRIED_OUT)
    return replace(_initial_result(job, directory, pack, git_state()[0]), message=TRIED_OUT)


def _run_rank(job: Job, directory: Path, at_once: int, console: Console) -> None:
    """Do the part of one of the processes that `run` has started; it holds the run directory."""
    _run(job, directory, preflight(job), replace(detect(job.config), runs=at_once), console)


def _run(job: Job, directory: Path, pack: Pack, world: DistributedContext, console: Console) -> Result:
    """Compute the result in every process of a run; the first alone writes."""
    git, patch = git_state()
    result = _initial_result(job, directory, pack, git)
    console.print(headline(result, directory))
    for note in notes_on_images(job, pack):
        console.print(note)
    if not world.is_rank_zero or job.config.trainer.fast_dev_run:
        return train_and_test(job, directory, pack, world, result, loggers=[], console=console)
    replace_file(directory / CONFIG_FILE, OmegaConf.to_yaml(OmegaConf.create(job.tree)).encode())
    result.write(directory)
    loggers: list[Logger] = []
    try:
        write_provenance(directory, patch)
        with busy("opening the loggers", console):
            loggers = tracking.start(job, directory, console)
        with keyboard_interrupt_kept():
            result = train_and_test(job, directory, pack, world, result, loggers=loggers, console=console)
    except BaseException as error:  # also Ctrl-C, and signals, which end in a SystemExit
        result = _aborted(result, error)
        raise
    finally:
        result.write(directory)
        tracking.finish(loggers, result, directory, console, artifacts=job.config.logger.wandb.artifacts)
    console.print(fitted(result_table(result), console))
    return result


def _aborted(result: Result, error: BaseException) -> Result:
    if isinstance(error, Exception):
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        return replace(result, status="failed", message=f"{kind}{first_line(error)}")
    signal = "a signal, such as Ctrl-C of its study or a scheduler's at the time limit"
    by = "Ctrl-C" if isinstance(error, KeyboardInterrupt) else signal
    return replace(result, status="interrupted", message=f"interrupted by {by}")


def _discard(directory: Path) -> None:
    """Remove what an earlier attempt computed, so that none of it can be taken for this one's."""
    for folder in (directory / name for name in COMPUTED_FOLDERS):
        if folder.is_symlink():
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
    for file in (*(directory / name for name in COMPUTED), *directory.glob(f"*.{STACKS_FILE}")):
        file.unlink(missing_ok=True)
