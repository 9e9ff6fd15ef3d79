"""`alexnet predict`: the most probable classes of any image files."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.commands.arguments import Commands, add_checkpoint, add_names, called, write_file
from alexnet.errors import UserError

if TYPE_CHECKING:
    from alexnet.evaluation.trained import Trained

Guesses: TypeAlias = list[tuple[str, float]]
BATCH = 25
"""Images at a time; each counts ten times under ten crops."""
MOST_PICTURED = 64


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("predict", help="the five most probable classes of image files")
    add_checkpoint(parser)
    parser.add_argument("images", nargs="+", type=Path, help="image files of any size")
    parser.add_argument("--view", choices=("center", "ten_crop"), default="ten_crop", help="default: ten_crop")
    add_names(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--picture", type=Path, default=None, metavar="OUT.svg", help="draw the images with their classes"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Predict, print and draw; exit code 1 if an image could not be read."""
    from alexnet.evaluation.trained import load_trained

    if options.picture is not None and options.picture.suffix != ".svg":
        raise UserError(f"--picture {options.picture}: give a name that ends in .svg")
    trained = load_trained(options.checkpoint)
    trained = replace(trained, class_names=called(trained.class_names, options.names))
    outcomes: list[tuple[Path, Guesses | str]] = []
    pictured: list[tuple[Path, NDArray[np.uint8], Guesses]] = []
    for path, square, guesses in _predicted(trained, options.images, options.view):
        if square is None:
            print(f"error: {path}: {guesses}", file=sys.stderr)
        elif not isinstance(guesses, str) and len(pictured) < MOST_PICTURED:
            pictured.append((path, square, guesses))
        outcomes.append((path, guesses))
    if options.json:
        print(_json(outcomes))
    elif any(not isinstance(guesses, str) for _, guesses in outcomes):
        Console().print(_table(outcomes))
    if options.picture is not None and pictured:
        _draw(options.picture, pictured, trained.name)
    if any(isinstance(guesses, str) for _, guesses in outcomes):
        sys.exit(1)


def _predicted(
    trained: "Trained", paths: Sequence[Path], view: str
) -> Iterator[tuple[Path, NDArray[np.uint8] | None, Guesses | str]]:
    """Every path with its square and what the net makes of it, or with the reason why it cannot be read."""
    from alexnet.data.images import convert
    from alexnet.evaluation.guesses import guess

    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        squares = convert(list(part), trained.config.scale.image_size)
        readable = [square for square in squares if not isinstance(square, str)]
        guessed = iter(guess(trained, np.stack(readable), view=view) if readable else [])
        for path, square in zip(part, squares, strict=True):
            if isinstance(square, str):
                yield path, None, square if path.is_file() else _no_file(path)
            else:
                yield path, square, next(guessed)


def _table(outcomes: Sequence[tuple[Path, Guesses | str]]) -> Table:
    table = Table("image", "class", "probability")
    table.columns[2].justify = "right"
    for path, guesses in outcomes:
        if isinstance(guesses, str):
            continue
        for place, (name, probability) in enumerate(guesses):
            table.add_row(Text(str(path) if place == 0 else ""), Text(name), f"{100 * probability:.1f} %")
        table.add_section()
    return table


def _json(outcomes: Sequence[tuple[Path, Guesses | str]]) -> str:
    entries = [
        {"image": str(path), "error": guesses}
        if isinstance(guesses, str)
        else {
            "image": str(path),
            "predictions": [{"class": name, "probability": probability} for name, probability in guesses],
        }
        for path, guesses in outcomes
    ]
    return json.dumps(entries, indent=2)


def _draw(target: Path, pictured: Sequence[tuple[Path, NDArray[np.uint8], Guesses]], net: str) -> None:
    from alexnet.study.figure4 import Guessed, draw_guesses

    shown = [Guessed(image=square, caption=path.name, guesses=guesses) for path, square, guesses in pictured]
    write_file(target, draw_guesses(shown, f"The five most probable classes, {net}"))


def _no_file(path: Path) -> str:
    return f"it is a folder: give its files, such as {path}/*.jpg" if path.is_dir() else "there is no such file"
