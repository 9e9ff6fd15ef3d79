"""Where a run's numbers come from: its code, the packages and the machine."""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from difflib import unified_diff
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

from alexnet.devices import cpu_fact
from alexnet.files import write_file
from alexnet.runs.directory import PACKAGES_FILE, PATCH_FILE
from alexnet.runs.result import GitState

CHECKOUT = Path(__file__).resolve().parents[3]
PATCH_BYTES = 2**20
"""Longer patches are cut."""
SOURCES = ("src", "conf", "ablations", "train.py")
"""Whose files count although git does not know them yet."""
ROUNDING = (
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES",
    "NUMBA_DISABLE_JIT", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE",
)  # fmt: skip
"""Variables by which libraries take other instructions; those for threads change nothing beyond their number."""


def git_state() -> tuple[GitState | None, str]:
    """Return the revision of the checkout that this code is in, and its uncommitted changes as a patch.

    None outside of a checkout: one around it that is another project's does not count. Git may also refuse to say, as
    for a folder of another owner; then the reason is all that is known.
    """
    try:
        top = _git("rev-parse", "--show-toplevel").strip()
        if not top or Path(top).resolve() != CHECKOUT:
            return None, ""
        described = _git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
        revision, dirty, _ = described.strip().partition("-")
        patch = _git("diff", "HEAD", "--no-ext-diff", "--no-color") if dirty else ""
        patch += _untracked(PATCH_BYTES - len(patch))
    except (OSError, subprocess.SubprocessError) as error:
        if not (CHECKOUT / ".git").exists():
            return None, ""
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        return GitState(revision="", dirty=False, problem=" ".join(said.split())[:300] or "git fails"), ""
    return GitState(revision=revision, dirty=bool(patch)), patch


def _untracked(room: int) -> str:
    """Return the sources that git does not know as a patch, each of at most `room` bytes: others by name alone."""
    patch = ""
    for name in _git("ls-files", "--others", "--exclude-standard", "-z", "--", *SOURCES).split("\0")[:-1]:
        file = CHECKOUT / name
        fits = file.is_file() and not file.is_symlink() and file.stat().st_size <= room - len(patch)
        lines = file.read_text(errors="replace").splitlines(keepends=True) if fits else ["(not kept)\n"]
        patch += "".join(unified_diff([], lines, "/dev/null", f"b/{name}"))
    return patch


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=True)
    return run.stdout


def environment() -> dict[str, str]:
    """Return what else rounding may depend on, by the name of the fact; the device has a field of its own."""
    facts = {
        "system": platform.platform(),
        "cpu": processor(),
        "threads": str(torch.get_num_threads()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()).lower(),
        "float32 products": _float32_products(),
        "variables": " ".join(f"{name}={os.environ[name]}" for name in ROUNDING if name in os.environ) or "none",
    }
    if torch.cuda.is_available():
        facts |= {
            "gpu": torch.cuda.get_device_name(),
            "cuda": str(torch.version.cuda),
            "driver": _driver(),
            "cudnn": f"benchmark {str(torch.backends.cudnn.benchmark).lower()}",
        }
    return facts


def throughout(now: Any, before: Any) -> Any:
    """Return a fact of a resumed run, or a mapping of facts: one that was another in an earlier part names both."""
    if isinstance(now, Mapping):
        former = before if isinstance(before, Mapping) else {}
        return {name: throughout(fact, former.get(name)) for name, fact in now.items()}
    if not isinstance(before, str):  # of a version that kept none
        return now
    values = {now, *before.removeprefix("partly ").split(", partly ")}
    return now if len(values) == 1 else ", ".join(f"partly {value}" for value in sorted(values))


def code_throughout(now: GitState | None, before: Any) -> GitState | None:
    """Return the same of the code: both revisions, and whether either had changes; `before` has the fields by name."""
    if now is None or not isinstance(before, Mapping):
        return now
    revision = throughout(now.revision, before.get("revision"))
    return replace(now, revision=revision, dirty=now.dirty or bool(before.get("dirty")))


def _float32_products() -> str:
    # With hardware.matmul=onednn backends differ, and torch refuses to name one precision for all.
    of_onednn = str(torch.backends.mkldnn.matmul.fp32_precision)  # type: ignore[attr-defined]
    return torch.get_float32_matmul_precision() if of_onednn == "none" else "onednn"


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


@cache  # reading them takes half as long as a short run
def _packages() -> list[str]:
    return sorted(
        {f"{one['Name']}=={one['Version']}" for one in (each.metadata for each in distributions())}, key=str.lower
    )


def write_provenance(directory: Path, patch: str) -> None:
    """Write the packages that are installed, and the patch of `git_state`, if there is one."""
    write_file(directory / PACKAGES_FILE, "\n".join(_packages()) + "\n")
    (directory / PATCH_FILE).unlink(missing_ok=True)
    if patch:
        whole = len(patch) <= PATCH_BYTES
        write_file(directory / PATCH_FILE, patch if whole else f"{patch[:PATCH_BYTES]}\n(cut off)\n")


def device_name(device: torch.device, *, processes: int = 1) -> str:
    """Describe the device, as in `cpu: AMD EPYC 7B13, 2 threads`, and the number of processes if each has one."""
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    name = f"{device.type}: {chip}" + (f", {torch.get_num_threads()} threads" if device.type == "cpu" else "")
    return name if processes == 1 else f"{processes} processes, each on {name}"


def processor() -> str:
    """Return the name of the processor's model, or that of its kind where Linux does not tell."""
    return cpu_fact("model name") or platform.processor() or platform.machine()
