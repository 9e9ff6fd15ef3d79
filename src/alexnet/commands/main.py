"""The `alexnet` command: prepare images, describe networks, compare runs, look inside trained networks.

Training is `alexnet train`, or `python train.py` in a checkout.
"""

import argparse
import sys

from alexnet.commands import describe, evaluate, export, figures, predict, prepare, report, similar
from alexnet.errors import did_you_mean, one_line_errors

MODULES = (prepare, describe, report, evaluate, predict, figures, similar, export)


def main(arguments: list[str] | None = None) -> None:
    """Run one command. A user's mistake becomes one line and exit code 1."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["train"]:  # Hydra's command line, which argparse must not see
        from alexnet.commands.train import main as train

        train(given[1:])
        return
    parser = argparse.ArgumentParser(prog="alexnet", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for module in MODULES:
        module.add(commands)
    if given and not given[0].startswith("-") and given[0] not in commands.choices:
        parser.error(f"{given[0]}: no such command{did_you_mean(given[0], commands.choices)}")
    options = parser.parse_args(given)
    with one_line_errors():
        options.command(options)
