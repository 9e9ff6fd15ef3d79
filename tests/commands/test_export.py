"""`alexnet export` computes on the CPU, wherever other commands do."""

from pathlib import Path

import pytest
import torch

from alexnet.commands import export
from alexnet.trained import network


def test_export_loads_the_net_onto_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """GPUs round products of convolutions otherwise than the runtime that the file is compared with."""
    devices: list[torch.device | None] = []

    class SeenError(Exception): ...

    def load(_: Path, device: torch.device | None = None) -> None:
        devices.append(device)
        raise SeenError

    monkeypatch.setattr(network, "load_trained", load)
    with pytest.raises(SeenError):
        export.export(tmp_path, tmp_path / "net.onnx", layout="grouped")
    assert devices == [torch.device("cpu")]
