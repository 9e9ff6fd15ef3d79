"""Runs stopped at random moments: none is lost, none ends otherwise, none is silent. Minutes; run with `-m slow`."""

import math
import multiprocessing as mp
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from alexnet.commands.train import main
from alexnet.runs.directory import last_checkpoint, previous_checkpoint
from alexnet.runs.result import read_result
from alexnet.trained.weights import read_checkpoint
from tests.training.conftest import FEW, NARROW, assert_same_training

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="/proc and mounts of Linux")]
FULL = 0
"""In place of a signal: from a moment on the file system is full but for some kilobytes."""
MOMENTS = {signal.SIGKILL: 60, signal.SIGINT: 20, signal.SIGTERM: 20, FULL: 20}
EXIT_CODES = {signal.SIGKILL: {-9}, signal.SIGINT: {130}, signal.SIGTERM: {143, -15}, FULL: {1}}
OPTIONS = (*FEW, *NARROW, "schedule.epochs=6", "schedule.milestones=[2]", "hardware.threads=1")


def stderr_of(runs: Path, packs: Path) -> Path:
    """The file of what a command says, on a disk that is never full."""
    return packs.with_name(f"{runs.name}.err")


def command(runs: Path, packs: Path, tmp: Path) -> None:
    """Give the command as a user would; what it says on stderr goes to a file."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    screen = os.open(stderr_of(runs, packs), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(screen, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = ["train.py"]
    os.environ["TMPDIR"] = str(tmp)
    main([*OPTIONS, f"runs={runs}", f"data.packs={packs}"])


@pytest.fixture
def disk(tmp_path: Path, kind: int) -> Iterator[Path]:
    """Where the runs go: for a full disk a small file system, which takes root to mount."""
    if kind != FULL:
        yield tmp_path
        return
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(disk: Path, left: int) -> None:
    """Leave `left` bytes free, or none if the run writes meanwhile."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        filler.write(bytes(max(0, shutil.disk_usage(disk).free - left)))


def start(runs: Path, packs: Path, tmp: Path) -> BaseProcess:
    """Start the command in a process that has imported everything already."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.test_kills", "alexnet.training.run"])
    process = context.Process(target=command, args=(runs, packs, tmp))
    process.start()
    return process


def run_directory(runs: Path) -> Path | None:
    return next(runs.iterdir(), None) if runs.exists() else None


def saved_step(runs: Path) -> int:
    """The step from which the run would go on."""
    directory = run_directory(runs)
    if directory is None:
        return 0
    saved = next((file for file in (last_checkpoint(directory), previous_checkpoint(directory)) if file.exists()), None)
    return 0 if saved is None else int(read_checkpoint(saved)["global_step"])


def finish(runs: Path, packs: Path, tmp: Path) -> Path:
    """Repeat the command, undisturbed."""
    process = start(runs, packs, tmp)
    process.join(3000)
    assert process.exitcode == 0, stderr_of(runs, packs).read_text()
    directory = run_directory(runs)
    assert directory is not None and read_result(directory).status == "finished"
    leftovers = [file.name for file in directory.rglob("*") if file.name.startswith(".") and file.name != ".lock"]
    assert leftovers == []
    return directory


def watch(process: BaseProcess, limit: float = math.inf) -> float:
    """Wait until a process has used so much processor time, or has ended; return what it has used, in seconds."""
    used = 0.0
    while process.exitcode is None and used < limit:
        time.sleep(0.02)
        with suppress(OSError):
            ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            used = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return used


def is_finished(runs: Path) -> bool:
    directory = run_directory(runs)
    return (
        directory is not None and (directory / "result.json").exists() and read_result(directory).status == "finished"
    )


@pytest.mark.parametrize("kind", MOMENTS, ids=["SIGKILL", "SIGINT", "SIGTERM", "full disk"])
def test_stopped_at_random_moments_it_ends_as_undisturbed(tmp_path: Path, disk: Path, kind: int) -> None:
    packs, shm = tmp_path / "packs", Path("/dev/shm")
    tmp = shm if os.access(shm, os.W_OK) else tmp_path  # mostly another file system
    finish(tmp_path / "first", packs, tmp)  # makes the pack
    usual = watch(start(tmp_path / "whole", packs, tmp))
    expected = finish(tmp_path / "whole", packs, tmp)
    chance, stopped, rounds, step = random.Random(kind), 0, 0, 0
    where: list[int] = []
    while stopped < MOMENTS[kind]:
        runs = disk / str(rounds)
        process = start(runs, packs, tmp)
        watch(process, chance.uniform(0, usual))
        if process.is_alive():
            assert process.pid is not None
            if kind == FULL:
                fill(disk, int(10 ** chance.uniform(3.6, 5.5)))
            else:
                os.kill(process.pid, kind)
        process.join(3000)
        (disk / "filler").unlink(missing_ok=True)
        stderr = stderr_of(runs, packs)
        said = stderr.read_text() if stderr.exists() else ""
        if process.exitcode != 0:
            stopped += 1
            assert process.exitcode in EXIT_CODES[kind] and "Traceback" not in said, (process.exitcode, said)
            assert kind != FULL or said.count("error: ") == 1, said
            now = saved_step(runs)
            assert now >= step, "steps were lost"
            step = now
            where.append(step)
        if is_finished(runs):
            assert_same_training(finish(runs, packs, tmp), expected)
            rounds, step = rounds + 1, 0
        else:
            assert process.exitcode != 0
    assert_same_training(finish(disk / str(rounds), packs, tmp), expected)
    print(f"{stopped} stops in {rounds + 1} runs of {usual:.1f} s of processor time, at steps {where}")
