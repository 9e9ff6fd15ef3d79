"""Arguments that several commands have in common."""

import argparse
from pathlib import Path
from typing import TypeAlias

from alexnet.errors import UserError
from alexnet.records import replace_file

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """The network that a command is about."""
    parser.add_argument(
        "checkpoint", type=Path, help="run directory (its last checkpoint is taken), .ckpt or .safetensors file"
    )


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file that a command was asked for, with its folder, complete or not at all.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
