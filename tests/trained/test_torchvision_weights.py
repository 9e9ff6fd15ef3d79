"""torchvision's AlexNet, taken over: the same logits, and a line about any other layout."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models import AlexNet as TorchvisionAlexNet
from torchvision.transforms.functional import normalize

from alexnet.commands.main import main
from alexnet.config.job import check
from alexnet.devices import CPU
from alexnet.errors import UserError
from alexnet.evaluation import center_logits
from alexnet.trained.exchange import LAYERS, MEAN, OVERRIDES, STD, from_torchvision, read_torchvision
from alexnet.trained.network import build
from alexnet.trained.weights import Weights, checkpoint_bytes, read_weights

CLASSES = 6


@pytest.fixture(scope="module")
def model() -> TorchvisionAlexNet:
    """As torchvision makes it, with weights that are quick to draw and signals that reach the end."""
    with torch.device("meta"):
        net = TorchvisionAlexNet(num_classes=CLASSES)
    net = net.to_empty(device="cpu").eval().requires_grad_(False)
    draw = torch.Generator().manual_seed(3)
    for value in net.parameters():
        fan_in = value[0].numel()
        value.uniform_(-1, 1, generator=draw).mul_((6 / fan_in) ** 0.5 if value.ndim > 1 else 0.1)
    return net


def test_the_logits_are_those_of_torchvision(model: TorchvisionAlexNet) -> None:
    weights = from_torchvision(model.state_dict(), check(list(OVERRIDES)).tree, list("abcdef"), "unknown")
    trained = build(weights, Path("owt.ckpt"), CPU)
    pixels = torch.randint(0, 256, (2, 256, 256, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    crops = pixels[:, 16:240, 16:240].permute(0, 3, 1, 2)
    wanted: Tensor = model(normalize(crops / 255, MEAN, STD))
    ours = center_logits(trained.net, trained.augmenter, pixels)
    assert wanted.std() > 0.1
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_comes_back_as_written(tmp_path: Path) -> None:
    tensors = {"conv1.weight": torch.ones(2, 3), "mean_image": torch.ones(4, 4, 3)}
    weights = Weights(tensors=tensors, config={"seed": 0}, class_names=["a", "b"], data_fingerprint="unknown")
    (tmp_path / "owt.ckpt").write_bytes(checkpoint_bytes(weights))
    read = read_weights(tmp_path / "owt.ckpt")
    assert (read.config, read.class_names, read.data_fingerprint) == ({"seed": 0}, ["a", "b"], "unknown")
    assert read.tensors.keys() == tensors.keys() and set(read.model_state) == {"conv1.weight"}


def tiny_state(**changed: Tensor) -> dict[str, Tensor]:
    """Tensors of the right shapes that take no room in a file."""
    state = {}
    for layer, (_, shape) in LAYERS.items():
        sizes = [size if size > 0 else CLASSES for size in shape]
        state[f"{layer}.weight"], state[f"{layer}.bias"] = (
            torch.zeros(1).expand(sizes),
            torch.zeros(1).expand(sizes[:1]),
        )
    return state | changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"features.3.weight": torch.zeros(1).expand(256, 48, 5, 5)},
            r"features\.3\.weight is 256 x 48 x 5 x 5; conv2 of torchvision's AlexNet is 192 x 64 x 5 x 5",
        ),
        ({"features.12.weight": torch.zeros(1)}, r"features\.12\.weight is no part of torchvision's AlexNet"),
        ({}, "its tensors claim to be larger than the file"),
    ],
)
def test_other_layouts_are_refused_by_their_first_difference(
    tmp_path: Path, change: dict[str, Tensor], said: str
) -> None:
    torch.save(tiny_state(**change), tmp_path / "a.pth")
    with pytest.raises(UserError, match=said):
        read_torchvision(tmp_path / "a.pth")


def test_files_of_other_programs_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"conv1.weight": torch.zeros(96, 3, 11, 11)}, tmp_path / "caffe.pth")
    (tmp_path / "text.pth").write_text("no tensors")
    (tmp_path / "link.pth").symlink_to(tmp_path / "caffe.pth")
    for name, said in (
        ("caffe.pth", "it has no features.0.weight, which is conv1 of torchvision's AlexNet; it has conv1.weight"),
        ("text.pth", "damaged, or more than tensors"),
        ("link.pth", "a symbolic link"),
        ("none.pth", "no such file; wanted is one of torch.save("),
    ):
        with pytest.raises(SystemExit):
            main(["import", str(tmp_path / name), str(tmp_path / "out.ckpt")])
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1 and not (tmp_path / "out.ckpt").exists()
