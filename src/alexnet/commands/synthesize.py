"""`alexnet synthesize`: a synthetic ImageNet, to rehearse preparing and training at full size."""

import argparse
from pathlib import Path

from alexnet.commands.arguments import Commands


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("synthesize", help="drawn JPEGs of ImageNet's sizes, for rehearsals without ImageNet")
    parser.add_argument("target", type=Path, help="folder to make, or with a name in .tar, a tar of class tars")
    parser.add_argument("--images", type=int, required=True, help="images for training")
    parser.add_argument("--val", type=int, default=0, help="images for validation (default 0)")
    parser.add_argument("--classes", type=int, default=1000, help="default 1000")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--workers", type=int, default=None, help="threads (default: one per core)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Draw and write."""
    from alexnet.data.synthesize import synthesize

    synthesize(
        options.target,
        images=options.images,
        classes=options.classes,
        val=options.val,
        seed=options.seed,
        workers=options.workers,
    )
