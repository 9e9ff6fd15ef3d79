"""Runs of several processes as a user sees them: whatever is killed, nothing is left behind and nothing is lost."""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from random import Random

import pytest
import torch.distributed as dist
from rich.console import Console

from alexnet.training.distributed import run_in_ranks
from tests.test_launch import TINY, start, train
from tests.training.conftest import assert_same_training

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in Linux's /proc"),
]
LONGER = (*TINY, "data.shapes.train_per_class=30", "schedule.epochs=12", "schedule.milestones=[4,8]")
PAIR = (*LONGER, "devices=ddp")


def descendants(pid: int) -> set[int]:
    """Processes that a process has started, and those that these have."""
    found: set[int] = set()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = {int(word) for word in file.read_text().split()}
        except OSError:  # gone meanwhile
            continue
        found |= children.union(*(descendants(child) for child in children))
    return found


def ranks(pid: int) -> list[int]:
    """Those of them that train; Python also starts one that cleans up after them."""
    return sorted(child for child in descendants(pid) if b"spawn_main" in _command(child))


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def assert_gone(processes: set[int], *, within: float) -> None:
    deadline = time.monotonic() + within
    while alive := [pid for pid in processes if _command(pid)]:
        assert time.monotonic() < deadline, f"left behind: {[_command(pid) for pid in alive]}"
        time.sleep(0.1)


def _note_its_group_at_the_end(file: Path, _: Console) -> None:
    dist.init_process_group("gloo")
    atexit.register(lambda: file.write_text(f"in a group: {dist.is_initialized()}"))


def test_a_process_has_left_its_group_when_python_ends(tmp_path: Path) -> None:
    """Threads of a group that is left to the end of Python have aborted a process after it had its result."""
    file = tmp_path / "told"
    run_in_ranks(partial(_note_its_group_at_the_end, file), tmp_path, 1, console=Console())
    assert file.read_text() == "in a group: False"


def test_stopped_and_killed_at_twenty_moments(tmp_path: Path) -> None:
    """SIGTERM, SIGKILL, and the SIGKILL of one of the two: what is repeated ends as what nothing disturbed."""
    arguments = [*PAIR, f"data.packs={tmp_path}/packs"]
    began = time.monotonic()
    assert train(tmp_path, *arguments, "runs=whole").returncode == 0
    needed = time.monotonic() - began
    (whole,) = (tmp_path / "whole").iterdir()
    moments, blows, finished = Random(2012), 0, 0
    while blows < 20:
        process = start(tmp_path, *arguments, f"runs=parts{finished}")
        wait, blow = moments.uniform(0, needed), moments.choice(["SIGTERM", "SIGKILL", "a rank"])
        try:
            process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            family = descendants(process.pid)
            victims = ranks(process.pid) if blow == "a rank" else [process.pid]
            for victim in victims[-1:]:
                os.kill(victim, signal.SIGTERM if blow == "SIGTERM" else signal.SIGKILL)
                blows += 1
            _, err = process.communicate(timeout=150)
            assert "Traceback" not in err
            if victims:
                assert process.returncode != 0
            assert_gone(family, within=60)
        if process.returncode == 0:
            assert_same_training(tmp_path / f"parts{finished}" / whole.name, whole)
            finished += 1
    last = train(tmp_path, *arguments, f"runs=parts{finished}")
    assert last.returncode == 0
    assert_same_training(tmp_path / f"parts{finished}" / whole.name, whole)


def test_a_sweep_of_pairs_is_that_of_single_processes_and_outlives_a_failure(tmp_path: Path) -> None:
    grid = ("-m", "+ablation=none,no_lrn", *TINY, "hardware.threads=1", "optimizer.lr=0.001", "optimizer.batch_size=7")
    assert train(tmp_path, *grid, "runs=single").returncode == 0
    assert train(tmp_path, *grid, "runs=pairs", "devices=ddp").returncode == 0
    for run in (tmp_path / "single").glob("*/result.json"):
        mine, theirs = (
            json.loads((tmp_path / kind / run.parent.name / "result.json").read_text()) for kind in ("single", "pairs")
        )
        assert mine["errors"] == theirs["errors"] and theirs["device"].startswith("2 processes")
    broken = train(tmp_path, *grid, "runs=broken", "devices=ddp", "optimizer.lr=1e9,0.001")
    assert broken.returncode == 1 and "diverged" in broken.stderr and "Traceback" not in broken.stderr
    statuses = [json.loads(file.read_text())["status"] for file in tmp_path.glob("broken/*/result.json")]
    assert sorted(statuses) == ["failed", "failed", "finished", "finished"]


def test_torchrun_starts_the_same_run(tmp_path: Path) -> None:
    """Processes that others start train the network of those that the run starts."""
    arguments = [*PAIR, f"data.packs={tmp_path}/packs"]
    assert train(tmp_path, *arguments, "runs=ours").returncode == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = str(Path(__file__).parents[1] / "train.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*torchrun, script, *arguments, "runs=theirs"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (ours,) = (tmp_path / "ours").iterdir()
    assert_same_training(tmp_path / "theirs" / ours.name, ours)
    assert done.stdout.count("epoch ") == 12  # one of them speaks


def test_columns_on_two_devices_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    arguments = [*LONGER, "devices=model_parallel", f"data.packs={tmp_path}/packs"]
    assert train(tmp_path, *arguments, "runs=whole").returncode == 0
    (whole,) = (tmp_path / "whole").iterdir()
    process = start(tmp_path, *arguments, "runs=parts")
    checkpoint = tmp_path / "parts" / whole.name / "checkpoints" / "last.ckpt"
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.01)
    family = descendants(process.pid)
    process.terminate()
    process.communicate(timeout=150)
    assert process.returncode == 128 + signal.SIGTERM
    assert_gone(family, within=60)
    assert train(tmp_path, *arguments, "runs=parts").returncode == 0
    assert_same_training(tmp_path / "parts" / whole.name, whole)
