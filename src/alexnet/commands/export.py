"""`alexnet export` and `alexnet import`: weights for other programs, and those of torchvision's AlexNet."""

import shlex
import sys
from pathlib import Path

from alexnet.errors import UserError, print_line
from alexnet.files import check_writable, write_file


def export(file: Path, out: Path, *, layout: str) -> None:
    """Convert, check and write."""
    onnx = out.suffix == ".onnx"
    if not onnx and out.suffix != ".safetensors":
        raise UserError(f"{out}: choose a name that ends in .safetensors or .onnx")
    if onnx and layout != "grouped":
        raise UserError("--layout columns is for .safetensors: ONNX runtimes compute grouped convolutions")
    check_writable(out)

    from alexnet.devices import CPU
    from alexnet.trained.exchange import onnx_bytes
    from alexnet.trained.network import load_trained
    from alexnet.trained.weights import safetensors_bytes

    # On the CPU, which computes in float32 as ONNX runtimes do; for safetensors too, so that no file is passed on that
    # does not load.
    trained = load_trained(file, CPU)
    content = onnx_bytes(trained) if onnx else safetensors_bytes(trained.weights, layout)
    write_file(out, content)
    print_line(f"Written: {out}, {len(content):,} bytes")


def import_weights(source: Path, out: Path, *, pack: Path | None) -> None:
    """Convert torchvision's AlexNet and write it; the names of the classes are a pack's, or torchvision's."""
    if out.suffix not in (".ckpt", ".safetensors"):
        raise UserError(f"{out}: choose a name that ends in .ckpt or .safetensors")
    if out.exists():
        raise UserError(f"{out}: exists; give another name, or remove it")

    from alexnet.config.job import check
    from alexnet.trained.exchange import OVERRIDES, from_torchvision, read_torchvision
    from alexnet.trained.weights import checkpoint_bytes, safetensors_bytes

    if not source.exists():
        raise UserError(f"{source}: no such file; wanted is one of torch.save(torchvision_net.state_dict(), FILE)")
    state = read_torchvision(source)
    names = class_names(len(state["classifier.6.bias"]), pack)
    weights = from_torchvision(state, check(list(OVERRIDES)).tree, names, f"unknown, of {source.name}")
    write_file(out, checkpoint_bytes(weights) if out.suffix == ".ckpt" else safetensors_bytes(weights, "grouped"))
    print_line(f"Written: {out}, {len(names):,} classes, such as {names[0]}")
    file = shlex.quote(str(out))
    print_line(f"next: alexnet predict {file} IMAGE, or alexnet evaluate {file} PACK")


def class_names(count: int, pack: Path | None) -> list[str]:
    """Return the names of the classes of torchvision's weights: its own, or those of a pack in the pack's order.

    The weights name none, so that a note says in which order the pack's are taken: that of their WordNet IDs fits
    torchvision's. Folders that are numbers follow one another as 0, 1, 2 in a pack, and as 0, 1, 10 in torchvision's
    ImageFolder.

    Raises:
        UserError: the pack has another number of classes.
    """
    if pack is None:
        from torchvision.models import AlexNet_Weights

        words = list(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
        return words if count == len(words) else [str(number) for number in range(count)]

    from alexnet.data.pack.pack import open_pack

    names = open_pack(pack).class_names
    if len(names) != count:
        raise UserError(f"{pack} has {len(names):,} classes, and the weights are for {count:,}")
    listed = ", ".join(names[:3])
    what = f"note: the weights do not name their classes, which are taken in the order of {pack}, {listed}, ..."
    print_line(f"{what}; an error near chance on it means that theirs is another", file=sys.stderr)
    return list(names)
