"""`alexnet export`: weights for other programs."""

import argparse
from pathlib import Path

from rich.console import Console

from alexnet.commands.arguments import Commands, add_checkpoint
from alexnet.errors import UserError
from alexnet.files import write_file


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("export", help="a trained network as .safetensors or .onnx")
    add_checkpoint(parser)
    parser.add_argument("out", type=Path, help="file to write; its suffix says what: .safetensors or .onnx")
    parser.add_argument(
        "--layout",
        choices=("grouped", "columns"),
        default="grouped",
        help="columns: a tensor for each column, as on the two devices of 2012; .safetensors only (default grouped)",
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Convert, check and write."""
    from alexnet.trained.network import load_trained
    from alexnet.trained.onnx import onnx_bytes
    from alexnet.trained.weights import SAFETENSORS, safetensors_bytes

    suffix = options.out.suffix
    if suffix not in (SAFETENSORS, ".onnx"):
        raise UserError(f"{options.out}: give a name that ends in {SAFETENSORS} or .onnx")
    if suffix == ".onnx" and options.layout != "grouped":
        raise UserError("--layout columns is for .safetensors: ONNX runtimes compute grouped convolutions")
    # Also where tensors would do: a file that does not load is not passed on.
    trained = load_trained(options.checkpoint)
    content = onnx_bytes(trained) if suffix == ".onnx" else safetensors_bytes(trained.weights, options.layout)
    write_file(options.out, content)
    Console().print(f"Written: {options.out}, {len(content):,} bytes", markup=False, highlight=False, soft_wrap=True)
