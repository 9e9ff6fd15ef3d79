"""`alexnet prepare` and `alexnet verify`: make a pack, and check every byte of one."""

import argparse
from pathlib import Path

from alexnet.commands.arguments import Commands
from alexnet.errors import UserError


def add(commands: Commands) -> None:
    """Register the commands."""
    parser = commands.add_parser("prepare", help="images in class folders or archives -> a pack")
    parser.add_argument(
        "source", type=_path, help="folder of class folders, class tars or ImageNet's archives, or one archive"
    )
    parser.add_argument("pack", type=_path, help="directory to make")
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="SPLIT=FOLDER",
        help="train, val or test by the folder that holds it, as val=dev; none=FOLDER leaves one out (repeatable)",
    )
    parser.add_argument(
        "--drop-duplicates",
        action="store_true",
        help="leave out training images that are in val or test too, and all but one of the same pixels",
    )
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
        splits=_splits(options.split),
        drop_duplicates=options.drop_duplicates,
        size=options.size,
        val_fraction=options.val_fraction,
        test_fraction=options.test_fraction,
        seed=options.seed,
        encoding=options.encoding,
        jpeg=JpegQuality(quality=options.quality, subsampling=options.chroma_subsampling),
        workers=options.workers,
    )


def _path(text: str) -> Path:
    """A path; an empty text would be the folder that one happens to be in."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; give a path (is a variable unset?)")
    return Path(text)


def _splits(options: list[str]) -> dict[str, str]:
    """Splits by folder, of options such as `val=dev`."""
    from alexnet.data.sources.catalog import LEFT_OUT, SPLITS

    splits: dict[str, str] = {}
    for option in options:
        split, _, folder = option.partition("=")
        if split not in (*SPLITS, LEFT_OUT) or not folder:
            known = f"{', '.join(SPLITS)} or {LEFT_OUT}"
            raise UserError(f"--split {option}: give {known}, then = and a folder, as in val=dev")
        if folder in splits:
            raise UserError(f"--split {option}: {folder} is {splits[folder]} already; name each folder once")
        if split != LEFT_OUT and split in splits.values():
            raise UserError(f"--split {option}: {split} has a folder already; name one for each split")
        splits[folder] = split
    return splits


def run_verify(options: argparse.Namespace) -> None:
    """Check a pack; UserError names the damaged files."""
    from alexnet.data.pack.pack import verify

    report = verify(options.pack)
    if report.damage:
        files = "; ".join(f"{name}: {what}" for name, what in report.damage.items())
        raise UserError(f"{options.pack}: {len(report.damage):,} of {report.files:,} files are damaged ({files})")
    print(f"{options.pack}: {report.files:,} files, {report.bytes / 1e9:,.2f} GB, all as they were written")
