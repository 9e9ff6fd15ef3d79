"""`alexnet evaluate`: the errors of a trained network on a pack."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from alexnet.commands.arguments import Commands, add_checkpoint, add_split
from alexnet.errors import UserError
from alexnet.runs.directory import PROBABILITIES_FILE, RESULT_FILE, weights_file

if TYPE_CHECKING:
    from alexnet.data.pack.pack import Pack
    from alexnet.trained.network import TrainedModel


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("evaluate", help="errors of a trained network on a pack")
    add_checkpoint(parser)
    parser.add_argument("pack", type=Path, help="pack with the network's classes")
    add_split(parser, "train", "val", "test", default="val and test")
    parser.add_argument("--json", action="store_true", help="print the errors as JSON")
    parser.add_argument(
        "--predictions",
        type=Path,
        default=None,
        metavar="FOLDER",
        help=f"write the probabilities of all classes there, as {PROBABILITIES_FILE}, for alexnet ensemble",
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> None:
    """Evaluate, print, and write probabilities if asked."""
    file, folder = weights_file(options.checkpoint), options.predictions

    from alexnet.data.pack.pack import open_pack

    pack = open_pack(options.pack)

    from alexnet.evaluation.collect import error_rates
    from alexnet.evaluation.table import errors_table
    from alexnet.runs.predictions import write_probabilities
    from alexnet.trained.evaluate import chosen_splits, evaluate_pack
    from alexnet.trained.network import load_trained

    trained = load_trained(file)
    splits = chosen_splits(pack, options.split)
    if folder is not None:
        _check_folder(folder, trained, pack)
    predictions = evaluate_pack(trained, pack, splits, keep_probabilities=folder is not None)
    errors = error_rates(predictions)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_probabilities(
                folder,
                predictions,
                net=trained.name,
                fingerprint=pack.fingerprint,
                class_names=pack.class_names,
            )
        except OSError as error:
            raise UserError(f"{folder}: the probabilities cannot be written there: {error.strerror}") from None
    if options.json:
        rates = {split: {view: asdict(rates) for view, rates in views.items()} for split, views in errors.items()}
        facts = {"checkpoint": str(trained.path), "pack": str(pack.path), "fingerprint": pack.fingerprint}
        print(json.dumps({**facts, "errors": rates}, indent=2))
    else:
        console = Console()
        console.print(Text(f"{trained.name} on {pack.path}"), soft_wrap=True)
        console.print(errors_table(errors))


def _check_folder(folder: Path, trained: "TrainedModel", pack: "Pack") -> None:
    """Refuse a folder with files about another network or other images."""
    from alexnet.runs.predictions import read_header
    from alexnet.runs.result import read_result

    found = {}
    if (folder / RESULT_FILE).is_file():
        result = read_result(folder)
        found[RESULT_FILE] = (result.run, result.data.fingerprint)
    if (folder / PROBABILITIES_FILE).is_file():
        header = read_header(folder)
        found[PROBABILITIES_FILE] = (header.net, header.fingerprint)
    for name, (net, fingerprint) in found.items():
        if (net, fingerprint) != (trained.name, pack.fingerprint):
            other = net if net != trained.name else "other images"
            raise UserError(f"{folder / name} is about {other}: choose another folder")
