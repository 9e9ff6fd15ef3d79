"""Commands about finished runs: `alexnet report`, `workspace`, `figure1`, `tables` and `ensemble`."""

import argparse
from pathlib import Path

from rich.console import Console

from alexnet.commands.arguments import Commands, add_split, add_view
from alexnet.errors import UserError


def add(commands: Commands) -> None:
    """Register the commands."""
    runs = argparse.ArgumentParser(add_help=False)
    runs.add_argument("runs", nargs="+", type=Path, help="run directories, or folders of them")

    parser = commands.add_parser("report", parents=[runs], help="compare runs: each ablation with its baseline")
    parser.add_argument("--output", type=Path, default=None, help="folder for HTML, figure, CSV and Markdown")
    add_split(parser, "val", "test", default="test if the runs have it")
    add_view(parser)
    parser.add_argument("--wandb", choices=("offline", "online"), default=None, help="also log it as a W&B run")
    parser.add_argument("--project", default=None, help="W&B project (default: that of the configuration)")
    parser.add_argument("--entity", default=None, help="W&B user or team (default: yours)")
    parser.set_defaults(command=run)

    parser = commands.add_parser(
        "workspace", parents=[runs], help="save a W&B workspace and a W&B report about runs that are online"
    )
    parser.add_argument("--project", required=True, help="W&B project that the runs are in")
    parser.add_argument("--entity", required=True, help="W&B user or team that the project belongs to")
    add_split(parser, "val", "test", default="test if the runs have it")
    add_view(parser)
    parser.set_defaults(command=run_workspace)

    parser = commands.add_parser(
        "figure1", parents=[runs], help="how fast networks fit their training images, drawn as Figure 1"
    )
    parser.add_argument("--error", type=float, default=25.0, help="training error to reach, %% (default 25)")
    parser.add_argument("--output", type=Path, default=None, help="folder for figure1.svg and figure1.csv")
    parser.set_defaults(command=run_figure1)

    parser = commands.add_parser("tables", parents=[runs], help="the paper's Tables 1 and 2 with our results")
    parser.add_argument("--output", type=Path, default=None, help="folder for tables.md (default: that of the runs)")
    parser.set_defaults(command=run_tables)

    parser = commands.add_parser("ensemble", parents=[runs], help="errors of the average of several networks")
    add_split(parser, "train", "val", "test", default="test if they have it")
    add_view(parser)
    parser.add_argument("--output", type=Path, default=None, help="folder for ensemble.json and ensemble.md")
    parser.set_defaults(command=run_ensemble)


def run(options: argparse.Namespace) -> None:
    """Compare runs, and log the comparison if asked."""
    from alexnet.study.report.report import report

    wandb = None
    if options.wandb:
        from alexnet.config.values import WandbConfig
        from alexnet.runs.wandb_names import check_login

        check_login(options.wandb)
        project = options.project or WandbConfig.project
        wandb = WandbConfig(mode=options.wandb, project=project, entity=options.entity)
    report(
        options.runs,
        output=options.output,
        split=options.split,
        view=options.view,
        console=Console(),
        wandb=wandb,
    )


def run_workspace(options: argparse.Namespace) -> None:
    """Save a W&B workspace and report."""
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


def run_figure1(options: argparse.Namespace) -> None:
    """Draw Figure 1."""
    from alexnet.study.paper.figure1 import figure1

    figure1(options.runs, target=options.error, output=options.output, console=Console())


def run_tables(options: argparse.Namespace) -> None:
    """Print and write Tables 1 and 2."""
    from alexnet.study.paper.tables import report_tables

    report_tables(options.runs, output=options.output, console=Console())


def run_ensemble(options: argparse.Namespace) -> None:
    """Average networks and report."""
    from alexnet.study.paper.ensemble import report_ensemble

    report_ensemble(options.runs, split=options.split, view=options.view, output=options.output, console=Console())
