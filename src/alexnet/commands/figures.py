"""`alexnet figures`: the paper's Figures 3 and 4 of a trained network."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from alexnet.commands.arguments import Commands, add_checkpoint, add_names, add_split, called
from alexnet.errors import UserError
from alexnet.files import write_file

if TYPE_CHECKING:
    from alexnet.data.pack.pack import Pack
    from alexnet.data.pack.splits import Split
    from alexnet.study.paper.figures import PredictedImage
    from alexnet.trained.network import TrainedModel

KERNELS, GUESSES, NEIGHBOURS = "figure3.svg", "figure4_left.svg", "figure4_right.svg"
GUESSED_IMAGES = 8
QUERIES, NEAREST = 5, 6


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("figures", help="the paper's Figures 3 and 4 of a trained network")
    add_checkpoint(parser)
    parser.add_argument(
        "--pack", type=Path, default=None, help="images for Figure 4; without it only Figure 3 is drawn"
    )
    add_split(parser, "val", "test", default="test where the pack has it")
    parser.add_argument("--mistakes", action="store_true", help="Figure 4, left: only images that the net gets wrong")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of images (default 0)")
    add_names(parser)
    parser.add_argument("--output", type=Path, default=None, help="folder (default: figures/ in the run directory)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Draw what there are data for."""
    from alexnet.data.pack.pack import open_pack
    from alexnet.trained.network import check_classes, load_trained
    from alexnet.trained.similar import last_hidden

    if options.seed < 0:
        raise UserError(f"--seed {options.seed} is negative")
    pack = None if options.pack is None else open_pack(options.pack)
    trained = load_trained(options.checkpoint)
    folder = options.output or trained.directory / "figures"
    pictures = {KERNELS: _figure3(trained)}
    if pack is not None:
        check_classes(trained, pack)
        trained = replace(trained, class_names=called(trained.class_names, options.names))
        split = pack.splits[_split(pack, options.split)]
        pictures[GUESSES] = _figure4_left(trained, split, options.seed, mistakes=options.mistakes)
        if layer := last_hidden(trained):
            pictures[NEIGHBOURS] = _figure4_right(trained, split, pack.splits["train"], options.seed, layer)
    for name, picture in pictures.items():
        write_file(folder / name, picture)
    left_out = "" if pack else "; Figure 4 needs images: --pack PACK"
    Console().print(
        f"Written to {folder}: {', '.join(pictures)}{left_out}", markup=False, highlight=False, soft_wrap=True
    )


def _split(pack: "Pack", wanted: str | None) -> str:
    from alexnet.trained.evaluate import chosen_splits

    return chosen_splits(pack, wanted)[-1]


def _figure3(trained: "TrainedModel") -> str:
    from alexnet.evaluation.collect import first_layer
    from alexnet.study.paper.figures import draw_kernels

    return draw_kernels(first_layer(trained.net), f"Kernels of the first layer, {trained.name}")


def _figure4_left(trained: "TrainedModel", split: "Split", seed: int, *, mistakes: bool) -> str:
    from alexnet.study.paper.figures import draw_predictions

    order = np.random.default_rng(seed).permutation(len(split))
    shown: list[PredictedImage] = []
    for start in range(0, len(order), GUESSED_IMAGES):
        guessed = _guessed(trained, split, order[start : start + GUESSED_IMAGES])
        shown += [one for one in guessed if not mistakes or one.top_predictions[0][0] != one.truth]
        if len(shown) >= GUESSED_IMAGES:
            break
    if not shown:
        raise UserError(f"{trained.name} makes no mistake on these {len(split):,} images: leave out --mistakes")
    chosen = "drawn at random among its mistakes" if mistakes else "drawn at random"
    return draw_predictions(shown[:GUESSED_IMAGES], f"The five most probable classes, {trained.name}; images {chosen}")


def _guessed(trained: "TrainedModel", split: "Split", chosen: "np.typing.NDArray[np.int64]") -> "list[PredictedImage]":
    """Of the centre crop alone, as the authors' plotting tool."""
    from alexnet.study.paper.figures import PredictedImage
    from alexnet.trained.evaluate import top_predictions

    images = split.gather(chosen)
    truths = [trained.class_names[label] for label in split.labels[chosen]]
    return [
        PredictedImage(image=image, top_predictions=guesses, truth=truth)
        for image, truth, guesses in zip(images, truths, top_predictions(trained, images, view="center"), strict=True)
    ]


def _figure4_right(trained: "TrainedModel", split: "Split", train: "Split", seed: int, layer: str) -> str:
    from alexnet.study.paper.figures import Neighborhood, draw_neighbors
    from alexnet.trained.similar import nearest_training_images

    order = np.random.default_rng(seed).permutation(len(split))
    queries = np.roll(order, -GUESSED_IMAGES)[:QUERIES]  # other images than on the left, where there are enough
    k = min(NEAREST, len(train))
    nearest = nearest_training_images(trained, split.gather(queries), train, layer=layer, k=k).indices.numpy()
    names = trained.class_names
    rows = [
        Neighborhood(
            query=(split.gather(queries[[place]])[0], names[split.labels[query]]),
            neighbors=[
                (image, names[label]) for image, label in zip(train.gather(found), train.labels[found], strict=True)
            ],
        )
        for place, (query, found) in enumerate(zip(queries, nearest, strict=True))
    ]
    return draw_neighbors(rows, f"Nearest training images in the last hidden layer, {trained.name}")
