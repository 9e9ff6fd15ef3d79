"""`alexnet predict`: the five most probable classes of any image files."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from alexnet.data.sources.file_names import told_apart
from alexnet.errors import UserError, print_line
from alexnet.files import check_writable, write_file
from alexnet.runs.directory import last_checkpoint
from alexnet.study.paper.figures import PredictedImage, draw_predictions
from alexnet.terminal import IMPORTING, Terminal, busy

BATCH_SIZE = 25
"""Images at a time; each counts ten times under ten crops."""
MAX_DRAWN = 64


def run(
    file: Path, images: list[Path], *, view: str, class_names: Path | None, as_json: bool, picture: Path | None
) -> None:
    """Predict, print and draw; exit code 1 if an image cannot be read."""
    if picture is not None and picture.suffix != ".svg":
        raise UserError(f"--picture {picture}: choose a name that ends in .svg")

    missing = {path: error for path in images if (error := _missing(path))}
    for path, error in missing.items():
        print_line(f"error: {path}: {error}", file=sys.stderr)
    if all(path in missing for path in images):
        if as_json:
            print(json.dumps([{"image": str(path), "error": missing[path]} for path in images], indent=2))
        sys.exit(1)
    if picture is not None:
        check_writable(picture)

    with busy(IMPORTING, Terminal(stderr=True)):
        from alexnet.data.sources.images import convert
        from alexnet.trained.evaluate import about, top_predictions
        from alexnet.trained.network import load_trained

        trained = load_trained(file)
    trained = replace(trained, class_names=display_names(trained.class_names, class_names))
    console = Terminal(quiet=as_json)
    entries: list[dict[str, Any]] = []
    drawn: list[PredictedImage] = []
    for start in range(0, len(images), BATCH_SIZE):
        batch = images[start : start + BATCH_SIZE]
        results = convert(list(batch), trained.config.scale.image_size)
        squares = [result.square for result in results if not isinstance(result, str)]
        predicted = iter(top_predictions(trained, np.stack(squares), view=view) if squares else [])
        for path, result in zip(batch, results, strict=True):
            if isinstance(result, str):
                if path not in missing:
                    print_line(f"error: {path}: {result}", file=sys.stderr)
                entries.append({"image": str(path), "error": missing.get(path, result)})
                continue
            if result.notes:
                print_line(f"note: {path}: {', '.join(result.notes)}", file=sys.stderr)
            top = next(predicted)
            console.print(Text(str(path), style="bold"), soft_wrap=True)  # paths stay whole
            for name, probability in top:
                console.print(Text(f"{100 * probability:7.1f} %  {name}"), soft_wrap=True)
            classes = [{"class": name, "probability": probability} for name, probability in top]
            entries.append({"image": str(path), "predictions": classes, "notes": result.notes})
            if picture is not None and len(drawn) < MAX_DRAWN:
                drawn.append(PredictedImage(image=result.square, caption=path.name, top_predictions=top))
    if any("predictions" in entry for entry in entries):
        console.print(about(trained, view))
    if as_json:
        print(json.dumps(entries, indent=2))
    if picture is not None and drawn:
        write_file(picture, draw_predictions(drawn, f"The five most probable classes, {trained.name}"))
        console.print(Text(f"Written to {picture}"), soft_wrap=True)
        if (count := sum("predictions" in entry for entry in entries)) > len(drawn):
            print_line(f"note: {picture} shows the first {len(drawn)} of {count} images", file=sys.stderr)
    if any("error" in entry for entry in entries):
        sys.exit(1)


def _missing(path: Path) -> str | None:
    if path.is_dir():
        if last_checkpoint(path).exists():
            return "it is a run directory: pass it first, then the images"
        below = "" if any(entry.is_file() for entry in path.iterdir()) else "*/"
        return f"it is a folder: pass its files, such as {path}/{below}*.jpg"
    return None if path.exists() else "no such file"


def display_names(class_names: list[str], file: Path | None) -> list[str]:
    """Return the names that a file of `--class-names` has for the classes; a class that it lacks keeps its own.

    Two classes with the same name have their own behind it: a mistake between them would pass for none.
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
    return told_apart([names.get(name, name) for name in class_names], class_names)
