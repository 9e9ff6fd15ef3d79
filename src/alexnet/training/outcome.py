"""The contents of a run's result file, and the environment that it records."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from alexnet import __version__
from alexnet.config.job import Job, ablation_name
from alexnet.config.numerics import NUMERICS
from alexnet.data.pack.pack import Pack
from alexnet.net.plan import layer_specs
from alexnet.net.specs import Parametric, total_parameters
from alexnet.runs.metrics import lr_drops
from alexnet.runs.plan import read_plan
from alexnet.runs.result import DataFacts, GitState, LrDrop, Result, TrainingFacts
from alexnet.training.hardware import precision
from alexnet.training.history import History
from alexnet.training.pretrained import pretrained_facts

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchmetrics", "wandb", "numpy")
UNFINISHED_MESSAGE = "still running, or stopped without a word; repeat the command to continue"


def initial_result(job: Job, directory: Path, pack: Pack) -> Result:
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
        git=_git_state(),
        command=job.command,
        pretrained=pretrained_facts(config, [layer.name for layer in layers if isinstance(layer, Parametric)]),
        precision=precision(config.hardware),
        plan=read_plan(Path(config.study.plan)) if config.study.plan else None,
        numerics=NUMERICS,
    )


def training_facts(history: History, images: int) -> TrainingFacts:
    records = history.records
    seconds = sum(record.seconds for record in records)
    return TrainingFacts(
        epochs=len(records),
        steps=records[-1].step,
        seconds=seconds,
        images_per_second=images * len(records) / seconds,
        rate_drops=tuple(LrDrop(epoch=first.epoch, rate=first.rate) for first in lr_drops(records)),
    )


def device_name(device: torch.device, *, processes: int = 1) -> str:
    """Describe the device, as in `cpu: AMD EPYC 7B13, 2 threads`, and the number of processes if each has one."""
    match device.type:
        case "cuda":
            chip = torch.cuda.get_device_name(device)
        case "cpu":
            chip = f"{_processor()}, {torch.get_num_threads()} threads"
        case _:
            chip = _processor()
    name = f"{device.type}: {chip}"
    return name if processes == 1 else f"{processes} processes, each on {name}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _git_state() -> GitState | None:
    """Return the revision of the checkout that this code runs from; None outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    revision, dirty, _ = run.stdout.strip().partition("-dirty")
    return GitState(revision=revision, dirty=bool(dirty))
