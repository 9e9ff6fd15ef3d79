"""`alexnet predict`: the most probable classes of any image files."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from alexnet.commands.arguments import Commands, add_checkpoint, add_names, add_view, called
from alexnet.errors import UserError
from alexnet.files import write_file

if TYPE_CHECKING:
    from alexnet.trained.network import TrainedModel


Guesses: TypeAlias = list[tuple[str, float]]
BATCH = 25
"""Images at a time; each counts ten times under ten crops."""
MOST_PICTURED = 64


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """An image and its most probable classes."""

    path: Path
    guesses: Guesses
    unusual: tuple[str, ...]
    """What is out of the ordinary about the file, in the words of `alexnet.data.sources.images`."""


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """An image that cannot be used."""

    path: Path
    reason: str


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("predict", help="the five most probable classes of image files")
    add_checkpoint(parser)
    parser.add_argument("images", nargs="+", type=Path, help="image files of any size")
    add_view(parser)
    add_names(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--picture", type=Path, default=None, metavar="OUT.svg", help="draw the images with their classes"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Predict, print and draw; exit code 1 if an image could not be read."""
    from alexnet.trained.network import load_trained

    if options.picture is not None and options.picture.suffix != ".svg":
        raise UserError(f"--picture {options.picture}: give a name that ends in .svg")
    trained = load_trained(options.checkpoint)
    trained = replace(trained, class_names=called(trained.class_names, options.names))
    outcomes: list[Predicted | Unreadable] = []
    pictured: list[tuple[Predicted, NDArray[np.uint8]]] = []
    for outcome, square in _predicted(trained, options.images, options.view):
        outcomes.append(outcome)
        if isinstance(outcome, Unreadable):
            print(f"error: {outcome.path}: {outcome.reason}", file=sys.stderr)
            continue
        if outcome.unusual:
            print(f"note: {outcome.path}: {', '.join(outcome.unusual)}", file=sys.stderr)
        if square is not None and len(pictured) < MOST_PICTURED:
            pictured.append((outcome, square))
    if options.json:
        print(_json(outcomes))
    else:
        _print([outcome for outcome in outcomes if isinstance(outcome, Predicted)])
    if options.picture is not None and pictured:
        _draw(options.picture, pictured, trained.name)
    if any(isinstance(outcome, Unreadable) for outcome in outcomes):
        sys.exit(1)


def _predicted(
    trained: "TrainedModel", paths: Sequence[Path], view: str
) -> Iterator[tuple[Predicted | Unreadable, NDArray[np.uint8] | None]]:
    """What the net makes of every path, with its square, or why it cannot be read."""
    from alexnet.data.sources.images import convert
    from alexnet.trained.evaluate import top_predictions

    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        results = convert(list(part), trained.config.scale.image_size)
        readable = [result.square for result in results if not isinstance(result, str)]
        guessed = iter(top_predictions(trained, np.stack(readable), view=view) if readable else [])
        for path, result in zip(part, results, strict=True):
            if isinstance(result, str):
                yield Unreadable(path=path, reason=result if path.is_file() else _no_file(path)), None
            else:
                yield Predicted(path=path, guesses=next(guessed), unusual=result.notes), result.square


def _print(predicted: Sequence[Predicted]) -> None:
    """Each image with its classes below it: a path has a line of its own, so that it stays whole."""
    console = Console()
    for one in predicted:
        console.print(Text(str(one.path), style="bold"), soft_wrap=True)
        for name, probability in one.guesses:
            console.print(Text(f"{100 * probability:7.1f} %  {name}"), soft_wrap=True)


def _json(outcomes: Sequence[Predicted | Unreadable]) -> str:
    entries = [
        {"image": str(one.path), "error": one.reason}
        if isinstance(one, Unreadable)
        else {
            "image": str(one.path),
            "predictions": [{"class": name, "probability": probability} for name, probability in one.guesses],
            "unusual": one.unusual,
        }
        for one in outcomes
    ]
    return json.dumps(entries, indent=2)


def _draw(target: Path, pictured: Sequence[tuple[Predicted, NDArray[np.uint8]]], net: str) -> None:
    from alexnet.study.paper.figures import PredictedImage, draw_predictions

    shown = [
        PredictedImage(image=square, caption=one.path.name, top_predictions=one.guesses) for one, square in pictured
    ]
    write_file(target, draw_predictions(shown, f"The five most probable classes, {net}"))


def _no_file(path: Path) -> str:
    return f"it is a folder: give its files, such as {path}/*.jpg" if path.is_dir() else "there is no such file"
