"""`alexnet figures`: the paper's Figures 3 and 4 for a trained network."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alexnet.commands.arguments import (
    Commands,
    add_checkpoint,
    add_class_names,
    add_split,
    display_names,
)
from alexnet.errors import UserError
from alexnet.files import write_file
from alexnet.runs.directory import FIGURES, weights_file

if TYPE_CHECKING:
    from alexnet.data.pack.splits import Split
    from alexnet.trained.network import TrainedModel

KERNELS, PREDICTIONS, NEIGHBORS = "figure3.svg", "figure4_left.svg", "figure4_right.svg"
PREDICTED_IMAGES = 8
QUERIES, NEAREST = 5, 6


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("figures", help="the paper's Figures 3 and 4 for a trained network")
    add_checkpoint(parser)
    parser.add_argument(
        "--pack", type=Path, default=None, help="images for Figure 4; without it only Figure 3 is drawn"
    )
    add_split(parser, "val", "test", default="test if the pack has it")
    parser.add_argument("--mistakes", action="store_true", help="Figure 4, left: only images that the net gets wrong")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of images (default 0)")
    add_class_names(parser)
    parser.add_argument("--output", type=Path, default=None, help="folder (default: figures/ in the run directory)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Draw Figure 3, and Figure 4 if there is a pack."""
    if options.seed < 0:
        raise UserError(f"--seed {options.seed} is negative")
    file = weights_file(options.checkpoint)

    from alexnet.data.pack.pack import open_pack
    from alexnet.evaluation.collect import first_layer
    from alexnet.study.paper.figures import draw_kernels
    from alexnet.trained.evaluate import chosen_splits
    from alexnet.trained.features import last_hidden
    from alexnet.trained.network import check_classes, load_trained

    pack = None if options.pack is None else open_pack(options.pack)
    trained = load_trained(file)
    folder = options.output or trained.directory / FIGURES
    figures = {KERNELS: draw_kernels(first_layer(trained.net), f"Kernels of the first layer, {trained.name}")}
    if pack is not None:
        check_classes(trained, pack)
        trained = replace(trained, class_names=display_names(trained.class_names, options.class_names))
        split = pack.splits[chosen_splits(pack, options.split)[-1]]
        order = np.random.default_rng(options.seed).permutation(len(split))
        figures[PREDICTIONS] = _predictions(trained, split, order, mistakes=options.mistakes)
        if layer := last_hidden(trained):
            queries = np.roll(order, -PREDICTED_IMAGES)[:QUERIES]  # different images from the left, if there are enough
            figures[NEIGHBORS] = _neighbors(trained, split, queries, pack.splits["train"], layer)
    for name, figure in figures.items():
        write_file(folder / name, figure)
    left_out = "" if pack else "; Figure 4 needs images: --pack PACK"
    print(f"Written to {folder}: {', '.join(figures)}{left_out}")


def _predictions(trained: "TrainedModel", split: "Split", order: NDArray[np.int64], *, mistakes: bool) -> str:
    """Draw Figure 4, left, from center crops as the authors' plotting tool does."""
    from alexnet.study.paper.figures import PredictedImage, draw_predictions
    from alexnet.trained.evaluate import top_predictions

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


def _neighbors(trained: "TrainedModel", split: "Split", queries: NDArray[np.int64], train: "Split", layer: str) -> str:
    """Draw Figure 4, right."""
    from alexnet.study.paper.figures import draw_neighbors
    from alexnet.trained.similar import nearest_training_images

    images, names = split.gather(queries), trained.class_names
    nearest, _ = nearest_training_images(trained, images, train, layer=layer, k=min(NEAREST, len(train)))
    rows = []
    for image, label, indices in zip(images, split.labels[queries], nearest, strict=True):
        shown = zip((image, *train.gather(indices)), (label, *train.labels[indices]), strict=True)
        rows.append([(pixels, names[number]) for pixels, number in shown])
    return draw_neighbors(rows, f"Nearest training images in the last hidden layer, {trained.name}")
