"""Files of weights from strangers: numbers that are none, and sizes that a file only claims."""

from pathlib import Path
from typing import Any

import pytest
import torch

from alexnet.errors import UserError
from alexnet.trained.network import load_trained
from alexnet.trained.short_codes import VERSION, load_codes
from alexnet.trained.weights import read_checkpoint, read_weights
from tests.conftest import checked, few_open_files

CPU = torch.device("cpu")
HUGE = torch.zeros(1).expand(10**12)
"""A terabyte that is stored in four bytes."""


def checkpoint(path: Path, state: Any, *overrides: str) -> Path:
    facts = {"config": checked(*overrides).tree, "class_names": ["a", "b"], "data_fingerprint": "f"}
    torch.save({"state_dict": state, "alexnet": facts}, path)
    return path


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"net.conv1.weight": torch.tensor([0.0, float("nan")])}, "not finite"),
        ({"net.conv1.weight": torch.tensor([float("inf")])}, "not finite"),
        ({"net.conv1.weight": torch.tensor([1e300], dtype=torch.float64)}, "not finite"),
        ({"net.conv1.weight": torch.ones(8, dtype=torch.int8)}, "its weights are int8 numbers; save them as float32"),
        ({"net.conv1.weight": torch.ones(8, dtype=torch.complex64)}, "complex64 numbers"),
        ({"net.conv1.weight": HUGE}, "larger than the file"),
        ([1, 2], "damaged"),
        ({"net.conv1.weight": 1}, "damaged"),
    ],
)
def test_weights_that_are_none_are_refused(tmp_path: Path, state: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_weights(checkpoint(tmp_path / "last.ckpt", state))


def test_a_network_larger_than_its_file_takes_no_memory(tmp_path: Path) -> None:
    sizes = ("scale.fc_width=900000", "scale.channels=[8,8,16,16,8]")
    file = checkpoint(tmp_path / "last.ckpt", {"net.conv1.weight": torch.zeros(8)}, *sizes)
    with pytest.raises(UserError, match="do not fit its configuration"):
        load_trained(file, CPU)


@pytest.mark.parametrize("mean", [HUGE, torch.tensor([float("nan")])])
def test_codes_that_are_none_are_refused(tmp_path: Path, mean: torch.Tensor) -> None:
    torch.save(
        {"version": VERSION, "bits": 8, "database": torch.zeros(1), "net": {"mean": mean}}, tmp_path / "codes.pt"
    )
    with pytest.raises(UserError, match=r"larger than the file|not finite"):
        load_codes(tmp_path / "codes.pt", CPU)


def test_a_checkpoint_that_the_machine_refuses_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read: Too many open files"), few_open_files():
        read_checkpoint(tmp_path / "last.ckpt")


def test_a_file_that_alexnet_import_takes_is_told_so(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.ones(1)}, tmp_path / "owt.pth")
    with pytest.raises(UserError, match="alexnet import makes one of torchvision's weights"):
        read_checkpoint(tmp_path / "owt.pth")
