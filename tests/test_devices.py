"""What is said about devices, for devices that are not there."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from alexnet import devices
from alexnet.devices import CPU, check_device, choose_device, multiplies_bfloat16
from alexnet.errors import UserError

CUDA, MPS = torch.device("cuda"), torch.device("mps")


@pytest.mark.parametrize(
    ("cuda", "mps", "accelerator", "expected"),
    [
        (True, False, "auto", CUDA),
        (False, True, "auto", MPS),
        (False, True, "gpu", MPS),
        (False, False, "auto", CPU),
        (True, True, "cpu", CPU),
    ],
)
def test_device_is_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, accelerator: str, expected: torch.device
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device(accelerator) == expected


def test_device_that_fails_at_its_first_kernel_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU does that torch was not built for, although `is_available` is true."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(
            "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors ..."
        )

    check_device(CPU)
    monkeypatch.setattr(torch, "ones", fail)
    with pytest.raises(
        UserError, match=r"cuda does not compute \(.*no kernel image.*\); add hardware\.accelerator=cpu$"
    ):
        check_device(CUDA)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bfloat16_is_computed_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert multiplies_bfloat16(CUDA) == expected and not multiplies_bfloat16(MPS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f", False),
        ("flags\t\t: avx512f avx512_bf16", True),
        ("Features\t: fp asimd bf16", True),
    ],
)
def test_bfloat16_on_a_processor_is_told_by_linux(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, expected: bool
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\n{line}\n\nprocessor\t: 1\n")
    monkeypatch.setattr(devices, "Path", lambda _: file)
    assert multiplies_bfloat16(CPU) == expected
    file.unlink()  # not Linux
    assert not multiplies_bfloat16(CPU)


def test_convolutions_are_not_rounded_to_tf32() -> None:
    devices.use_exact_float32()
    assert torch.backends.cudnn.conv.fp32_precision != "tf32"  # type: ignore[attr-defined]
    # Still to be asked: Lightning, Inductor and torch.export do, and torch raises where settings contradict each other.
    assert torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32


def test_synchronizing_waits_for_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch, "accelerator", SimpleNamespace(synchronize=waited.append))
    for device in (CPU, CUDA, MPS):
        devices.synchronize(device)
    assert waited == [CUDA, MPS]
