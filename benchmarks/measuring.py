"""What the benchmarks share: one core, interleaved rounds, medians, and a JSON file that says how it was measured."""

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, Self

import torch

from alexnet.devices import choose_device, multiplies_bfloat16

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "lightning", "numba", "numpy")

Parts = dict[str, "Seconds"]
"""What one execution took, part by part."""


@dataclass(frozen=True)
class Seconds:
    """Of the process's own time on processors, and by the clock on the wall."""

    cpu: float = 0.0
    wall: float = 0.0

    @classmethod
    def now(cls) -> Self:
        return cls(cpu=time.process_time(), wall=time.perf_counter())

    def __add__(self, other: Self) -> Self:
        return replace(self, cpu=self.cpu + other.cpu, wall=self.wall + other.wall)

    def __sub__(self, other: Self) -> Self:
        return replace(self, cpu=self.cpu - other.cpu, wall=self.wall - other.wall)


class Stopwatch:
    """Times the parts of one execution."""

    def __init__(self) -> None:
        self.parts: Parts = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = Seconds.now()
        yield
        self.parts[name] = Seconds.now() - start


def timed(execute: Callable[[], object]) -> Callable[[], Parts]:
    """The execution as one part, "all"."""

    def measured() -> Parts:
        watch = Stopwatch()
        with watch.part("all"):
            execute()
        return watch.parts

    return measured


def photographs(images: Path) -> list[Path]:
    """The JPEG files anywhere below a folder."""
    return sorted(file for file in images.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))


def copied(files: list[Path], folder: Path, count: int) -> Path:
    """A source of `count` photographs in ten class folders: the same again and again."""
    for number, file in enumerate(islice(cycle(files), count)):
        target = folder / "images" / "train" / f"{number % 10}" / f"{number:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return folder / "images"


def interleaved(
    candidates: Mapping[str, Callable[[], Parts]],
    rounds: int,
    *,
    seconds: float | None = None,
    so_far: Callable[[dict[str, Parts]], object] = lambda _: None,
) -> dict[str, Parts]:
    """Medians by candidate and part, over `rounds` in which every candidate has its turn, after one that warms up.

    Says on stderr what each took in the first. No round but the first is begun that would pass `seconds`. `so_far` gets
    the medians after each round.
    """
    seen: dict[str, list[Parts]] = {name: [] for name in candidates}
    start = time.perf_counter()
    for turn in range(rounds + 1):
        begun = time.perf_counter()
        for name, execute in candidates.items():
            parts = execute()
            if turn:
                seen[name].append(parts)
            else:
                taken = sum(one.wall for part, one in parts.items() if part == "all" or "all" not in parts)
                print(f"  {name}: {taken:.2f} s to warm up", file=sys.stderr, flush=True)
        now = time.perf_counter()
        if turn == 0:
            print(f"  about {shown(rounds * (now - begun))} for {rounds} rounds", file=sys.stderr, flush=True)
            continue
        medians = {name: _medians(executions) for name, executions in seen.items()}
        so_far(medians)
        if seconds is not None and turn < rounds and 2 * now - begun - start > seconds:
            print(f"  stopped after {turn} rounds: the time is over", file=sys.stderr, flush=True)
            break
    return medians


def shown(seconds: float) -> str:
    """A duration, as `40 s` or `3.5 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def _medians(executions: list[Parts]) -> Parts:
    return {
        part: Seconds(cpu=median(e[part].cpu for e in executions), wall=median(e[part].wall for e in executions))
        for part in executions[0]
    }


def one_core() -> None:
    """One thread on one core, so that processes beside this one take time but do not share out its work."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def in_each_process(name: str, values: Iterable[str], arguments: list[str]) -> Iterator[Any]:
    """Run this program once per value of an option that belongs to a whole process; yield the JSON of every line."""
    for value in values:
        command = [sys.executable, sys.argv[0], f"--{name}", value, "--print-json", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield from map(json.loads, process.stdout)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)


def report(groups: Iterable[list[Any]], show: Callable[[list[Any]], None], name: str, rounds: int, **more: Any) -> None:
    """Show and write the rows as they come, group by group."""
    rows: list[Any] = []
    for group in groups:
        rows += group
        show(group)
        file = save(name, rounds, rows, **more)
    print(file)


def computes_bfloat16() -> bool:
    """Whether products in bfloat16 are worth measuring; says so if not: emulated ones take many times as long."""
    native = multiplies_bfloat16(choose_device())
    if not native:
        print("  no bfloat16: this processor emulates it", file=sys.stderr, flush=True)
    return native


def copying_bandwidth() -> float:
    """Bytes per second that are read or written when memory is copied into memory that is already there."""
    source, target = torch.ones(2**26), torch.ones(2**26)
    return 2 * source.nbytes / _best(lambda: target.copy_(source))


def multiplying_rate(dtype: torch.dtype) -> float:
    """Multiply-adds per second of oneDNN's product of large matrices: what this core can do."""
    n = 2048
    one, other = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    seconds = _best(lambda: one @ other)
    torch.backends.mkldnn.matmul.fp32_precision = before  # type: ignore[attr-defined]
    return n**3 / seconds


def _best(execute: Callable[[], object], rounds: int = 10) -> float:
    """The shortest time on the processor: what the machine can do when nothing disturbs it."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        execute()
        seconds.append(time.process_time() - start)
    return min(seconds)


def tune_allocator() -> None:
    """As `hardware.allocator=tuned` does."""
    from alexnet.training.hardware import MALLOPT

    for parameter, value in MALLOPT.values():
        ctypes.CDLL(None).mallopt(parameter, value)


def save(name: str, rounds: int, rows: Any, **more: Any) -> Path:
    """Write benchmarks/results/NAME.json: the rows, and the machine, versions, command and load that they stand for."""
    from alexnet.training.provenance import device_name

    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    record = {
        # Folders by name alone: where they lie is nobody's business.
        "command": " ".join(["python", sys.argv[0], *(Path(a).name if a.startswith("/") else a for a in sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "device": device_name(torch.device("cpu")),
            "cores": os.cpu_count(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "system": f"{platform.system()} {platform.machine()}",
            "load_average_of_15_minutes": os.getloadavg()[2],
        },
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
        "rounds": rounds,
        **more,
        "rows": rows,
    }
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return file


def print_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """As Markdown, so that it can be shown as it is."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")


def as_plain(parts: Parts) -> dict[str, dict[str, float]]:
    return {name: asdict(seconds) for name, seconds in parts.items()}
