"""Which runs may be compared: duplicates, tables, test images, each run's baseline, and what else differs."""

import hashlib
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from textwrap import shorten

import numpy as np
from numpy.typing import NDArray

from alexnet.config.schema import NON_IDENTITY_KEYS
from alexnet.errors import UserError
from alexnet.runs.arrays import ViewPredictions
from alexnet.runs.collect import Run
from alexnet.runs.directory import CONFIG_FILE, RESULT_FILE
from alexnet.runs.result import BASELINE, Changes, Result, own_changes
from alexnet.study.statistics import PairedDelta, paired_delta

MEASURES = ("top1", "top5")
FEW_CLASSES = "Fewer than five classes: top-5 errors are left out."
SHARED_OR_PER_RUN_KEYS = ("ablation", "seed", "experiment", "recipe", *NON_IDENTITY_KEYS)
"""Keys that vary within a table, are in its title anyway, or do not affect what is computed."""


@dataclass(frozen=True)
class Note:
    """Something the reader of a table must know: a run left out, or a baseline to be made."""

    text: str
    command: str | None = None
    """The command that solves it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """A finished run with what its net got right on the split and view under study.

    Mappings are over `MEASURES`; among fewer than five classes there is no top-5 error.
    """

    run: Run
    labels: NDArray[np.int32]
    """[N], the images' true classes."""
    correct: Mapping[str, NDArray[np.bool_]]
    """[N] each."""
    most_guessed: float
    """Share of the images for which the network guesses its most frequent class."""
    checksum: bytes
    """Of its most probable classes and their probabilities: no two networks have the same."""
    gain: Mapping[str, NDArray[np.int8]] | None = None
    """[N] each, 1 where ten crops are right and the center crop is wrong, -1 where it is the other way round; None for
    other views."""
    baseline: "Evaluated | None" = None
    """The run without the ablation, with the same seed; None for a baseline and for a run without one."""

    @cached_property
    def errors(self) -> dict[str, float]:
        """Percent."""
        return {name: 100 * int((~correct).sum()) / len(correct) for name, correct in self.correct.items()}

    @property
    def baseline_errors(self) -> dict[str, float]:
        """Percent; empty without a baseline."""
        return self.baseline.errors if self.baseline else {}

    @cached_property
    def deltas(self) -> dict[str, PairedDelta]:
        """Differences from the baseline of the same seed, for this pair of networks; empty if there is none."""
        pairs = self.baseline.correct if self.baseline else {}
        return {name: paired_delta(pairs[name], self.correct[name]) for name in pairs}


def group_runs(runs: Iterable[Run]) -> list[list[Run]]:
    """Group runs that differ only by ablation and seed and used the same data, by experiment, recipe and data.

    Those of a plan that searches for rates are one group. Runs of different NUMERICS never are.
    """

    def key(run: Run) -> tuple[str, str, int]:
        plan = run.result.plan
        study = plan.hash if plan and plan.search else run.result.pairing_key
        return study, run.result.data.fingerprint, run.result.numerics

    return sorted((list(group) for _, group in groupby(sorted(runs, key=key), key=key)), key=_title)


def _title(group: Sequence[Run]) -> tuple[str, str, str]:
    result = group[0].result
    return result.experiment, result.recipe, result.data.name


def distinguishing_overrides(groups: Iterable[Sequence[Run]]) -> list[str]:
    """Return for each group the overrides that its runs share but not all groups of the same title; mostly none.

    Groups of one title are neighbors. If the overrides do not distinguish them, as after a change of `conf/`, use the
    pairing key and the data fingerprint.
    """
    words = []
    for _, neighbors in groupby(groups, key=_title):
        same_title = list(neighbors)
        given = [
            _common([[*_overrides(run.result), f"NUMERICS {run.result.numerics}"] for run in group])
            for group in same_title
        ]
        shared = _common(given)
        own = [" ".join(word for word in one if word not in shared) for one in given]
        for group, one in zip(same_title, own, strict=True):
            result = group[0].result
            by_key = f"pairing key {result.pairing_key}, images {result.data.fingerprint}"
            words.append(one if own.count(one) == 1 else by_key)
    return words


def changed_settings(result: Result) -> list[str]:
    """Return the overrides that change a setting of the experiment; where images are and a searched rate do not."""
    searched = result.plan is not None and result.plan.search is not None
    free = ("data.root=", "data.decoder=", *(["optimizer.lr="] if searched else []))
    return [word for word in _overrides(result) if not word.startswith(free)]


def _overrides(result: Result) -> list[str]:
    """Return the overrides in a run's command that affect what is computed."""
    ignored = tuple(f"{key}." for key in (*SHARED_OR_PER_RUN_KEYS, "hydra"))
    words = [word.lstrip("+") for word in result.overrides]
    return [word for word in words if not f"{word.partition('=')[0].replace('/', '.')}.".startswith(ignored)]


def _common(lists: Sequence[list[str]]) -> list[str]:
    """Return the entries of the first list that all lists contain."""
    return [entry for entry in lists[0] if all(entry in one for one in lists)]


def drop_duplicates(runs: Iterable[Run]) -> tuple[list[Run], list[Note]]:
    """Keep one of several runs of the same ablation, seed and rate: a finished one before others, then the newest.

    Leave out those that change something else than most of their ablation, or than the newest of as many.
    """
    arms: dict[str, list[Changes]] = defaultdict(list)
    for run in sorted(runs := list(runs), key=lambda run: run.written, reverse=True):
        arms[run.result.ablation].append(own_changes(run.result.changes))
    usual = {name: max(changes, key=changes.count) for name, changes in arms.items()}
    same: dict[tuple[str, int, float | None], list[Run]] = defaultdict(list)
    kept, notes = [], []
    for run in runs:
        if other := _unlike(own_changes(run.result.changes), usual[run.result.ablation]):
            why = f"unlike most of {run.result.ablation}: another file has this name, or it was edited"
            notes.append(Note(f"{run}: left out, it has {other}, {why}."))
        else:
            same[run.result.ablation, run.result.seed, run.result.lr].append(run)
    for candidates in same.values():
        *left_out, chosen = sorted(candidates, key=lambda run: (run.finished, run.written, run.directory))
        kept.append(chosen)
        if left_out:
            names = ", ".join(f"{run.directory} ({run.result.status})" for run in left_out)
            ours = chosen.result.precision
            theirs = sorted({run.result.precision for run in left_out if run.result.precision} - {ours})
            precision = f" (precision {ours}, not {' or '.join(theirs)})" if ours and theirs else ""
            text = f"{chosen}: run {len(candidates)} times; kept {chosen.directory}{precision}, left out {names}."
            notes.append(Note(text))
    return kept, notes


def _unlike(changes: Changes, usual: Changes) -> str:
    """Return the values that are not those of runs with the usual changes, the first of many."""
    keys = [key for key in usual | changes if changes.get(key) != usual.get(key)]
    values = ", ".join(f"{key}={changes[key][1] if key in changes else usual[key][0]}" for key in keys)
    return shorten(values, 300, placeholder=" ...")


def evaluate(runs: Iterable[Run], split: str, view: str) -> tuple[list[Evaluated], list[Note]]:
    """Read what finished runs got right, all on the images of the first baseline (else of the first run).

    Leave out runs whose predictions are missing or damaged or of other images; the notes say which, and why.
    """
    evaluated, notes = [], []
    for run in runs:
        try:
            evaluated.append(_read(run, split, view))
        except UserError as error:
            notes.append(Note(f"{run}: left out, {error}."))
    kept: list[Evaluated] = []
    first = min(evaluated, key=lambda one: (not one.run.is_baseline, one.run.result.seed), default=None)
    for one in evaluated:
        if first and not np.array_equal(one.labels, first.labels):
            text = f"its labels differ from those of {first.run}: not the same test images"
            notes.append(Note(f"{one.run}: left out, {text}."))
        elif first and one.correct.keys() != first.correct.keys():
            notes.append(Note(f"{one.run}: left out, only one of it and {first.run} has top-5 errors."))
        else:
            kept.append(one)
    return kept, notes


def _read(run: Run, split: str, view: str) -> Evaluated:
    """Read a run's predictions and check that the errors in `result.json` were counted from them."""
    if view not in run.result.errors.get(split, {}):
        raise UserError(f"it has no errors for {split}/{view}")
    predictions, stated = run.predictions(split, view), run.result.errors[split][view]
    counted = predictions.error_rates()
    # Half an image: a rate that went through 32-bit numbers still means the same count.
    pairs = ((counted.top1, stated.top1), (counted.top5, stated.top5))
    same = all(abs((a or 0) - (b or 0)) * counted.images < 0.5 for a, b in pairs)
    known = predictions.labels.max() < run.result.data.classes
    if stated.images != counted.images or not same or not known:
        raise UserError(f"{run.directory}: result.json and predictions.npz disagree on {split}/{view}")
    return Evaluated(
        run=run,
        labels=predictions.labels,
        correct=_correct(predictions),
        most_guessed=float(np.unique(predictions.top5_classes[:, 0], return_counts=True)[1].max() / counted.images),
        checksum=hashlib.sha256(predictions.top5_classes.tobytes() + predictions.top5_probabilities.tobytes()).digest(),
        gain=_ten_crop_gain(run, split, predictions) if view == "ten_crop" else None,
    )


def _correct(predictions: ViewPredictions) -> dict[str, NDArray[np.bool_]]:
    correct = {"top1": predictions.top1_correct, "top5": predictions.top5_correct}
    return {"top1": correct["top1"]} if predictions.error_rates().top5 is None else correct


def _ten_crop_gain(run: Run, split: str, ten_crops: ViewPredictions) -> dict[str, NDArray[np.int8]] | None:
    try:
        center = _correct(run.predictions(split, "center"))
    except UserError:
        return None
    return {name: correct.astype(np.int8) - center[name] for name, correct in _correct(ten_crops).items()}


def drop_copies(evaluated: Iterable[Evaluated]) -> tuple[list[Evaluated], list[Note]]:
    """Keep one of several runs of an arm with the same probabilities for every image: it is one run, done twice."""
    kept: dict[tuple[str, bytes], Evaluated] = {}
    notes = []
    for one in evaluated:
        first = kept.setdefault((one.run.result.ablation, one.checksum), one)
        if first is not one:
            text = f"its probabilities are those of {first.run} on every image: one run, done twice"
            notes.append(Note(f"{one.run}: left out, {text}."))
    return list(kept.values()), notes


def agree_on_claims(evaluated: Iterable[Evaluated]) -> tuple[list[Evaluated], list[Note]]:
    """Give all runs of an ablation the claim that most of them hold: its file may have been edited between them."""
    by_arm: dict[str, list[Evaluated]] = defaultdict(list)
    for one in evaluated:
        by_arm[one.run.result.ablation].append(one)
    agreed, notes = [], []
    for arm, members in by_arm.items():
        claims = [one.run.result.claims for one in members]
        kept = max(claims, key=claims.count)
        others = [str(one.run) for one in members if one.run.result.claims != kept]
        if others:
            text = f"{arm}: its claim was edited between its runs; that of most of them holds, not that in "
            text += f"{', '.join(others)}."
            notes.append(Note(text))
        agreed += [replace(one, run=replace(one.run, result=replace(one.run.result, claims=kept))) for one in members]
    return agreed, notes


def altered(runs: Iterable[Run]) -> list[Note]:
    """Warn about runs whose result file was changed after the run had written it."""
    names = [str(run.directory / RESULT_FILE) for run in runs if not run.intact]
    text = f"Changed since the run wrote it (checksum differs): {', '.join(names)}."
    return [Note(text)] if names else []


def damaged_configs(runs: Iterable[Run]) -> list[Note]:
    """Name the runs whose `config.yaml` is damaged or changed; a report does not need it, and some have none."""
    notes = []
    for run in runs:
        try:
            run.config()
        except UserError as error:
            if CONFIG_FILE in run.result.files or (run.directory / CONFIG_FILE).exists():
                notes.append(Note(f"{run}: {error}."))
    return notes


def without_effect(arms: Mapping[str, Sequence[Evaluated]]) -> list[Note]:
    """Name the ablations that computed exactly what the baseline did: in every epoch, and on every image."""

    def losses(one: Evaluated) -> list[float]:
        return [epoch.train_loss for epoch in one.run.metrics.epochs]

    def is_same(one: Evaluated, other: Evaluated) -> bool:
        alike = np.array_equal([*one.correct.values()], [*other.correct.values()])
        return alike and losses(one) == losses(other) != []

    pairs = {name: [(one, one.baseline) for one in members if one.baseline] for name, members in arms.items()}
    return [
        Note(f"{name} has no effect: its losses and its answers are the baseline's, bit for bit.")
        for name, of_seeds in pairs.items()
        if of_seeds and all(is_same(*both) for both in of_seeds)
    ]


def pair(evaluated: Sequence[Evaluated]) -> list[Evaluated]:
    """Give every ablated run the baseline with its seed; return all in order of seeds, those with a baseline first."""
    ablated = [one for one in evaluated if not one.run.is_baseline]
    baselines = {one.run.result.seed: one for one in evaluated if one.run.is_baseline}
    paired = [replace(one, baseline=baselines.get(one.run.result.seed)) for one in ablated]
    return sorted([*baselines.values(), *paired], key=lambda one: (one.baseline is None, one.run.result.seed))


def baseline_command(command: str) -> str:
    """Return the command of a run without its ablation."""
    return shlex.join(word for word in shlex.split(command) if not re.match(r"\+{0,2}ablation=", word))


def other_numerics(result: Result, runs: Iterable[Run]) -> list[Note]:
    """Name the runs of one experiment, recipe and images whose code computes other numbers than that of `result`."""

    def title(one: Result) -> tuple[str, str, str]:
        return one.experiment, one.recipe, one.data.fingerprint

    others = [run for run in runs if title(run.result) == title(result) and run.result.numerics != result.numerics]
    numbers = " and ".join(sorted({f"NUMERICS {run.result.numerics}" for run in others}))
    names = ", ".join(sorted(map(str, others)))
    text = f"Not paired with {names}: their code computes other numbers ({numbers}, here {result.numerics})."
    return [Note(text)] if others else []


def missing_baseline(arms: Mapping[str, Sequence[Evaluated]], runs: Sequence[Run]) -> list[Note]:
    """Say for ablations without any usable baseline why, and the command that makes one; `runs` are of every table."""
    if BASELINE in arms or not arms:
        return []
    first = next(iter(arms.values()))[0].run
    command = baseline_command(first.result.command)
    return [Note(f"No baseline run for {', '.join(arms)}{_why_no_baseline(first, runs)}. To make one:", command)]


def _why_no_baseline(run: Run, runs: Sequence[Run]) -> str:
    """Return why an existing baseline cannot be used, if one exists."""
    for other in runs:
        if not other.is_baseline or other.result.pairing_key != run.result.pairing_key:
            continue
        if other.result.data.fingerprint != run.result.data.fingerprint:
            return f" ({other.result.run} used different images: its data fingerprint differs)"
        return f" ({other.result.run} {'was left out' if other.finished else other.result.status})"
    return ""


def environment(result: Result) -> dict[str, str]:
    """Return where and with what a run was made: fact -> value, for the facts that are known.

    The device is unknown for a run that never started, the precision for one from before it was recorded.
    """
    git = result.git
    code = f"{git.revision}{' with uncommitted changes' if git.dirty else ''}" if git else "no git checkout"
    code = "unknown, as git refused to say" if git and git.problem else code
    numbers = {"NUMERICS": str(result.numerics), "precision": result.precision}
    # Of a processor, the device repeats what the facts `cpu` and `threads` say.
    device = "cpu" if result.device.startswith("cpu:") and "cpu" in result.environment else result.device
    facts = {"code": code, **result.versions, **result.environment, **numbers, "device": device}
    return {fact: value for fact, value in facts.items() if value}


def values_by_fact(runs: Iterable[Run]) -> dict[str, dict[str, list[Run]]]:
    """Return every fact of the environment of the runs: fact -> value -> the runs that have it."""
    facts: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for fact, value in environment(run.result).items():
            facts[fact][value].append(run)
    return facts


def mixed_environment(runs: Iterable[Run]) -> list[Note]:
    """Name the facts of the environment, such as the revision or the device, that are not the same for all runs."""
    mixed = [fact for fact, values in values_by_fact(runs).items() if len(values) > 1]
    text = f"The runs differ in {', '.join(mixed)}: the HTML report lists them under What differs between the runs."
    return [Note(text)] if mixed else []
