"""`alexnet tables`: the paper's Tables 1 and 2, ours beside."""

import argparse
from pathlib import Path

from rich.console import Console

from alexnet.commands.arguments import Commands


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("tables", help="the paper's Tables 1 and 2 with our errors beside")
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, or folders of them")
    parser.add_argument("--output", type=Path, default=None, help="folder for tables.md (default: that of the runs)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Print and write the tables."""
    from alexnet.study.paper.tables import report_tables

    report_tables(options.runs, output=options.output, console=Console())
