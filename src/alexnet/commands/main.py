"""The `alexnet` command: prepare images, describe networks, compare runs, save dashboards, look into trained networks.

Training is `alexnet train`, or `python train.py` in a checkout.
"""

import argparse
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from alexnet.commands import codes, describe, ensemble, evaluate, export, figures, predict, tables, verify
from alexnet.commands.arguments import add_split, add_view
from alexnet.errors import UserError, did_you_mean, one_line_errors

if TYPE_CHECKING:
    from alexnet.runs.wandb_names import Destination


def main(arguments: list[str] | None = None) -> None:
    """Run one subcommand; mistakes of the user become one line and exit code 1."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["train"]:  # Hydra's command line, which argparse must not see
        from alexnet.commands.train import main as train

        train(given[1:])
        return
    parser, commands = _parser()
    if given and not given[0].startswith("-") and given[0] not in commands:
        parser.error(f"{given[0]}: there is no such command{did_you_mean(given[0], commands)}")
    options = parser.parse_args(given)
    with one_line_errors():
        options.command(options)


def _parser() -> tuple[argparse.ArgumentParser, Collection[str]]:
    """The parser and the names of its commands."""
    parser = argparse.ArgumentParser(prog="alexnet", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_prepare(commands)
    describe.add(commands)
    _add_report(commands)
    _add_workspace(commands)
    _add_figure1(commands)
    for module in (verify, evaluate, predict, figures, codes, ensemble, tables, export):
        module.add(commands)
    return parser, commands.choices


def _add_prepare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("prepare", help="images in class folders or archives -> a pack")
    parser.add_argument(
        "source", type=Path, help="folder of class folders, class tars or ImageNet's archives, or one archive"
    )
    parser.add_argument("pack", type=Path, help="directory to make")
    parser.add_argument("--size", type=int, default=256, help="side of the square images in pixels (default 256)")
    parser.add_argument("--val-fraction", type=float, default=0.1, help="held out where there is no val (default 0.1)")
    parser.add_argument("--test-fraction", type=float, default=0.0, help="held out for testing (default 0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the held-out choice (default 0)")
    parser.add_argument(
        "--encoding",
        choices=("auto", "raw", "jpeg"),
        default="auto",
        help="raw: pixels; jpeg: a tenth of the room, decoded when used; auto: raw up to 4 GiB (default)",
    )
    parser.add_argument("--quality", type=int, default=90, help="of JPEG, 1 to 100 (default 90)")
    parser.add_argument(
        "--chroma-subsampling", choices=("444", "422", "420"), default="420", help="of JPEG (default 420)"
    )
    parser.add_argument("--workers", type=int, default=None, help="threads (default: one per core)")
    parser.add_argument("--md5", action="store_true", help="first compare archives with their published MD5 (minutes)")
    parser.set_defaults(command=_prepare)


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("report", help="compare runs: each ablation with its baseline")
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, or folders of them")
    parser.add_argument("--output", type=Path, default=None, help="folder for the page, picture, CSV and Markdown")
    _add_split_and_view(parser)
    parser.add_argument("--wandb", choices=("offline", "online"), default=None, help="also log it as a W&B run")
    parser.add_argument("--project", default=None, help="W&B project (default: that of the configuration)")
    parser.add_argument("--entity", default=None, help="W&B user or team (default: yours)")
    parser.set_defaults(command=_report)


def _add_workspace(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("workspace", help="save a W&B workspace and a W&B report about runs that are online")
    parser.add_argument("runs", nargs="+", type=Path, help="run directories, or folders of them")
    parser.add_argument("--project", required=True, help="W&B project that the runs are in")
    parser.add_argument("--entity", required=True, help="W&B user or team that the project belongs to")
    _add_split_and_view(parser)
    parser.set_defaults(command=_workspace)


def _add_split_and_view(parser: argparse.ArgumentParser) -> None:
    add_split(parser, "val", "test", default="test where the runs have it")
    add_view(parser)


def _add_figure1(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("figure1", help="how fast networks fit their training images, drawn as Figure 1")
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of experiment=figure1, or folders of them")
    parser.add_argument("--error", type=float, default=25.0, help="training error to come down to, %% (default 25)")
    parser.add_argument("--output", type=Path, default=None, help="folder for figure1.svg and figure1.csv")
    parser.set_defaults(command=_figure1)


# The subcommands import what they need when they run: a report should not wait for torch.
def _prepare(options: argparse.Namespace) -> None:
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


def _report(options: argparse.Namespace) -> None:
    from alexnet.study.report.report import report

    report(
        options.runs,
        output=options.output,
        split=options.split,
        view=options.view,
        console=Console(),
        wandb=_destination(options) if options.wandb else None,
    )


def _destination(options: argparse.Namespace) -> "Destination":
    from alexnet.config.groups import WandbConfig
    from alexnet.runs.wandb_names import check_login

    check_login(options.wandb)
    project = options.project or WandbConfig.project
    return WandbConfig(mode=options.wandb, project=project, entity=options.entity)


def _workspace(options: argparse.Namespace) -> None:
    try:
        from alexnet.study.report.workspace import save
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: pip install 'alexnet[dashboards]'") from None
    from alexnet.runs.wandb_names import check_login
    from alexnet.study.comparison import compare
    from alexnet.study.report.report import collect_some

    groups = compare(collect_some(options.runs).runs, split=options.split, view=options.view)
    check_login("online")
    for name, address in save(groups, entity=options.entity, project=options.project).items():
        print(f"{name}: {address}")


def _figure1(options: argparse.Namespace) -> None:
    from alexnet.study.paper.figure1 import figure1

    figure1(options.runs, target=options.error, output=options.output, console=Console())
