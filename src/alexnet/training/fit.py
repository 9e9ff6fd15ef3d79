"""One process of a run: refuse what cannot work, train, then test."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import lightning as L
import numpy as np
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from rich.console import Console

from alexnet.config.job import Job
from alexnet.config.values import limited_images
from alexnet.data.loading import test_splits
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.prepare import open_data
from alexnet.data.threads import cpu_quota
from alexnet.devices import multiplies_bfloat16
from alexnet.errors import UserError
from alexnet.evaluation import error_rates, first_layer
from alexnet.files import from_here
from alexnet.net.halves import check_two_devices
from alexnet.net.plan import layer_specs
from alexnet.runs.arrays import write_first_layer, write_predictions, write_probabilities
from alexnet.runs.directory import PROBABILITIES_FILE, PROFILE, previous_checkpoint
from alexnet.runs.metrics import lr_drops
from alexnet.runs.result import LrDrop, Result, TrainingFacts
from alexnet.runs.study_plan import read_plan
from alexnet.runs.wandb_names import destination
from alexnet.trained.weights import check_fits, open_pretrained, start_from
from alexnet.training import hardware
from alexnet.training.checkpoints import WholeCheckpoints, checkpoint_callbacks, checkpoint_to_resume
from alexnet.training.datamodule import PackDataModule
from alexnet.training.display import RunDisplay
from alexnet.training.distributed import DistributedContext, all_gather_objects, check_gpus, detect
from alexnet.training.energy import EnergyMeter
from alexnet.training.history import History, LrSchedule
from alexnet.training.module import AlexNetModule
from alexnet.training.preemption import Preemption
from alexnet.training.provenance import code_throughout, device_name, environment, throughout
from alexnet.training.watchdog import Watchdog

PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}
EMULATED = (
    "note: this device emulates bfloat16, which is slower than float32; hardware.precision=auto takes it only where"
    " it is computed"
)


def preflight(job: Job, *, pack: Pack | None = None) -> Pack:
    """Refuse, by a UserError, all that can be before a run directory exists: the data, the network, the machine.

    `pack` is the job's data if they are already open. Otherwise they are opened, and prepared on first use.
    """
    config = job.config
    if config.devices.per_replica > 1:
        check_two_devices(config)
    world = detect(config)
    check_gpus(config)
    hardware.check_hardware(config.hardware)
    hardware.check_decoder(config)
    destination(config.logger.wandb)
    if pack is None:
        pack = open_data(config.data, config.scale.image_size, show_progress=world.is_rank_zero)
    if not test_splits(pack):
        raise UserError(
            f"{pack.path} has images to train on alone, and none to count errors on: prepare it with --val-fraction"
            " or --test-fraction"
        )
    if config.schedule.kind == "plateau" and "val" not in pack.splits:
        raise UserError(f"schedule=plateau judges validation images, but {pack.path} has none; use schedule=log_2012")
    if config.data.decoder == "nvjpeg" and pack.encoding != "jpeg":
        raise UserError(
            f"data.decoder=nvjpeg: the images of {pack.path} are raw, with nothing to decode; choose cpu, or"
            " a pack prepared with --encoding jpeg"
        )
    held_out = {"val", "test"} <= pack.splits.keys()
    if config.study.plan and not held_out and read_plan(Path(config.study.plan)).searches(config.seed):
        raise UserError(
            f"the search for rates needs validation images that the study does not report, but {pack.path} has"
            f" {' and '.join(pack.splits)}: prepare it with --test-fraction, or with --split test=FOLDER for the images"
            " to report"
        )
    classes = len(pack.class_names)
    layer_specs(config, classes)
    if (pretrained := open_pretrained(config.pretrained)) is not None:
        check_fits(config, classes, pretrained)
    return pack


def train_and_test(
    job: Job,
    directory: Path,
    pack: Pack,
    world: DistributedContext,
    result: Result,
    *,
    loggers: Sequence[Logger],
    console: Console,
) -> Result:
    """Train the job's network from its last checkpoint, if there is one, and evaluate it; complete its `result`.

    The first process also writes what the network says about every image, and its first layer.
    """
    silence_lightning()
    checkpoint, threads, former = (
        (None, None, None) if job.config.restart else checkpoint_to_resume(job, directory, pack, console)
    )
    hardware.configure_process(job.config.hardware, world, threads=threads)
    data = PackDataModule(pack, job.config, world.replica, processes=world.processes_on_host)
    if result.is_search:
        data.evaluated = ["val"]
    module = AlexNetModule(job.config, job.tree, pack, world.replica)
    module.description |= {"run": job.name, "identity": job.identity}
    if (pretrained := open_pretrained(job.config.pretrained)) is not None:
        start_from(module.net, pretrained, job.config.pretrained.reinit)
    if world.devices > 1:
        module.keep_half(world.column)
    hardware.compile_if_wanted(module.net, job.config.hardware)
    history, meter = History(directory), EnergyMeter(world)
    trainer = _trainer(job, directory, world, history, meter, loggers, console)
    device = device_name(trainer.strategy.root_device, processes=world.size)
    around = result.environment | environment()  # with the threads that this process took
    now = {"device": device, "environment": around, "versions": result.versions, "precision": result.precision}
    facts = throughout(now, former)
    git = code_throughout(result.git, former and former.get("git"))
    module.description["facts"] = {**facts, "git": git and asdict(git)}
    console.print(device)
    if result.precision == "bf16-mixed" and not multiplies_bfloat16(trainer.strategy.root_device):
        console.print(EMULATED)
    result = replace(result, **facts, git=git)
    if (quota := cpu_quota()) < 1:
        console.print(f"note: the quota of this container is {quota:g} of a processor")
    with hardware.one_line_if_out_of_memory(trainer, module):
        trainer.fit(module, data, ckpt_path=checkpoint)
        result = replace(result, training=_training_facts(history, meter))
        trainer.test(module, data, verbose=False)
    module.predictions.merge(all_gather_objects(module.predictions.on_host()))
    predictions = module.predictions.collect(data.evaluated)
    kernels = first_layer(module.net)
    if world.is_rank_zero:
        write_predictions(directory, predictions)
        (directory / PROBABILITIES_FILE).unlink(missing_ok=True)  # of a net in training, by `alexnet evaluate`
        if module.predictions.keep_probabilities:
            origin = {"net": directory.name, "fingerprint": pack.fingerprint}
            write_probabilities(directory, predictions, **origin, class_names=pack.class_names)
        write_first_layer(directory, kernels)
        previous_checkpoint(directory).unlink(missing_ok=True)  # a finished run needs none
    return replace(result, status="finished", message=None, errors=error_rates(predictions))


def _training_facts(history: History, meter: EnergyMeter) -> TrainingFacts:
    records = history.records
    seconds = sum(one.seconds for one in records)
    return TrainingFacts(
        epochs=len(records),
        steps=records[-1].step,
        seconds=seconds,
        images_per_second=sum(one.images_per_second * one.seconds for one in records) / seconds,
        rate_drops=tuple(LrDrop(epoch=first.epoch, rate=first.rate) for first in lr_drops(records)),
        device_hours=meter.device_hours,
        energy=meter.energy,
    )


def _trainer(
    job: Job,
    directory: Path,
    world: DistributedContext,
    history: History,
    meter: EnergyMeter,
    loggers: Sequence[Logger],
    console: Console,
) -> L.Trainer:
    options = job.config.trainer
    live = job.config.hardware.progress_bar and console.is_terminal and not console.is_dumb_terminal
    return L.Trainer(
        **hardware.trainer_options(job.config.hardware, world, WholeCheckpoints(directory)),
        max_epochs=job.config.schedule.epochs,
        default_root_dir=directory,
        logger=list(loggers),
        callbacks=[
            history,
            meter,
            LrSchedule(job.config, history),
            RunDisplay(console, history, live=live),
            Preemption(directory),
            Watchdog(directory),
            *([] if options.fast_dev_run else checkpoint_callbacks(directory, history)),
        ],
        fast_dev_run=options.fast_dev_run,
        max_time=options.max_time,
        gradient_clip_val=options.gradient_clip_val,
        gradient_clip_algorithm=options.gradient_clip_algorithm,
        profiler=PROFILERS[options.profiler](directory / PROFILE, "profile") if options.profiler else None,
        detect_anomaly=options.detect_anomaly,
        enable_progress_bar=False,  # `RunDisplay` shows one line for the whole run
        enable_model_summary=False,
        use_distributed_sampler=False,  # every process plans and loads its own part of the batches
        reload_dataloaders_every_n_epochs=1,  # every epoch has its own plan
        num_sanity_val_steps=0,  # would count validation images before the first epoch
    )


def headline(result: Result, directory: Path) -> str:
    """Say what will be trained, on which images, and where it is kept."""
    images = ", ".join(f"{count:,} {split}" for split, count in result.data.images.items())
    start = ""
    if (given := result.pretrained) is not None:
        layers = {"takes": given.taken, "draws": given.fresh, "leaves": given.left_behind}
        kept = ", ".join(f"{verb} {' '.join(names)}" for verb, names in layers.items() if names)
        start = f"from {given.run}: {kept}\n"
    unknown = result.git.problem if result.git else None
    problem = f"note: the revision of the code is unknown: {unknown}\n" if unknown else ""
    return (
        f"{problem}{result.ablation}, seed {result.seed}: {result.parameters:,} parameters\n{start}"
        f"{result.data.name}: {result.data.classes:,} classes, {images} images\n"
        f"-> {from_here(directory)}"
    )


def notes_on_images(job: Job, pack: Pack) -> Iterator[str]:
    """Say that a batch holds all of the training images, and of how many classes a limit leaves images."""
    size, images = job.config.optimizer.batch_size, len(pack.splits["train"])
    if size > images:
        yield f"note: optimizer.batch_size={size:,} is more than the {images:,} training images: an epoch is one step"
    for stage, split in (("val", "val"), ("test", "val"), ("test", "test")):
        if split not in pack.splits:
            continue
        limit, labels = getattr(job.config.trainer, key := f"limit_{stage}_batches"), pack.splits[split].labels
        used = labels[: limited_images(len(labels), limit, batch_size=size)]
        if len(used) < len(labels):
            few = f"the first {len(used):,} of {len(labels):,} {split} images, of {len(np.unique(used)):,}"
            yield f"note: trainer.{key}={limit}: {few} of the {len(pack.class_names):,} classes"


def silence_lightning() -> None:
    """Send Lightning's messages to the run's log file, and drop its warnings about what is meant to be so.

    Lightning adds its own handler and stops propagation when it is imported.
    """
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)  # what devices there are, and advertisements
    for message in (
        "smaller than the logging interval",  # curves are per epoch
        "Checkpoint directory .* is not empty",  # a resumed run's is not
        "The dirpath has changed",  # a run may be moved: what is best is in its history
        "Total length of `list` across ranks is zero",  # no validation images
        "LeafSpec",
        "broadcast_buffers",  # its successor is newer than torch 2.11
    ):
        warnings.filterwarnings("ignore", message=f".*{message}.*")
