"""Runs stopped at random moments: none is lost, none ends otherwise, none is silent. Minutes; run with `-m slow`."""

import multiprocessing as mp
import os
import random
import resource
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from alexnet.commands.train import main
from alexnet.runs.directory import last_checkpoint, previous_checkpoint
from alexnet.runs.result import read_result
from alexnet.trained.weights import read_checkpoint
from tests.training.conftest import FEW, NARROW, assert_same_training

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")]
FULL = 0
"""In place of a signal: from a moment on no file can grow beyond some size, as on a full disk."""
MOMENTS = {signal.SIGKILL: 60, signal.SIGINT: 20, signal.SIGTERM: 20, FULL: 20}
EXIT_CODES = {signal.SIGKILL: {-9}, signal.SIGINT: {130}, signal.SIGTERM: {143, -15}, FULL: {1}}
OPTIONS = (*FEW, *NARROW, "schedule.epochs=6", "schedule.milestones=[2]", "hardware.threads=1")


def command(runs: Path, packs: Path, tmp: Path) -> None:
    """Give the command as a user would; what it says on stderr goes to a file."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    screen = os.open(runs.with_suffix(".err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(screen, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = ["train.py"]
    os.environ["TMPDIR"] = str(tmp)
    main([*OPTIONS, f"runs={runs}", f"data.packs={packs}"])


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
    process.join(300)
    assert process.exitcode == 0, runs.with_suffix(".err").read_text()
    directory = run_directory(runs)
    assert directory is not None and read_result(directory).status == "finished"
    leftovers = [file.name for file in directory.rglob("*") if file.name.startswith(".") and file.name != ".lock"]
    assert leftovers == []
    return directory


def is_finished(runs: Path) -> bool:
    directory = run_directory(runs)
    return (
        directory is not None and (directory / "result.json").exists() and read_result(directory).status == "finished"
    )


@pytest.mark.parametrize("kind", MOMENTS, ids=["SIGKILL", "SIGINT", "SIGTERM", "full disk"])
def test_stopped_at_random_moments_it_ends_as_undisturbed(tmp_path: Path, kind: int) -> None:
    packs, shm = tmp_path / "packs", Path("/dev/shm")
    tmp = shm if os.access(shm, os.W_OK) else tmp_path  # mostly another file system
    finish(tmp_path / "first", packs, tmp)  # makes the pack
    begun = time.monotonic()
    expected = finish(tmp_path / "whole", packs, tmp)
    usual = time.monotonic() - begun
    chance, stopped, rounds, step = random.Random(kind), 0, 0, 0
    where: list[int] = []
    while stopped < MOMENTS[kind]:
        runs = tmp_path / str(rounds)
        process = start(runs, packs, tmp)
        process.join(chance.uniform(0, usual))
        if process.is_alive():
            assert process.pid is not None
            if kind == FULL:
                size = int(10 ** chance.uniform(3.6, 5.5))
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, size))
            else:
                os.kill(process.pid, kind)
        process.join(300)
        said = runs.with_suffix(".err").read_text() if runs.with_suffix(".err").exists() else ""
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
    assert_same_training(finish(tmp_path / str(rounds), packs, tmp), expected)
    print(f"{stopped} stops in {rounds + 1} runs of {usual:.1f} s, at steps {where}")
