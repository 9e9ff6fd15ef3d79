"""`alexnet similar` and `alexnet codes`: training images similar to an image, exactly and by short codes."""

import argparse
from pathlib import Path

from rich.console import Console

from alexnet.commands.arguments import Commands, add_checkpoint
from alexnet.runs.directory import weights_file

BITS = 64


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
    file = weights_file(options.checkpoint)

    from alexnet.trained.similar import find_similar

    find_similar(
        file,
        options.pack,
        queries=options.query,
        layer=options.layer,
        bits=options.codes,
        k=options.k,
        seed=options.seed,
        console=Console(),
    )


def run_codes(options: argparse.Namespace) -> None:
    """Train codes and compare them with exact search."""
    file = weights_file(options.checkpoint)

    from alexnet.trained.similar import make_codes

    make_codes(
        file,
        options.pack,
        bits=options.bits,
        layer=options.layer,
        epochs=options.epochs,
        seed=options.seed,
        console=Console(),
    )
