"""The contents of a run's result file."""

import platform
from importlib.metadata import version
from pathlib import Path

from alexnet import __version__
from alexnet.config.job import Job, ablation_name
from alexnet.config.numerics import NUMERICS
from alexnet.data.pack.pack import Pack
from alexnet.net.plan import layer_specs
from alexnet.net.specs import Parametric, total_parameters
from alexnet.runs.metrics import lr_drops
from alexnet.runs.plan import read_plan
from alexnet.runs.result import UNFINISHED_MESSAGE, DataFacts, GitState, LrDrop, Result, TrainingFacts
from alexnet.training.energy import EnergyMeter
from alexnet.training.hardware import precision
from alexnet.training.history import History
from alexnet.training.pretrained import pretrained_facts
from alexnet.training.provenance import environment

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchmetrics", "wandb", "numpy")


def initial_result(job: Job, directory: Path, pack: Pack, git: GitState | None) -> Result:
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
        versions={
            "python": platform.python_version(),
            "alexnet": __version__,
            **{package: version(package) for package in PACKAGES},
        },
        device="",
        git=git,
        environment=environment(),
        command=job.command,
        pretrained=pretrained_facts(config, [layer.name for layer in layers if isinstance(layer, Parametric)]),
        precision=precision(config.hardware),
        plan=read_plan(Path(config.study.plan)) if config.study.plan else None,
        numerics=NUMERICS,
        lr=config.optimizer.lr,
        identity=job.identity,
    )


def training_facts(history: History, meter: EnergyMeter) -> TrainingFacts:
    records = history.records
    seconds = sum(record.seconds for record in records)
    return TrainingFacts(
        epochs=len(records),
        steps=records[-1].step,
        seconds=seconds,
        images_per_second=sum(record.images_per_second * record.seconds for record in records) / seconds,
        rate_drops=tuple(LrDrop(epoch=first.epoch, rate=first.rate) for first in lr_drops(records)),
        device_hours=meter.device_hours,
        energy=meter.energy,
    )
