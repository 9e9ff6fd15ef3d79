"""Arguments that several commands share.

Commands import torch when they run, not at the top: help and refusals do not wait for it.
"""

import argparse
from pathlib import Path
from typing import TypeAlias

from alexnet.errors import UserError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  typeshed has no public name


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the trained network."""
    parser.add_argument(
        "checkpoint", type=Path, help="run directory (its last checkpoint is taken), .ckpt or .safetensors file"
    )


def add_class_names(parser: argparse.ArgumentParser) -> None:
    """Add names to display for classes that are named by codes, such as ImageNet's."""
    parser.add_argument(
        "--class-names",
        type=Path,
        default=None,
        metavar="FILE",
        help="names to display: lines of a class, a space or tab, and words, as in ImageNet's words.txt",
    )


def add_split(parser: argparse.ArgumentParser, *splits: str, default: str) -> None:
    """Add the choice of images; `default` says in words what None means."""
    parser.add_argument("--split", choices=splits, default=None, help=f"default: {default}")


def add_view(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the test-time view."""
    parser.add_argument("--view", choices=("center", "ten_crop"), default="ten_crop", help="default: ten_crop")


def display_names(class_names: list[str], file: Path | None) -> list[str]:
    """Return the names that a file of `--class-names` has for the classes; a class that it lacks keeps its own.

    Raises:
        UserError: the file cannot be read, or has none of the classes.
    """
    if file is None:
        return class_names
    try:
        lines = [line.strip().split(None, 1) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--class-names {file}: cannot be read: {getattr(error, 'strerror', error)}") from None
    names = {line[0]: line[1] for line in lines if len(line) == 2}
    if not names.keys() & set(class_names):
        raise UserError(f"--class-names {file}: no line begins with a class of the network, such as {class_names[0]}")
    return [names.get(name, name) for name in class_names]
