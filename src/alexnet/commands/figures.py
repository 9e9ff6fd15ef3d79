"""`alexnet figures`: the paper's Figures 3 and 4 for a trained network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.commands.predict import display_names
from alexnet.data.pack.pack import open_pack
from alexnet.data.pack.splits import Split
from alexnet.errors import UserError, print_line
from alexnet.evaluation import first_layer
from alexnet.files import check_writable, write_file
from alexnet.runs.directory import FIGURES
from alexnet.study.paper.figures import PredictedImage, draw_kernels, draw_neighbors, draw_predictions
from alexnet.trained.evaluate import chosen_splits, top_predictions
from alexnet.trained.network import TrainedModel, check_classes, load_trained
from alexnet.trained.similar import last_hidden, nearest_training_images
from alexnet.untrusted import refuse_link

KERNELS, PREDICTIONS, NEIGHBORS = "figure3.svg", "figure4_left.svg", "figure4_right.svg"
PREDICTED_IMAGES = 8
QUERIES, NEAREST = 5, 6


def run(
    file: Path,
    *,
    pack: Path | None,
    split: str | None,
    mistakes: bool,
    seed: int,
    class_names: Path | None,
    output: Path | None,
) -> None:
    images = None if pack is None else open_pack(pack)
    trained = load_trained(file)
    if output is None:
        refuse_link(trained.directory / FIGURES)
    folder = output or trained.directory / FIGURES
    check_writable(folder / KERNELS)
    figures = {KERNELS: draw_kernels(first_layer(trained.net), f"Kernels of the first layer, {trained.name}")}
    if images is not None:
        check_classes(trained, images)
        trained = replace(trained, class_names=display_names(trained.class_names, class_names))
        shown = images.splits[chosen_splits(images, split)[-1]]
        order = np.random.default_rng(seed).permutation(len(shown))
        figures[PREDICTIONS] = _predictions(trained, shown, order, mistakes=mistakes)
        if layer := last_hidden(trained):
            queries = np.roll(order, -PREDICTED_IMAGES)[:QUERIES]  # different images from the left, if there are enough
            figures[NEIGHBORS] = _neighbors(trained, shown, queries, images.splits["train"], layer)
    for name, figure in figures.items():
        write_file(folder / name, figure)
    left_out = "" if images else "; Figure 4 needs images: --pack PACK"
    print_line(f"Written to {folder}: {', '.join(figures)}{left_out}")


def _predictions(trained: TrainedModel, split: Split, order: NDArray[np.int64], *, mistakes: bool) -> str:
    """Draw Figure 4, left, from center crops as the authors' plotting tool does."""
    shown: list[PredictedImage] = []
    for start in range(0, len(order), PREDICTED_IMAGES):
        chosen = order[start : start + PREDICTED_IMAGES]
        images = split.gather(chosen)
        predicted = top_predictions(trained, images, view="center")
        for image, label, predictions in zip(images, split.labels[chosen], predicted, strict=True):
            truth = trained.class_names[label]
            if not mistakes or predictions[0][0] != truth:
                shown.append(PredictedImage(image=image, top_predictions=predictions, truth=truth))
        if len(shown) >= PREDICTED_IMAGES:
            break
    if not shown:
        raise UserError(f"{trained.name} makes no mistake on these {len(split):,} images: leave out --mistakes")
    chosen_by = "drawn at random among its mistakes" if mistakes else "drawn at random"
    title = f"The five most probable classes, {trained.name}; images {chosen_by}"
    return draw_predictions(shown[:PREDICTED_IMAGES], title)


def _neighbors(trained: TrainedModel, split: Split, queries: NDArray[np.int64], train: Split, layer: str) -> str:
    """Draw Figure 4, right."""
    images, names = split.gather(queries), trained.class_names
    nearest, _ = nearest_training_images(trained, images, train, layer=layer, k=min(NEAREST, len(train)))
    rows = []
    for image, label, indices in zip(images, split.labels[queries], nearest, strict=True):
        shown = zip((image, *train.gather(indices)), (label, *train.labels[indices]), strict=True)
        rows.append([(pixels, names[number]) for pixels, number in shown])
    return draw_neighbors(rows, f"Nearest training images in the last hidden layer, {trained.name}")
