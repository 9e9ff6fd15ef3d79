"""`alexnet verify`: compares every file of a pack with its checksum."""

from pathlib import Path

from alexnet.data.pack import pack as packs
from alexnet.errors import UserError, print_line


def run(pack: Path) -> None:
    """Check a pack; UserError names the damaged files."""
    report = packs.verify(pack)
    if report.damage:
        files = "; ".join(f"{name}: {what}" for name, what in report.damage.items())
        raise UserError(f"{pack}: {len(report.damage):,} of {report.files:,} files are damaged ({files})")
    print_line(f"{pack}: {report.files:,} files, {report.bytes / 1e9:,.2f} GB, all as they were written")
