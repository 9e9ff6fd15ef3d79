"""`first_layer.npz`: what is written is what is read, and anything else is refused by name."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alexnet.errors import UserError
from alexnet.runs.arrays import FirstLayer, read_first_layer, write_first_layer
from alexnet.runs.directory import FIRST_LAYER_FILE


def kernels(maps: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(maps, 3, 5, 5)).astype(np.float32)


def test_round_trip(tmp_path: Path) -> None:
    write_first_layer(tmp_path, FirstLayer(kernels=kernels(), columns=2))
    layer = read_first_layer(tmp_path)
    assert layer.columns == 2 and layer.kernels.dtype == np.float32
    np.testing.assert_array_equal(layer.kernels, kernels())
    first, second = layer.by_column()
    np.testing.assert_array_equal(first, kernels()[:3])
    np.testing.assert_array_equal(second, kernels()[3:])


def test_archive_holds_the_documented_arrays(tmp_path: Path) -> None:
    write_first_layer(tmp_path, FirstLayer(kernels=kernels(), columns=1))
    with np.load(tmp_path / FIRST_LAYER_FILE) as file:
        assert {name: (file[name].dtype, file[name].shape) for name in file} == {
            "version": (np.int32, ()),
            "columns": (np.int32, ()),
            "kernels": (np.float32, (6, 3, 5, 5)),
        }
        assert (file["version"], file["columns"]) == (1, 1)


@pytest.mark.parametrize(
    ("shown", "columns", "field"),
    [
        (kernels(5), 2, "columns"),
        (kernels(), 0, "columns"),
        (kernels()[:, :2], 1, "kernels"),
        (kernels()[:, :, :4], 1, "kernels"),
        (kernels()[:0], 1, "kernels"),
        (kernels().astype(np.float64), 1, "kernels"),
        (kernels() * np.float32("inf"), 1, "kernels"),
    ],
)
def test_what_is_no_layer_is_refused(tmp_path: Path, shown: NDArray[np.float32], columns: int, field: str) -> None:
    write_first_layer(tmp_path, FirstLayer(kernels=shown, columns=columns))
    with pytest.raises(UserError, match=f"damaged: {field}"):
        read_first_layer(tmp_path)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"first_layer\.npz: missing"):
        read_first_layer(tmp_path)
    write_first_layer(tmp_path, FirstLayer(kernels=kernels(), columns=2))
    whole = (tmp_path / FIRST_LAYER_FILE).read_bytes()
    for damaged in (b"", b"PK", whole[: len(whole) // 2], whole[:-200] + bytes(200)):
        (tmp_path / FIRST_LAYER_FILE).write_bytes(damaged)
        with pytest.raises(UserError, match=r"first_layer\.npz: damaged"):
            read_first_layer(tmp_path)


@pytest.mark.parametrize("other", [{"version": np.int32(2)}, {"columns": np.float32(2)}, {"columns": np.ones(2)}])
def test_other_contents_are_refused(tmp_path: Path, other: dict[str, NDArray[np.float32]]) -> None:
    arrays = {"version": np.int32(1), "columns": np.int32(2), "kernels": kernels()} | other
    np.savez(tmp_path / FIRST_LAYER_FILE, **arrays)
    with pytest.raises(UserError, match="damaged"):
        read_first_layer(tmp_path)
