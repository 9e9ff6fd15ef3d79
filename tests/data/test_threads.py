"""Parallel maps keep the order, stop when they are told, and never hang the process."""

import subprocess
import sys
import threading
from math import inf
from pathlib import Path
from textwrap import dedent

import pytest

from alexnet.data import threads as pool
from alexnet.data.threads import ParallelMap, cpu_quota


@pytest.mark.parametrize(("threads", "ahead"), [(1, None), (1, 2), (3, None)])
def test_parallel_map_keeps_the_order_and_reads_few_items_ahead(threads: int, ahead: int | None) -> None:
    read: list[int] = []
    results = ParallelMap(lambda x: x**2, (read.append(n) or n for n in range(20)), threads, ahead=ahead)
    for n, result in enumerate(results):
        assert result == n**2 and len(read) <= n + 1 + (ahead or 2 * threads)
    assert len(read) == 20 and next(results, None) is None


@pytest.mark.parametrize("threads", [1, 2])
def test_parallel_map_raises_an_error_in_place_of_its_result(threads: int) -> None:
    results = ParallelMap(lambda x: 1 / x, (2, 1, 0, 4), threads)
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_closed_map_has_no_threads_and_no_results() -> None:
    before = threading.active_count()
    results = ParallelMap(lambda x: x, range(9), 2, ahead=4)
    assert next(results) == 0 and threading.active_count() > before
    results.close()
    assert threading.active_count() == before and list(results) == []


def test_abandoned_maps_end_without_a_deadlock() -> None:
    """Collected in whatever thread the collector runs, most of them while threads of other maps start."""
    program = """
        import faulthandler, gc, sys, threading
        from alexnet.data.threads import ParallelMap

        faulthandler.dump_traceback_later(60, exit=True)
        gc.set_threshold(1, 1, 1)
        sys.setswitchinterval(1e-6)

        def abandon():
            for _ in range(500):
                results = ParallelMap(lambda x: x, range(9), 2, ahead=3)
                next(results)
                cycle = [results]
                cycle.append(cycle)

        abandoning = [threading.Thread(target=abandon) for _ in range(4)]
        for thread in abandoning:
            thread.start()
        for thread in abandoning:
            thread.join()
        gc.collect()
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join()
    """
    done = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, inf),
        ("0::/a/b\n", {"cpu.max": "max 100000", "a/cpu.max": "150000 100000", "a/b/cpu.max": "400000 100000"}, 1.5),
        ("0::/../../host/path\n", {"cpu.max": "50000 100000\n"}, 0.5),
        (
            "4:cpu,cpuacct:/docker/x\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, inf),
        ("", {}, inf),
        ("0::/\n", {"cpu.max": "\xff"}, inf),
    ],
)
def test_cpu_quota_is_the_smallest_of_the_groups_around(
    tmp_path: Path, cgroup: str, files: dict[str, str], expected: float
) -> None:
    (tmp_path / "cgroup").write_text(cgroup)
    for name, text in files.items():
        file = tmp_path / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="latin-1")
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "fs") == expected


@pytest.mark.parametrize(("quota", "expected"), [(0.5, 1), (1.5, 2), (64.0, 4), (inf, 4)])
def test_cpus_are_those_of_the_affinity_within_the_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float, expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4), raising=False)
    monkeypatch.setattr(pool, "cpu_quota", lambda *_: quota)
    assert pool.available_cpus() == expected
