"""Where a run happened: versions, device and revision, for its result file."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from alexnet import __version__
from alexnet.runs.result import GitState

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchmetrics", "wandb", "numpy")


def versions() -> dict[str, str]:
    """Python and the packages that a result depends on."""
    return {
        "python": platform.python_version(),
        "alexnet": __version__,
        **{package: version(package) for package in PACKAGES},
    }


def device_name(device: torch.device, *, processes: int = 1) -> str:
    """The device in words, such as `cpu: AMD EPYC 7B13, 2 threads`, and the number of processes where each has one."""
    if device.type == "cuda":
        name = f"cuda: {torch.cuda.get_device_name(device)}"
    else:
        name = f"cpu: {_processor()}, {torch.get_num_threads()} threads"
    return name if processes == 1 else f"{processes} processes, each on {name}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def git_state() -> GitState | None:
    """Revision of the checkout that this code runs from; None outside of one."""
    folder = Path(__file__).parent
    revision = _git(folder, "rev-parse", "HEAD")
    if not revision:
        return None
    return GitState(revision=revision, dirty=bool(_git(folder, "status", "--porcelain", "--untracked-files=no")))


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
