"""Which runs may be compared: duplicates, groups, test images and each run's baseline."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from alexnet.errors import UserError
from alexnet.runs.collect import Run
from alexnet.runs.predictions import ViewPredictions, read_predictions
from alexnet.runs.result import BASELINE


@dataclass(frozen=True)
class Note:
    """Something that the reader of a table must know: a run left out, or a baseline to be made."""

    text: str
    command: str | None = None
    """What to run about it."""


@dataclass(frozen=True)
class Evaluated:
    """A finished run with what its net said about the images of the split and view under study."""

    run: Run
    predictions: ViewPredictions


def group_runs(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs that differ only by ablation and seed, and saw the same data; in order of experiment, recipe and data."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[(run.result.pairing_key, run.result.data.fingerprint)].append(run)

    def order(key: tuple[str, str]) -> tuple[str, ...]:
        result = groups[key][0].result
        return result.experiment, result.recipe, result.data.name, *key

    return [groups[key] for key in sorted(groups, key=order)]


def drop_duplicates(runs: Iterable[Run]) -> tuple[list[Run], list[Note]]:
    """Of several runs of one ablation and seed, keep a finished one before any other, then the newest."""
    same: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in runs:
        same[(run.result.ablation, run.result.seed)].append(run)
    kept, notes = [], []
    for candidates in same.values():
        *left_out, chosen = sorted(candidates, key=lambda run: (run.finished, run.written, run.directory))
        kept.append(chosen)
        if left_out:
            names = ", ".join(f"{run.directory} ({run.result.status})" for run in left_out)
            kept_one = f"kept {chosen.directory}{_at_precision(chosen, left_out)}"
            notes.append(Note(f"{chosen}: run {len(candidates)} times; {kept_one}, left out {names}."))
    return kept, notes


def _at_precision(chosen: Run, others: Iterable[Run]) -> str:
    """The precision of a run, where that of another differs."""
    ours = chosen.result.precision
    theirs = sorted({run.result.precision for run in others if run.result.precision} - {ours})
    return f" (precision {ours}, not {' or '.join(theirs)})" if ours and theirs else ""


def evaluate(runs: Iterable[Run], split: str, view: str) -> tuple[list[Evaluated], list[Note]]:
    """Read the predictions of finished runs; a run without them, or with damaged ones, becomes a note."""
    evaluated, notes = [], []
    for run in runs:
        if view not in run.result.errors.get(split, {}):
            notes.append(Note(f"{run}: left out, it has no errors for {split}/{view}."))
            continue
        try:
            evaluated.append(Evaluated(run, _agreeing_predictions(run, split, view)))
        except UserError as error:
            notes.append(Note(f"{run}: left out, {error}."))
    return evaluated, notes


def _agreeing_predictions(run: Run, split: str, view: str) -> ViewPredictions:
    """The predictions, once they are known to be those that the errors in `result.json` were counted from."""
    predictions = read_predictions(run.directory, split, view)
    counted, stated = predictions.error_rates(), run.result.errors[split][view]
    # Half an image: a rate that went through 32-bit numbers still means the same count.
    same = all(abs(a - b) * counted.images < 0.5 for a, b in ((counted.top1, stated.top1), (counted.top5, stated.top5)))
    if stated.images != counted.images or not same:
        raise UserError(f"{run.directory}: result.json and predictions.npz disagree on {split}/{view}")
    return predictions


def same_images(evaluated: Sequence[Evaluated]) -> tuple[list[Evaluated], list[Note]]:
    """Keep the runs whose labels equal those of the first baseline (else of the first run); note the others."""
    if not evaluated:
        return [], []
    reference = min(evaluated, key=lambda one: (not one.run.is_baseline, one.run.result.seed))
    labels = reference.predictions.labels
    kept = [one for one in evaluated if np.array_equal(one.predictions.labels, labels)]
    notes = [
        Note(f"{one.run}: left out, its labels differ from those of {reference.run}: not the same test images.")
        for one in evaluated
        if one not in kept
    ]
    return kept, notes


def mixed_precisions(pairs: Iterable[tuple[Run, Run]]) -> list[Note]:
    """A warning of runs whose baseline was trained at another precision; of each pair the run comes first."""
    mixed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run, baseline in pairs:
        ours, theirs = run.result.precision, baseline.result.precision
        if ours and theirs and ours != theirs:
            mixed[ours, theirs].append(f"{run.result.ablation} seed {run.result.seed}")
    return [
        Note(f"Trained at precision {ours}, the baseline at {theirs}, which is part of the delta: {', '.join(names)}.")
        for (ours, theirs), names in mixed.items()
    ]


def baseline_command(command: str) -> str:
    """The command of a run without its ablation."""
    words = [word for word in shlex.split(command) if not re.match(r"\+{0,2}ablation=", word)]
    return shlex.join(words)


def missing_baselines(unpaired: Iterable[Run], runs: Sequence[Run]) -> list[Note]:
    """For runs without a usable baseline: why, and the command that would make it, once for each baseline."""
    ablations: dict[tuple[int, str, str], list[str]] = defaultdict(list)
    for run in unpaired:
        reason = _why_no_baseline(run, runs)
        ablations[(run.result.seed, reason, baseline_command(run.result.command))].append(run.result.ablation)
    return [
        Note(f"No baseline run with seed {seed} for {', '.join(names)}{reason}. To make it:", command)
        for (seed, reason, command), names in ablations.items()
    ]


def _why_no_baseline(run: Run, runs: Sequence[Run]) -> str:
    """What stands in the way, where there is something; `runs` are all runs, of every group."""
    wanted = (BASELINE, run.result.pairing_key, run.result.seed)
    for other in runs:
        if (other.result.ablation, other.result.pairing_key, other.result.seed) != wanted:
            continue
        if other.result.data.fingerprint != run.result.data.fingerprint:
            return f" ({other.result.run} saw other images: its data fingerprint differs)"
        return f" ({other.result.run} {'was left out' if other.finished else other.result.status})"
    return ""
