"""`alexnet predict`: the five most probable classes of any image files."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from alexnet.commands.arguments import (
    Commands,
    add_checkpoint,
    add_class_names,
    add_view,
    display_names,
)
from alexnet.errors import UserError
from alexnet.files import write_file
from alexnet.runs.directory import weights_file

if TYPE_CHECKING:
    from alexnet.trained.network import TrainedModel

BATCH_SIZE = 25
"""Images at a time; each counts ten times under ten crops."""
MAX_DRAWN = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """An image file and its most probable classes, or why it cannot be read."""

    path: Path
    error: str | None = None
    top_predictions: Sequence[tuple[str, float]] = ()
    notes: Sequence[str] = ()
    """What is unusual about the file."""
    square: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    """uint8 [S, S, 3], as the net gets it."""


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("predict", help="the five most probable classes of image files")
    add_checkpoint(parser)
    parser.add_argument("images", nargs="+", type=Path, help="image files of any size")
    add_view(parser)
    add_class_names(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--picture", type=Path, default=None, metavar="OUT.svg", help="draw the images with their classes"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Predict, print and draw; exit code 1 if an image cannot be read."""
    if options.picture is not None and options.picture.suffix != ".svg":
        raise UserError(f"--picture {options.picture}: choose a name that ends in .svg")
    file = weights_file(options.checkpoint)

    from alexnet.trained.network import load_trained

    trained = load_trained(file)
    trained = replace(trained, class_names=display_names(trained.class_names, options.class_names))
    predictions: list[Prediction] = []
    drawn: list[Prediction] = []
    for one in _predict(trained, options.images, options.view):
        if one.error is not None:
            print(f"error: {one.path}: {one.error}", file=sys.stderr)
        elif one.notes:
            print(f"note: {one.path}: {', '.join(one.notes)}", file=sys.stderr)
        if one.error is None and len(drawn) < MAX_DRAWN:
            drawn.append(one)
        predictions.append(replace(one, square=one.square[:0]))
    if options.json:
        print(json.dumps([_json_entry(one) for one in predictions], indent=2))
    else:
        console = Console()
        for one in predictions:
            if one.error is None:
                console.print(Text(str(one.path), style="bold"), soft_wrap=True)  # paths stay whole
                for name, probability in one.top_predictions:
                    console.print(Text(f"{100 * probability:7.1f} %  {name}"), soft_wrap=True)
    if options.picture is not None and drawn:
        from alexnet.study.paper.figures import PredictedImage, draw_predictions

        shown = [
            PredictedImage(image=one.square, caption=one.path.name, top_predictions=one.top_predictions)
            for one in drawn
        ]
        write_file(options.picture, draw_predictions(shown, f"The five most probable classes, {trained.name}"))
    if any(one.error is not None for one in predictions):
        sys.exit(1)


def _predict(trained: "TrainedModel", paths: Sequence[Path], view: str) -> Iterator[Prediction]:
    """Yield a prediction for every path, in order."""
    from alexnet.data.sources.images import convert
    from alexnet.trained.evaluate import top_predictions

    for start in range(0, len(paths), BATCH_SIZE):
        batch = paths[start : start + BATCH_SIZE]
        results = convert(list(batch), trained.config.scale.image_size)
        squares = [result.square for result in results if not isinstance(result, str)]
        predicted = iter(top_predictions(trained, np.stack(squares), view=view) if squares else [])
        for path, result in zip(batch, results, strict=True):
            if not isinstance(result, str):
                yield Prediction(path=path, top_predictions=next(predicted), notes=result.notes, square=result.square)
            elif path.is_dir():
                yield Prediction(path=path, error=f"it is a folder: pass its files, such as {path}/*.jpg")
            else:
                yield Prediction(path=path, error=result if path.is_file() else "no such file")


def _json_entry(one: Prediction) -> dict[str, object]:
    if one.error is not None:
        return {"image": str(one.path), "error": one.error}
    predictions = [{"class": name, "probability": probability} for name, probability in one.top_predictions]
    return {"image": str(one.path), "predictions": predictions, "notes": one.notes}
