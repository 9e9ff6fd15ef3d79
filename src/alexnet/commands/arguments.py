"""Arguments that several commands have in common."""

import argparse
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """The network that a command is about."""
    parser.add_argument(
        "checkpoint", type=Path, help="run directory (its last checkpoint is taken), .ckpt or .safetensors file"
    )
