"""`alexnet ensemble`: the average of several nets."""

import argparse
from pathlib import Path

from rich.console import Console

from alexnet.commands.arguments import Commands, add_split, add_view


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("ensemble", help="errors of the average of several nets")
    parser.add_argument("runs", nargs="+", type=Path, help="folders with probabilities.npz, or folders of them")
    add_split(parser, "train", "val", "test", default="test where they have it")
    add_view(parser)
    parser.add_argument("--output", type=Path, default=None, help="folder for ensemble.json and ensemble.md")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Average and report."""
    from alexnet.study.paper.ensemble_report import report_ensemble

    report_ensemble(options.runs, split=options.split, view=options.view, output=options.output, console=Console())
