"""`alexnet prepare` and `alexnet verify`: make a pack, and check every byte of one."""

import argparse
from pathlib import Path

from alexnet.commands.arguments import Commands
from alexnet.errors import UserError


def add(commands: Commands) -> None:
    """Register the commands."""
    parser = commands.add_parser("prepare", help="images in class folders or archives -> a pack")
    parser.add_argument(
        "source", type=Path, help="folder of class folders, class tars or ImageNet's archives, or one archive"
    )
    parser.add_argument("pack", type=Path, help="directory to make")
    parser.add_argument("--size", type=int, default=256, help="side of the square images in pixels (default 256)")
    parser.add_argument("--val-fraction", type=float, default=0.1, help="held out if there is no val (default 0.1)")
    parser.add_argument("--test-fraction", type=float, default=0.0, help="held out for testing (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the held-out choice (default 0)")
    parser.add_argument(
        "--encoding",
        choices=("auto", "raw", "jpeg"),
        default="auto",
        help="raw: pixels; jpeg: a tenth of the size, decoded when used; auto: raw up to 4 GiB (default)",
    )
    parser.add_argument("--quality", type=int, default=90, help="JPEG quality, 1 to 100 (default 90)")
    parser.add_argument(
        "--chroma-subsampling", choices=("444", "422", "420"), default="420", help="of JPEG (default 420)"
    )
    parser.add_argument("--workers", type=int, default=None, help="threads (default: one per core)")
    parser.add_argument("--md5", action="store_true", help="first compare archives with their published MD5 (minutes)")
    parser.set_defaults(command=run)
    parser = commands.add_parser("verify", help="compare every file of a pack with its checksum")
    parser.add_argument("pack", type=Path, help="directory of the pack")
    parser.set_defaults(command=run_verify)


def run(options: argparse.Namespace) -> None:
    """Make a pack."""
    from alexnet.data.jpeg import JpegQuality
    from alexnet.data.pack.prepare import prepare
    from alexnet.data.sources.downloads import check

    if options.md5:
        check(options.source)
    prepare(
        options.source,
        options.pack,
        size=options.size,
        val_fraction=options.val_fraction,
        test_fraction=options.test_fraction,
        seed=options.seed,
        encoding=options.encoding,
        jpeg=JpegQuality(quality=options.quality, subsampling=options.chroma_subsampling),
        workers=options.workers,
    )


def run_verify(options: argparse.Namespace) -> None:
    """Check a pack; UserError names the damaged files."""
    from alexnet.data.pack.pack import verify

    report = verify(options.pack)
    if report.damage:
        files = "; ".join(f"{name}: {what}" for name, what in report.damage.items())
        raise UserError(f"{options.pack}: {len(report.damage):,} of {report.files:,} files are damaged ({files})")
    print(f"{options.pack}: {report.files:,} files, {report.bytes / 1e9:,.2f} GB, all as they were written")
