"""One run, from a checked job to a result file."""

import io
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import OmegaConf
from rich.console import Console

from alexnet.config.job import Job
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.sets import open_data
from alexnet.errors import UserError
from alexnet.evaluation.collect import error_rates, first_layer
from alexnet.files import exclusive
from alexnet.net.halves import check_two_devices
from alexnet.net.plan import plan
from alexnet.runs.directory import (
    CHECKPOINTS,
    CONFIG_FILE,
    FIRST_LAYER_FILE,
    LAST,
    LOCK_FILE,
    METRICS_FILE,
    PREDICTIONS_FILE,
    PROBABILITIES_FILE,
    RESULT_FILE,
)
from alexnet.runs.first_layer import FirstLayer, write_first_layer
from alexnet.runs.predictions import ViewPredictions, write_predictions
from alexnet.runs.probabilities import write_probabilities
from alexnet.runs.result import PretrainedFacts, Result, finished_result, read_result
from alexnet.runs.wandb_names import check_login
from alexnet.trained.weights import read_checkpoint
from alexnet.training import tracking
from alexnet.training.callbacks import ScheduledRate, checkpoint_callbacks
from alexnet.training.datamodule import PackDataModule
from alexnet.training.display import display_callback, result_table
from alexnet.training.environment import device_name
from alexnet.training.hardware import (
    check_decoder,
    check_hardware,
    compile_if_wanted,
    configure_process,
    trainer_options,
)
from alexnet.training.history import History
from alexnet.training.module import AlexNetModule
from alexnet.training.outcome import begun, stopped, training_facts
from alexnet.training.preemption import Preemption
from alexnet.training.pretrained import check_fits, open_pretrained, start_from
from alexnet.training.ranks import run_in_ranks
from alexnet.training.world import DistributedContext, all_gather_objects, check_gpus, requested_world_size, this_world


def preflight(job: Job, *, pack: Pack | None = None) -> Pack:
    """Everything that can be refused before a run directory exists: the data, the network, the W&B login.

    `pack` is the job's data where they are open already. Prepares them on first use.

    Raises:
        UserError: the data cannot be used, the network does not fit the images, the pre-trained weights or two
            devices, there is no such device, decoder or allocator, or nobody is logged in.
    """
    if job.config.devices.per_replica > 1:
        check_two_devices(job.config)
    this_world(job.config)
    check_gpus(job.config)
    check_hardware(job.config.hardware)
    check_decoder(job.config)
    check_login(job.config.wandb.mode)
    if pack is None:
        pack = open_data(job.config.data, job.config.scale.image_size)
    if job.config.schedule.kind == "plateau" and "val" not in pack.splits:
        raise UserError(f"schedule=plateau judges validation images, and {pack.path} has none: use schedule=log_2012")
    if job.config.data.decoder == "nvjpeg" and pack.encoding != "jpeg":
        raise UserError(
            f"data.decoder=nvjpeg: the images of {pack.path} are raw, with nothing to decode; choose cpu, or"
            " a pack prepared with --encoding jpeg"
        )
    classes = len(pack.class_names)
    plan(job.config, classes)
    if (pretrained := open_pretrained(job.config.pretrained)) is not None:
        check_fits(job.config, classes, pretrained)
    return pack


def run(job: Job, directory: Path, *, console: Console, at_once: int = 1) -> Result:
    """Train and evaluate one job in its run directory, continuing where an earlier attempt stopped.

    A finished run is not repeated: its result is read and shown again, unless `restart` is set. `at_once` is the number
    of runs at work on this machine, which share its cores.

    Raises:
        UserError: the data cannot be used, training diverged, or another process is at work in the directory.
    """
    world = replace(this_world(job.config), runs=at_once)
    if not world.is_first:
        return _run(job, directory, preflight(job), world, Console(file=io.StringIO()))
    if not job.config.restart and (done := finished_result(directory)) is not None:
        return _shown_again(done, job, directory, console)
    pack = preflight(job)
    directory.mkdir(parents=True, exist_ok=True)
    with exclusive(directory / LOCK_FILE, str(directory)):
        if job.config.restart:
            _discard(directory)
        elif (done := finished_result(directory)) is not None:  # by another process, since we looked
            return _shown_again(done, job, directory, console)
        if world.size == 1 and (processes := requested_world_size(job.config)) > 1:
            return _run_in_ranks(job, directory, pack, processes, console, at_once)
        return _run(job, directory, pack, world, console)


def run_rank(job: Job, directory: Path, *, console: Console, at_once: int) -> None:
    """The part of one process in a run that `run` has started with several, and has the run directory for."""
    _run(job, directory, preflight(job), replace(this_world(job.config), runs=at_once), console)


def _run_in_ranks(job: Job, directory: Path, pack: Pack, processes: int, console: Console, at_once: int) -> Result:
    result = begun(job, directory, pack)
    result.write(directory)
    try:
        run_in_ranks(job, directory, processes, console=console, at_once=at_once)
    except BaseException as error:  # the first process may not have lived to say so, or know only that another is gone
        stopped(result, error).write(directory)
        raise
    return read_result(directory)


def _run(job: Job, directory: Path, pack: Pack, world: DistributedContext, console: Console) -> Result:
    """Every process of a run computes its result; the first alone writes."""
    result = begun(job, directory, pack)
    if not world.is_first:
        return _train_and_test(job, directory, pack, world, result, None, console)
    OmegaConf.save(OmegaConf.create(job.tree), directory / CONFIG_FILE)
    result.write(directory)
    logger = tracking.start(job, directory)
    try:
        with _ctrl_c_kept():
            result = _train_and_test(job, directory, pack, world, result, logger, console)
    except BaseException as error:  # also Ctrl-C, and signals, which end in a SystemExit
        result = stopped(result, error)
        raise
    finally:
        result.write(directory)
        tracking.finish(logger, result)
    console.print(result_table(result))
    return result


def _shown_again(result: Result, job: Job, directory: Path, console: Console) -> Result:
    wanted = job.config.hardware.precision
    other = f" at precision {result.precision}, not {wanted}" if result.has_other_precision(wanted) else ""
    console.print(
        f"already finished in {directory}{other} (restart=true runs it again)", highlight=False, soft_wrap=True
    )
    console.print(result_table(result))
    return result


def _discard(directory: Path) -> None:
    """Remove what an earlier attempt computed, so that nothing of it can be mistaken for this one's."""
    for folder in (CHECKPOINTS, "wandb"):
        shutil.rmtree(directory / folder, ignore_errors=True)
    for file in (RESULT_FILE, PREDICTIONS_FILE, PROBABILITIES_FILE, FIRST_LAYER_FILE, METRICS_FILE):
        (directory / file).unlink(missing_ok=True)


@contextmanager
def _ctrl_c_kept() -> Iterator[None]:
    """Ctrl-C as what it is: Lightning turns it into an exit with code 1, which reads as a failure."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def _train_and_test(
    job: Job,
    directory: Path,
    pack: Pack,
    world: DistributedContext,
    result: Result,
    logger: WandbLogger | None,
    console: Console,
) -> Result:
    silence_lightning()
    configure_process(job.config.hardware, world)
    data = PackDataModule(pack, job.config, world.replica, processes=world.neighbours)
    module = AlexNetModule(job.config, job.tree, pack, world.replica)
    if (pretrained := open_pretrained(job.config.pretrained)) is not None:
        start_from(module.net, pretrained, job.config.pretrained.reinit)
    if world.devices > 1:
        module.keep_half(world.column)
    compile_if_wanted(module.net, job.config.hardware)
    history = History(directory)
    trainer = _trainer(job, directory, world, history, [logger] if logger else [], console)
    result = replace(result, device=device_name(trainer.strategy.root_device, processes=world.size))
    console.print(_headline(result, directory), highlight=False, soft_wrap=True)
    trainer.fit(module, data, ckpt_path=None if job.config.restart else _checkpoint(directory, pack))
    result = replace(result, training=training_facts(history, len(pack.splits["train"])))
    trainer.test(module, data, verbose=False)
    module.predictions.merge(all_gather_objects(module.predictions))
    predictions = module.predictions.collect(data.evaluated)
    kernels = first_layer(module.net)
    if world.is_first:
        _write_files(directory, predictions, kernels, module, data)
    return replace(result, status="finished", message=None, errors=error_rates(predictions))


def _write_files(
    directory: Path,
    predictions: dict[str, dict[str, ViewPredictions]],
    kernels: FirstLayer,
    module: AlexNetModule,
    data: PackDataModule,
) -> None:
    """What the network says about every image, and its first kernels."""
    write_predictions(directory, predictions)
    if module.predictions.keep_probabilities:
        write_probabilities(
            directory,
            module.predictions.collect_probabilities(data.evaluated),
            net=directory.name,
            fingerprint=data.pack.fingerprint,
            class_names=data.pack.class_names,
        )
    write_first_layer(directory, kernels)


def _trainer(
    job: Job,
    directory: Path,
    world: DistributedContext,
    history: History,
    loggers: list[Logger],
    console: Console,
) -> L.Trainer:
    hardware = job.config.hardware
    return L.Trainer(
        **trainer_options(hardware, world),
        max_epochs=job.config.schedule.epochs,
        default_root_dir=directory,
        logger=loggers,
        callbacks=[
            history,
            ScheduledRate(job.config, history),
            display_callback(console, history, live=hardware.progress_bar),
            Preemption(directory),
            *checkpoint_callbacks(directory, history),
        ],
        enable_progress_bar=hardware.progress_bar and console.is_terminal,
        enable_model_summary=False,
        use_distributed_sampler=False,  # every process plans and loads its own part of the batches
        reload_dataloaders_every_n_epochs=1,  # every epoch has a plan of its own
        num_sanity_val_steps=0,  # would count validation images before the first epoch
    )


def _checkpoint(directory: Path, pack: Pack) -> Path | None:
    """The checkpoint to continue from, if there is one.

    Raises:
        UserError: it is damaged, or was trained on other images.
    """
    path = directory / CHECKPOINTS / f"{LAST}.ckpt"
    if not path.is_file():
        return None
    try:
        fingerprint = read_checkpoint(path)["alexnet"]["data_fingerprint"]
    except UserError as error:
        raise UserError(f"{error}: start over with restart=true") from error
    if fingerprint != pack.fingerprint:
        raise UserError(f"{path} was trained on other images than {pack.path} now holds: start over with restart=true")
    return path


def _headline(result: Result, directory: Path) -> str:
    images = ", ".join(f"{count:,} {split}" for split, count in result.data.images.items())
    start = f"from {result.pretrained.run}: {_kept(result.pretrained)}\n" if result.pretrained else ""
    return (
        f"{result.ablation}, seed {result.seed}: {result.parameters:,} parameters, {result.device}\n{start}"
        f"{result.data.name}: {result.data.classes:,} classes, {images} images\n"
        f"-> {directory}"
    )


def _kept(pretrained: PretrainedFacts) -> str:
    """Which layers start from pre-trained weights, in words."""
    parts = {"takes": pretrained.taken, "draws": pretrained.fresh, "leaves": pretrained.left_behind}
    return ", ".join(f"{verb} {' '.join(layers)}" for verb, layers in parts.items() if layers)


def silence_lightning() -> None:
    """Send Lightning's messages to the run's log file instead of between the lines of the display.

    Lightning installs a handler of its own and stops propagation when it is imported.
    """
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Not about us: batches are planned and gathered whole, without worker processes.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")  # curves are per epoch
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* is not empty.*")  # a resumed run's is not
    warnings.filterwarnings("ignore", message=".*Total length of `list` across ranks is zero.*")  # no validation images
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.*")  # its successor is newer than torch 2.11
