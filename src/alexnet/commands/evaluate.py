"""`alexnet evaluate`: the errors of a trained network on a pack."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from alexnet.data.pack.pack import open_pack
from alexnet.errors import UserError, print_line
from alexnet.files import check_writable
from alexnet.runs.arrays import read_header, write_probabilities
from alexnet.runs.directory import PROBABILITIES_FILE, RESULT_FILE
from alexnet.runs.result import read_result
from alexnet.runs.summary import errors_table
from alexnet.terminal import Terminal, fitted


def run(
    file: Path, pack: Path, *, split: str | None, as_json: bool, predictions: Path | None, real: Path | None
) -> None:
    images = open_pack(pack)

    from alexnet.evaluation import error_rates
    from alexnet.trained.evaluate import chosen_splits, evaluate_pack, real_errors, real_labels
    from alexnet.trained.network import load_trained

    trained = load_trained(file)
    splits = chosen_splits(images, split)
    if real is not None:
        if "val" not in splits:
            raise UserError("--real is about validation images: leave out --split, or give --split val")
        allowed = real_labels(real, images, len(trained.class_names))
    if predictions is not None:
        _check_folder(predictions, trained.name, images.fingerprint)
    found = evaluate_pack(trained, images, splits, keep_probabilities=predictions is not None)
    errors = error_rates(found)
    if real is not None:
        errors["val, ReaL"] = real_errors(real, images, allowed, found["val"])
    if predictions is not None:
        facts = {"net": trained.name, "fingerprint": images.fingerprint}
        write_probabilities(predictions, found, class_names=trained.class_names, **facts)
    if as_json:
        rates = {split: {view: asdict(rates) for view, rates in views.items()} for split, views in errors.items()}
        facts = {"checkpoint": str(trained.path), "pack": str(images.path), "fingerprint": images.fingerprint}
        print(json.dumps({**facts, "errors": rates}, indent=2))
    else:
        console = Terminal()
        console.print(Text(f"{trained.name} on {images.path}"), soft_wrap=True)
        console.print(fitted(errors_table(errors), console))
        if predictions is not None:
            print_line(f"Written to {predictions}: {PROBABILITIES_FILE}")


def _check_folder(folder: Path, name: str, fingerprint: str) -> None:
    """Make the folder; refuse one with files about another network or other images."""
    check_writable(folder / PROBABILITIES_FILE)
    found = {}
    if (folder / RESULT_FILE).is_file():
        result = read_result(folder)
        found[RESULT_FILE] = (result.run, result.data.fingerprint)
    if (folder / PROBABILITIES_FILE).is_file():
        header = read_header(folder)
        found[PROBABILITIES_FILE] = (header.net, header.fingerprint)
    for file, (net, images) in found.items():
        if (net, images) != (name, fingerprint):
            raise UserError(f"{folder / file} is about {net if net != name else 'other images'}: choose another folder")
