"""`alexnet export`: weights for other programs."""

from pathlib import Path

from alexnet.errors import UserError, print_line
from alexnet.files import write_file


def run(file: Path, out: Path, *, layout: str) -> None:
    """Convert, check and write."""
    onnx = out.suffix == ".onnx"
    if not onnx and out.suffix != ".safetensors":
        raise UserError(f"{out}: choose a name that ends in .safetensors or .onnx")
    if onnx and layout != "grouped":
        raise UserError("--layout columns is for .safetensors: ONNX runtimes compute grouped convolutions")

    from alexnet.devices import CPU
    from alexnet.trained.network import load_trained
    from alexnet.trained.onnx import onnx_bytes
    from alexnet.trained.weights import safetensors_bytes

    # On the CPU, which computes in float32 as ONNX runtimes do; for safetensors too, so that no file is passed on that
    # does not load.
    trained = load_trained(file, CPU)
    content = onnx_bytes(trained) if onnx else safetensors_bytes(trained.weights, layout)
    write_file(out, content)
    print_line(f"Written: {out}, {len(content):,} bytes")
