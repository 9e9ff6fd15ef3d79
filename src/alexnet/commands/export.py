"""`alexnet export`: weights for other programs."""

import argparse
from pathlib import Path

from alexnet.commands.arguments import Commands, add_checkpoint
from alexnet.errors import UserError
from alexnet.files import write_file
from alexnet.runs.directory import weights_file


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("export", help="a trained network as .safetensors or .onnx")
    add_checkpoint(parser)
    parser.add_argument("out", type=Path, help="file to write, .safetensors or .onnx")
    parser.add_argument(
        "--layout",
        choices=("grouped", "columns"),
        default="grouped",
        help="columns: a tensor for each column, as on the two GPUs of 2012; .safetensors only (default grouped)",
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Convert, check and write."""
    onnx = options.out.suffix == ".onnx"
    if not onnx and options.out.suffix != ".safetensors":
        raise UserError(f"{options.out}: choose a name that ends in .safetensors or .onnx")
    if onnx and options.layout != "grouped":
        raise UserError("--layout columns is for .safetensors: ONNX runtimes compute grouped convolutions")
    file = weights_file(options.checkpoint)

    from alexnet.trained.network import load_trained
    from alexnet.trained.onnx import onnx_bytes
    from alexnet.trained.weights import safetensors_bytes

    trained = load_trained(file)  # also for safetensors: a file that does not load is not passed on
    content = onnx_bytes(trained) if onnx else safetensors_bytes(trained.weights, options.layout)
    write_file(options.out, content)
    print(f"Written: {options.out}, {len(content):,} bytes")
