"""What is kept on disk is read as it was written, whether it is little or much."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data.sources import scratch
from alexnet.data.sources.scratch import Column, filled, full, parts
from alexnet.errors import UserError


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Everything goes to disk; returns where."""
    monkeypatch.setattr(scratch, "IN_MEMORY", 64)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def open_files(folder: Path) -> int:
    """Files without a name that this process has in a folder, open or in memory."""
    return sum(
        f"{folder}/" in line and "(deleted)" in line for line in Path("/proc/self/maps").read_text().splitlines()
    )


@settings(deadline=None, max_examples=30)
@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=400))
def test_a_column_is_the_list_of_its_numbers(numbers: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch, "IN_MEMORY", 256)
        column = Column("q")
        for number in numbers:
            column.append(number)
        assert column.array().tolist() == numbers


@pytest.mark.parametrize("lengths", [[0], [3], [0, 5, 0, 70, 1], [10_000]])
@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.bool_])
@pytest.mark.usefixtures("tiny")
def test_pieces_become_one_array(lengths: list[int], dtype: type[np.generic]) -> None:
    pieces = [np.random.default_rng(length).integers(0, 2, (length, 3)).astype(dtype) for length in lengths]
    whole = filled(iter(pieces))
    assert whole.dtype == dtype and whole.flags.writeable
    np.testing.assert_array_equal(whole, np.concatenate(pieces))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="maps are read from /proc")
def test_large_arrays_are_files_that_vanish(tiny: Path) -> None:
    numbers = full(1000, np.int64(-1))
    numbers[500:] = 7
    assert open_files(tiny) == 1 and not list(tiny.iterdir())
    assert numbers.tolist() == [-1] * 500 + [7] * 500
    assert full(7, np.int64(3)).tolist() == [3] * 7 and open_files(tiny) == 1  # 56 bytes stay in memory
    del numbers
    assert open_files(tiny) == 0


@given(length=st.integers(0, 300), most=st.integers(1, 50))
def test_parts_cover_everything_in_order(length: int, most: int) -> None:
    pieces = [list(range(length))[part] for part in parts(length, most=most)]
    assert [number for piece in pieces for number in piece] == list(range(length))
    assert all(len(piece) == most for piece in pieces[:-1]) and len(pieces[-1]) <= most


def test_a_full_disk_is_one_line(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full_disk = lambda **_: Path("/dev/full").open("wb", buffering=0)  # noqa: E731, SIM115
    monkeypatch.setattr(tempfile, "TemporaryFile", full_disk)
    with pytest.raises(UserError, match=rf"{tiny}: temporary files cannot be written \(No space left.*set TMPDIR"):
        full(1000, np.int64(0))
