"""`alexnet import`: the weights of torchvision's AlexNet as a file for `alexnet predict` and the other commands."""

from pathlib import Path

from alexnet.errors import UserError, print_line
from alexnet.files import write_file


def run(source: Path, out: Path, *, pack: Path | None) -> None:
    """Convert and write; the names of the classes are a pack's, or torchvision's."""
    if out.suffix not in (".ckpt", ".safetensors"):
        raise UserError(f"{out}: choose a name that ends in .ckpt or .safetensors")
    if out.exists():
        raise UserError(f"{out}: exists; give another name, or remove it")

    from alexnet.config.job import check
    from alexnet.trained.torchvision_weights import OVERRIDES, convert, read_state
    from alexnet.trained.weights import checkpoint_bytes, safetensors_bytes

    state = read_state(source)
    names = _class_names(len(state["classifier.6.bias"]), pack)
    weights = convert(state, check(list(OVERRIDES)).tree, names, f"unknown, of {source.name}")
    write_file(out, checkpoint_bytes(weights) if out.suffix == ".ckpt" else safetensors_bytes(weights, "grouped"))
    print_line(f"Written: {out}, {len(names):,} classes, such as {names[0]}")
    print_line(f"next: alexnet predict {out} IMAGE, or alexnet evaluate {out} PACK")


def _class_names(count: int, pack: Path | None) -> list[str]:
    """Return the names of the classes in torchvision's order, that of their WordNet IDs, which packs have too."""
    if pack is None:
        from torchvision.models import AlexNet_Weights

        words = list(AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
        return words if count == len(words) else [str(number) for number in range(count)]

    from alexnet.data.pack.pack import open_pack

    names = open_pack(pack).class_names
    if len(names) != count:
        raise UserError(f"{pack} has {len(names):,} classes, and the weights are for {count:,}")
    return list(names)
