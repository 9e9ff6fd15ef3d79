"""`alexnet similar` and `alexnet codes`: training images similar to an image, exactly and by short codes."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.commands.arguments import Commands, add_checkpoint
from alexnet.errors import UserError
from alexnet.runs.directory import weights_file

if TYPE_CHECKING:
    from alexnet.data.pack.pack import Pack
    from alexnet.trained.network import TrainedModel

BITS = 64
FIGURE_4 = 5
"""Query images in the paper's figure."""


def add(commands: Commands) -> None:
    """Register the commands."""
    common = argparse.ArgumentParser(add_help=False)
    add_checkpoint(common)
    common.add_argument("pack", type=Path, help="pack, folder or archive with the training images")
    common.add_argument("--layer", default="fc7", help="layer whose activations are compared (default fc7)")
    common.add_argument("--seed", type=int, default=0, help="seed of the random queries or the autoencoder (default 0)")

    parser = commands.add_parser("codes", parents=[common], help="train short binary codes of features (section 6.1)")
    parser.add_argument("--bits", type=int, default=BITS, help=f"length of a code, a multiple of 8 (default {BITS})")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training images (default 30)")
    parser.set_defaults(command=run_codes)

    parser = commands.add_parser("similar", parents=[common], help="the training images nearest to an image")
    parser.add_argument("--query", nargs="+", type=Path, default=[], help="image files (default: five held-out images)")
    parser.add_argument(
        "--codes",
        nargs="?",
        type=int,
        const=BITS,
        default=None,
        metavar="BITS",
        help=f"search by codes that `alexnet codes` has made (default {BITS} bits)",
    )
    parser.add_argument("-k", type=int, default=6, help="neighbors to list (default 6, as in Figure 4)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """List the neighbors of each query."""
    file, k, layer = weights_file(options.checkpoint), options.k, options.layer

    from alexnet.trained.similar import draw_images, nearest_by_codes, nearest_training_images, read_images

    trained, pack = _open(file, options.pack)
    if options.query:
        names, images = [str(path) for path in options.query], read_images(options.query, pack.image_size)
    else:
        names, images = draw_images(pack, FIGURE_4, options.seed)
    train = pack.splits["train"]
    if not 1 <= k <= len(train):
        raise UserError(f"-k {k}: the pack has {len(train):,} training images")
    if options.codes is None:
        indices, distances = nearest_training_images(trained, images, train, layer=layer, k=k)
    else:
        indices, distances = nearest_by_codes(trained, images, pack, layer=layer, bits=options.codes, k=k)
    console = Console()
    for name, *found in zip(names, indices, distances, strict=True):
        table = _table("training image", "class", "bits" if options.codes else "distance", texts=2)
        for index, distance in zip(*found, strict=True):
            table.add_row(f"#{index}", Text(pack.class_names[train.labels[index]]), f"{distance:.6g}")
        console.print(Text(name, style="italic"), soft_wrap=True)
        console.print(table)


def run_codes(options: argparse.Namespace) -> None:
    """Train codes, save them with the run, and compare them with exact search."""
    file, bits, layer = weights_file(options.checkpoint), options.bits, options.layer

    from alexnet.trained.similar import make_codes

    trained, pack = _open(file, options.pack)
    path, facts = make_codes(trained, pack, bits=bits, layer=layer, epochs=options.epochs, seed=options.seed)
    table = _table("search by", *(f"precision at {k}" for k in facts["exact"]["precision"]), "bytes an image", texts=1)
    table.title = (
        f"{trained.name}: {facts['queries']:,} queries among {facts['images']:,} training images,"
        f" {layer} ({facts['dimensions']} units)"
    )
    for name, search in (("Euclidean distance", facts["exact"]), (f"{bits}-bit codes", facts["codes"])):
        shares = (f"{100 * share:.1f} %" for share in search["precision"].values())
        table.add_row(name, *shares, f"{search['bytes_per_image']:,}")
    console = Console()
    console.print(table)
    console.print(f"-> {path}", highlight=False, soft_wrap=True)


def _open(file: Path, source: Path) -> "tuple[TrainedModel, Pack]":
    """Open a net, and the images of any source, which must have its size."""
    from alexnet.config.values import DataConfig
    from alexnet.data.pack.sets import open_data
    from alexnet.trained.network import load_trained

    trained = load_trained(file)
    return trained, open_data(DataConfig(name="folder", root=str(source)), trained.config.scale.image_size)


def _table(*headings: str, texts: int) -> Table:
    """Make a table whose columns after the first `texts` hold numbers."""
    table = Table(*headings, title_justify="left", box=SIMPLE)
    for column in table.columns[texts:]:
        column.justify = "right"
    return table
