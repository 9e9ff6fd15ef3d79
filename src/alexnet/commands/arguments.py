"""Arguments that several commands have in common."""

import argparse
from pathlib import Path
from typing import TypeAlias

from alexnet.errors import UserError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """The network that a command is about."""
    parser.add_argument(
        "checkpoint", type=Path, help="run directory (its last checkpoint is taken), .ckpt or .safetensors file"
    )


def add_names(parser: argparse.ArgumentParser) -> None:
    """What classes are called where their names are codes, such as ImageNet's."""
    parser.add_argument(
        "--names",
        type=Path,
        default=None,
        metavar="FILE",
        help="what classes are called: lines of a class, a space or tab, and words, as in ImageNet's words.txt",
    )


def add_split(parser: argparse.ArgumentParser, *splits: str, default: str) -> None:
    """Which images; `default` says in words what None stands for."""
    parser.add_argument("--split", choices=splits, default=None, help=f"default: {default}")


def add_view(parser: argparse.ArgumentParser) -> None:
    """How each image is looked at."""
    parser.add_argument("--view", choices=("center", "ten_crop"), default="ten_crop", help="default: ten_crop")


def called(class_names: list[str], names: Path | None) -> list[str]:
    """The classes by the words that a file of `--names` has for them, else by their own names.

    Raises:
        UserError: the file cannot be read, or has words for none of them.
    """
    if names is None:
        return class_names
    try:
        lines = [line.strip().split(None, 1) for line in names.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--names {names}: cannot be read: {getattr(error, 'strerror', error)}") from None
    words = {line[0]: line[1] for line in lines if len(line) == 2}
    if not words.keys() & set(class_names):
        raise UserError(f"--names {names}: no line begins with a class of the network, such as {class_names[0]}")
    return [words.get(name, name) for name in class_names]
