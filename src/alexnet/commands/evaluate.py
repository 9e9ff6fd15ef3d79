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
from alexnet.runs.directory import PROBABILITIES_FILE, RESULT_FILE
from alexnet.runs.probabilities import read_answered, write_probabilities
from alexnet.runs.result import read_result

if TYPE_CHECKING:
    from alexnet.data.pack.pack import Pack
    from alexnet.evaluation.collect import PredictionStore
    from alexnet.trained.network import TrainedModel


def add(commands: Commands) -> None:
    """Register the command."""
    parser = commands.add_parser("evaluate", help="errors of a trained network on a pack")
    add_checkpoint(parser)
    parser.add_argument("pack", type=Path, help="pack whose classes are the network's")
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
    """Evaluate, print, and write on demand."""
    from alexnet.data.pack.pack import open_pack
    from alexnet.evaluation.collect import error_rates
    from alexnet.evaluation.table import errors_table
    from alexnet.trained.evaluate import chosen_splits, evaluate_pack
    from alexnet.trained.network import load_trained

    pack = open_pack(options.pack)
    trained = load_trained(options.checkpoint)
    splits = chosen_splits(pack, options.split)
    if options.predictions is not None:
        _check_folder(options.predictions, trained, pack)
    store = evaluate_pack(trained, pack, splits, keep_probabilities=options.predictions is not None)
    errors = error_rates(store.collect(splits))
    if options.predictions is not None:
        _write(options.predictions, trained, pack, store, splits)
    if options.json:
        rates = {split: {view: asdict(rates) for view, rates in views.items()} for split, views in errors.items()}
        facts = {"checkpoint": str(trained.path), "pack": str(pack.path), "fingerprint": pack.fingerprint}
        print(json.dumps({**facts, "errors": rates}, indent=2))
    else:
        console = Console()
        console.print(Text(f"{trained.name} on {pack.path}"), soft_wrap=True)
        console.print(errors_table(errors))


def _check_folder(folder: Path, trained: "TrainedModel", pack: "Pack") -> None:
    """Refuse a folder whose files say something about another net or other images, before any work is done."""
    ours = (trained.name, pack.fingerprint)
    if (folder / RESULT_FILE).is_file():
        result = read_result(folder)
        _require_same(folder / RESULT_FILE, (result.run, result.data.fingerprint), ours)
    if (folder / PROBABILITIES_FILE).is_file():
        before = read_answered(folder)
        _require_same(folder / PROBABILITIES_FILE, (before.net, before.fingerprint), ours)


def _require_same(file: Path, theirs: tuple[str, str], ours: tuple[str, str]) -> None:
    if theirs != ours:
        what = theirs[0] if theirs[0] != ours[0] else "other images"
        raise UserError(f"{file} is about {what}: give another folder")


def _write(folder: Path, trained: "TrainedModel", pack: "Pack", store: "PredictionStore", splits: list[str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_probabilities(
            folder,
            store.collect_probabilities(splits),
            net=trained.name,
            fingerprint=pack.fingerprint,
            class_names=pack.class_names,
        )
    except OSError as error:
        raise UserError(f"{folder}: the probabilities cannot be written there: {error.strerror}") from None
