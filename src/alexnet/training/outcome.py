"""What a run's result file says: when it has only begun, when it is finished, and when something stopped it."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from alexnet.config.job import Job, ablation_name
from alexnet.data.pack.pack import Pack
from alexnet.net.plan import plan
from alexnet.net.specs import Parametric, total_parameters
from alexnet.runs.result import DataFacts, LrDrop, Result, TrainingFacts
from alexnet.training.environment import git_state, versions
from alexnet.training.history import History
from alexnet.training.pretrained import pretrained_facts

UNFINISHED_MESSAGE = "still running, or stopped without a word; repeat the command to continue"


def begun(job: Job, directory: Path, pack: Pack) -> Result:
    """The result file of a run that has only begun: what it says if the process is killed."""
    config = job.config
    layers = plan(config, len(pack.class_names))
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
        versions=versions(),
        device="",
        git=git_state(),
        command=job.command,
        pretrained=pretrained_facts(config, [layer.name for layer in layers if isinstance(layer, Parametric)]),
        precision=config.hardware.precision,
    )


def stopped(result: Result, error: BaseException) -> Result:
    if isinstance(error, Exception):
        return replace(result, status="failed", message=f"{type(error).__name__}: {error}".splitlines()[0])
    return replace(result, status="interrupted", message=f"interrupted ({type(error).__name__})")


def training_facts(history: History, images: int) -> TrainingFacts:
    records = history.records
    seconds = sum(record.seconds for record in records)
    return TrainingFacts(
        epochs=len(records),
        steps=records[-1].step,
        seconds=seconds,
        images_per_second=images * len(records) / seconds,
        rate_drops=tuple(
            LrDrop(epoch=after.epoch, rate=after.rate)
            for before, after in pairwise(records)
            if after.rate != before.rate
        ),
    )
