"""Processes of a sweep spread over the GPUs, and free their seats when they end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.sweep.workers import acquire_gpu_slot, visible_gpus

TAKE = """
import os, sys
from pathlib import Path
from alexnet.sweep.workers import stay_on_one_gpu
for _ in range(2):  # two runs of one process
    stay_on_one_gpu(Path(sys.argv[1]))
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
sys.stdin.read()
"""


def seated(folder: Path) -> tuple["subprocess.Popen[str]", str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "4,GPU-b"}
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE, str(folder)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_processes_spread_over_the_gpus_and_the_next_takes_a_freed_one(tmp_path: Path) -> None:
    first, second, third = (seated(tmp_path) for _ in range(3))
    assert [gpu for _, gpu in (first, second, third)] == ["4", "GPU-b", "4"]
    second[0].kill()
    second[0].communicate()
    fourth = seated(tmp_path)
    assert fourth[1] == "GPU-b"
    for process, _ in (first, third, fourth):
        process.communicate()


def test_seats_are_numbered_from_the_lowest(tmp_path: Path) -> None:
    assert [acquire_gpu_slot(tmp_path / "runs") for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(("named", "expected"), [("", []), ("3", ["3"]), ("0,2", ["0", "2"])])
def test_the_user_may_have_chosen_gpus(named: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == expected
