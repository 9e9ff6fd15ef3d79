"""`alexnet verify PACK`: is every byte of a pack as it was written?"""

import argparse
from pathlib import Path

from alexnet.commands.arguments import Commands
from alexnet.errors import UserError


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("verify", help="compare every file of a pack with its checksum")
    parser.add_argument("pack", type=Path, help="directory of the pack")
    parser.set_defaults(command=_verify)


def _verify(options: argparse.Namespace) -> None:
    from alexnet.data.pack.pack import verify

    report = verify(options.pack)
    if report.damage:
        files = "; ".join(f"{name}: {what}" for name, what in report.damage.items())
        raise UserError(f"{options.pack}: {len(report.damage):,} of {report.files:,} files are damaged ({files})")
    print(f"{options.pack}: {report.files:,} files, {report.bytes / 1e9:,.2f} GB, all as they were written")
