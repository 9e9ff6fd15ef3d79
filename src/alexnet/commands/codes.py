"""`alexnet codes` and `alexnet similar`: short binary codes, and the training images that are like an image."""

import argparse
from pathlib import Path

from rich.console import Console

from alexnet.commands.arguments import Commands, add_checkpoint

LAYER = "fc7"
BITS = 64
SEED = 0


def add(commands: Commands) -> None:
    """Register the commands."""
    _add_codes(commands)
    _add_similar(commands)


def _add_codes(commands: Commands) -> None:
    parser = commands.add_parser("codes", help="train short binary codes of a net's features (section 6.1)")
    _add_net_and_images(parser)
    parser.add_argument("--bits", type=int, default=BITS, help=f"length of a code, a multiple of 8 (default {BITS})")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the training images (default 30)")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the auto-encoder (default 0)")
    parser.set_defaults(command=_codes)


def _add_similar(commands: Commands) -> None:
    parser = commands.add_parser("similar", help="the training images nearest to an image, by a net's features")
    _add_net_and_images(parser)
    parser.add_argument("--query", nargs="+", type=Path, default=[], help="image files (default: five held-out images)")
    parser.add_argument(
        "--codes",
        nargs="?",
        type=int,
        const=BITS,
        default=None,
        metavar="BITS",
        help=f"search by codes that `alexnet codes` has made, of {BITS} bits unless a number is given",
    )
    parser.add_argument("-k", type=int, default=6, help="neighbours to list (default 6, as in Figure 4)")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the choice of queries (default 0)")
    parser.set_defaults(command=_similar)


def _add_net_and_images(parser: argparse.ArgumentParser) -> None:
    add_checkpoint(parser)
    parser.add_argument("pack", type=Path, help="pack, folder or archive with the training images")
    parser.add_argument("--layer", default=LAYER, help=f"layer whose activities are compared (default {LAYER})")


def _codes(options: argparse.Namespace) -> None:
    from alexnet.trained.retrieval import make_codes

    make_codes(
        options.checkpoint,
        options.pack,
        bits=options.bits,
        layer=options.layer,
        epochs=options.epochs,
        seed=options.seed,
        console=Console(),
    )


def _similar(options: argparse.Namespace) -> None:
    from alexnet.trained.retrieval import similar

    similar(
        options.checkpoint,
        options.pack,
        queries=options.query,
        layer=options.layer,
        bits=options.codes,
        k=options.k,
        seed=options.seed,
        console=Console(),
    )
