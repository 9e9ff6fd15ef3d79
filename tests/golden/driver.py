"""Runs commands of a project one after another, and tells what they computed.

It knows the project by its command line and by the files that runs write, not by its modules, so that it reads a number
in the same way whatever the code behind it looks like. Losses are seen from outside, as calls of `cross_entropy` while
gradients are on. What Python imports from others takes two thirds of a short run: it is imported once here, and every
command runs in a fork.

    python driver.py PLAN RESULTS    (both JSON; `record.py` writes the one and reads the other)
"""

import hashlib
import importlib
import importlib.util
import json
import os
import platform
import runpy
import signal
import sys
import tempfile
import tomllib
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

SHARED_IMPORTS = ("lightning", "torchmetrics", "torchvision", "numba", "hydra", "scipy.stats")
TIMINGS = ("seconds", "images_per_second", "waiting_percent")
LOSSES = 30
"""Of every attempt at a run, the first so many losses are kept."""


class Losses(TorchFunctionMode):
    """Keeps the losses that gradients are taken of, and can stop the process at one of them."""

    def __init__(self, stop: dict[str, Any] | None) -> None:
        super().__init__()
        self.kept: list[float] = []
        self.stop = stop
        self.seen = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        value = func(*args, **(kwargs or {}))
        if func is F.cross_entropy and torch.is_grad_enabled():
            self._loss(float(value.detach()))
        return value

    def _loss(self, loss: float) -> None:
        self.seen += 1
        if len(self.kept) < LOSSES:
            self.kept.append(loss)
        if self.stop is not None and self.seen == self.stop["at"]:
            if self.stop["by"] == "ctrl_c":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)


def machine() -> dict[str, str]:
    """What rounding depends on: the key of a trace."""
    capability = torch.backends.cpu.get_cpu_capability()
    key = f"{_processor()}, {capability}, torch {torch.__version__}, Python {platform.python_version()}"
    return {"key": key}


def _processor() -> str:
    """The processor's name, and on Linux the numbers that tell processors of one name apart."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "model name" in facts:
            return f"{facts['model name']} {facts['cpu family']}/{facts['model']}/{facts['stepping']}"
    return platform.processor() or platform.machine()


def train(project: Path, arguments: list[str], stop: dict[str, Any] | None) -> dict[str, Any]:
    """`python train.py ARGUMENTS`, with its losses."""
    sys.argv = [str(project / "train.py"), *arguments]
    sys.path.insert(0, str(project))
    with Losses(stop) as losses:
        code = _exit_code(lambda: runpy.run_path(sys.argv[0], run_name="__main__"))
    return {"losses": losses.kept, "code": code, "stopped": stop is not None and losses.seen >= stop["at"]}


def command(project: Path, arguments: list[str], _: dict[str, Any] | None) -> dict[str, Any]:
    """`alexnet ARGUMENTS`, where the project's own table of commands says that it begins."""
    scripts = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, _, function = scripts["alexnet"].partition(":")
    sys.argv = ["alexnet", *arguments]
    return {"code": _exit_code(getattr(importlib.import_module(module), function)), "stopped": False}


def _exit_code(body: Callable[[], object]) -> int:
    try:
        body()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # Ctrl-C too
        traceback.print_exc()
        return 1
    return 0


def forked(body: Callable[[], dict[str, Any]], log: Path) -> dict[str, Any]:
    """What `body` returns in a child process, whose screen goes to a file; nothing where the child died."""
    with tempfile.NamedTemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            _in_child(body, log, Path(answer.name))
        os.waitpid(child, 0)
        text = Path(answer.name).read_text(encoding="utf-8")
    outcome: dict[str, Any] = json.loads(text or "{}")
    return outcome


def _in_child(body: Callable[[], dict[str, Any]], log: Path, answer: Path) -> None:
    try:
        screen = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(screen, 1)
        os.dup2(screen, 2)
        answer.write_text(json.dumps(body()), encoding="utf-8")
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def run_job(project: Path, job: dict[str, Any]) -> dict[str, Any]:
    """All attempts at one job, then what its files say."""
    log = Path(job["log"])
    start = sum(os.times()[:4])
    attempts = [forked(lambda attempt=attempt: _attempt(project, attempt), log) for attempt in job["attempts"]]  # type: ignore[misc]
    for attempt, outcome in zip(job["attempts"], attempts, strict=True):
        asked = attempt.get("stop") is not None
        if outcome.get("code") is None or outcome["stopped"] != asked or (outcome["code"] != 0) != asked:
            return {"failed": "\n".join(log.read_text(encoding="utf-8").splitlines()[-15:])}
    figures: dict[str, Any] = {}
    if "runs" in job:
        losses = [outcome["losses"] for outcome in attempts if "losses" in outcome]
        figures = {"losses": losses} | forked(lambda: run_figures(job["runs"]), log)
    if "pack" in job:
        figures |= forked(lambda: pack_figures(Path(job["pack"])), log)
    return {"figures": figures, "cpu_seconds": round(sum(os.times()[:4]) - start, 1)}


def _attempt(project: Path, attempt: dict[str, Any]) -> dict[str, Any]:
    kinds = {"train": train, "alexnet": command}
    return kinds[attempt["kind"]](project, attempt["arguments"], attempt.get("stop"))


def run_figures(runs: str) -> dict[str, Any]:
    """What the only run directory of a folder says, without times and names."""
    (result_file,) = Path(runs).glob("*/result.json")
    result = json.loads(result_file.read_text(encoding="utf-8"))
    directory = result_file.parent
    return {
        "metrics": _metrics(directory / "metrics.csv"),
        "errors": result["errors"],
        "numerics": result.get("numerics", 0),
        "steps": result["training"]["steps"],
        "rate_drops": result["training"]["rate_drops"],
        "parameters": result["parameters"],
        "fingerprint": result["data"]["fingerprint"],
        "predictions": _arrays(directory / "predictions.npz"),
        "probabilities": _arrays(directory / "probabilities.npz"),
    } | _checkpoint(directory)


def _metrics(file: Path) -> list[str]:
    """The lines of `metrics.csv` without its timings."""
    rows = [line.split(",") for line in file.read_text(encoding="utf-8").splitlines()]
    kept = [place for place, name in enumerate(rows[0]) if name not in TIMINGS]
    return [",".join(row[place] for place in kept) for row in rows]


def _arrays(file: Path) -> str:
    """One hash of all arrays of numbers in an archive."""
    with np.load(file, allow_pickle=False) as arrays:
        return digest((name, arrays[name]) for name in sorted(arrays.files) if arrays[name].dtype.kind in "biuf")


def _checkpoint(directory: Path) -> dict[str, str]:
    """Hashes of the last weights, by layer, and of the velocities, whatever their order."""
    (file,) = directory.rglob("last.ckpt")
    checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    state = {name: value for name, value in checkpoint["state_dict"].items() if name.endswith((".weight", ".bias"))}
    weights = sorted((".".join(name.split(".")[-2:]), _bytes_of(value)) for name, value in state.items())
    states = [values for optimizer in checkpoint["optimizer_states"] for values in optimizer["state"].values()]
    velocities = sorted(digest([("", value.numpy())]) for values in states for value in values.values())
    return {
        "weights": hashlib.sha256(b"".join(name.encode() + value for name, value in weights)).hexdigest(),
        "velocities": hashlib.sha256("".join(velocities).encode()).hexdigest(),
    }


def _bytes_of(tensor: torch.Tensor) -> bytes:
    return np.ascontiguousarray(tensor.numpy()).tobytes()


def digest(named: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """One hash of arrays with their names, kinds and shapes."""
    total = hashlib.sha256()
    for name, array in named:
        total.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


ABOUT_A_PACK = ("pack.json", "unused.txt", "duplicates.txt", "summary.md", "contact.png")
"""Files of a pack, beside the names of its images, that no number is computed from."""


def pack_figures(pack: Path) -> dict[str, Any]:
    """Hashes of a pack's files, and what its header says of its images."""
    header = json.loads((pack / "pack.json").read_text(encoding="utf-8"))
    files = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(pack.iterdir())
        if file.name not in ABOUT_A_PACK and not file.name.endswith("-names.npy")
    }
    seen = {name: header[name] for name in ("encoding", "image_size", "class_names", "statistics")}
    return {
        "files": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
        "header": hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest(),
    }


def main() -> None:
    """Do what the plan says; results are written after every job."""
    plan_file, results_file = map(Path, sys.argv[1:])
    plan = json.loads(plan_file.read_text(encoding="utf-8"))
    project = Path(plan["project"])
    os.chdir(project)
    package = importlib.util.find_spec("alexnet")
    if package is None or not str(package.origin).startswith(str(project)):
        sys.exit(f"`import alexnet` finds {package and package.origin} instead of that of {project}")
    for name in SHARED_IMPORTS:
        with suppress(ImportError):
            importlib.import_module(name)
    facts = forked(lambda: dict(machine()), Path(os.devnull))
    for job in plan["jobs"]:
        outcome = run_job(project, job)
        with results_file.open("a", encoding="utf-8") as results:
            results.write(json.dumps({"name": job["name"], "machine": facts} | outcome) + "\n")


if __name__ == "__main__":
    main()
