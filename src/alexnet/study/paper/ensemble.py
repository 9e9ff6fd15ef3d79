"""`alexnet ensemble`: averages of several nets' probabilities (section 6), found by their files, and their errors.

An average is taken of the probabilities of all classes: the five most probable ones of each net are not enough.
If classes tie, the one with the lower number counts as more probable. Weights can be tuned on validation images, as by
the authors' tool.
"""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from alexnet.errors import UserError, printable
from alexnet.files import from_here, write_file
from alexnet.runs.arrays import ProbabilitiesHeader, read_header, read_probabilities
from alexnet.runs.collect import directories_with
from alexnet.runs.directory import PROBABILITIES_FILE, RESULT_FILE
from alexnet.runs.result import read_result
from alexnet.runs.summary import VIEW_NAMES
from alexnet.study.assessment import GUESSES
from alexnet.study.flags import shown_p
from alexnet.study.pairing import FEW_CLASSES
from alexnet.study.statistics import Interval, PairedDelta, error_interval, mean_interval, paired_delta
from alexnet.study.wording import MEASURE_NAMES, escape_markdown, markdown_table, shown_ends, shown_interval

GRID = np.arange(21) / 20
"""Weights that the search looks at: 0 to 1 in steps of 0.05, as in the authors' tool."""
START = 0.5
PASSES = 5
_ROWS = 8192
"""Images at a time: a full-size float64 copy of ImageNet's probabilities would take gigabytes."""

Member = NDArray[np.float32]
"""Probabilities [N, classes] of one net."""
Nets = Mapping[Path, ProbabilitiesHeader]
"""Folders with probabilities, and what these are of."""
JSON_FILE, MARKDOWN_FILE = "ensemble.json", "ensemble.md"
MEANING = (
    "Errors in percent of the images, with 95 % intervals (Wilson) for other images of the same kind; differences in "
    "points, below 0 the ensemble is better. The best net is the one with the lowest error on these very images. All "
    "intervals take the nets as given: other seeds would make other nets."
)
NO_WEIGHTS = (
    "No weights were tuned: that takes probabilities of validation and test images for every net "
    "(alexnet evaluate --predictions)."
)


@dataclass(frozen=True, kw_only=True)
class Error:
    """Share of the misclassified images, in percent, with a 95 % interval for the finite test set."""

    percent: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An ensemble against its members, one measure; differences are in points, below 0 the ensemble is better."""

    best: int
    """Number of the member with the lowest error on these very images: chosen with hindsight, which flatters it."""
    to_best: PairedDelta
    to_mean: float
    """Error minus the mean of the members' errors."""
    to_mean_interval: Interval
    """95 %, for other images; the members count as given."""


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """A weighted average. The mappings are over those of `GUESSES` that its classes have."""

    name: str
    weights: tuple[float, ...]
    errors: dict[str, Error]
    contrasts: dict[str, Contrast]


def report_ensemble(
    paths: Sequence[Path], *, split: str | None, view: str, output: Path | None, console: Console
) -> None:
    """Average the nets at or below `paths`, print the errors, and write them into `output` if there is one.

    If all nets have both splits, weights are tuned on `val` and judged on `test`, besides the plain mean.

    Raises:
        UserError: fewer than two nets, nets that do not belong together, or `output` is not writable.
    """
    nets = read_nets(paths)
    if len(nets) < 2:
        raise UserError("an ensemble needs at least two nets")
    split = common_split(nets, split)
    members, labels = read_members(nets, split, view)
    ensembles = [plain_mean(members, labels)]
    if split == "test" and all("val" in header.splits for header in nets.values()):
        tuned = tuned_weights(*read_members(nets, "val", view))
        ensembles.append(ensemble("tuned weights", members, tuned, labels))
    names = [header.net for header in nets.values()]
    singles = single_errors(members, labels)

    title = f"{len(nets)} nets on {len(labels):,} {split} images, {VIEW_NAMES[view]}"
    measures = [*singles[0]]
    head = ("", *(header for measure in measures for header in (MEASURE_NAMES[measure], "95 % interval")))
    rows = [(name, *_cells(errors)) for name, errors in zip(names, singles, strict=True)]
    for one in ensembles:
        weights = "of all" if one.name == "mean" else ", ".join(f"{weight:g}" for weight in one.weights)
        rows.append((f"{one.name} {weights}", *_cells(one.errors)))
    lines = [_difference(names, one, measure) for one in ensembles for measure in measures]
    if len(measures) < len(GUESSES):
        lines.append(FEW_CLASSES)
    table = markdown_table(head, [(escape_markdown(name), *cells) for name, *cells in rows])
    differences = "\n".join(f"- {escape_markdown(line)}" for line in lines)
    text = f"# Ensemble\n\n{title}.\n\n{table}\n\n{differences}\n\n{MEANING}\n"
    if output is not None:
        facts = {
            "nets": names,
            "fingerprint": next(iter(nets.values())).fingerprint,
            "split": split,
            "view": view,
            "images": len(labels),
            "members": singles,
            "ensembles": ensembles,
        }
        write_file(output / JSON_FILE, json.dumps(facts, indent=2, default=asdict) + "\n")
        write_file(output / MARKDOWN_FILE, text)
    console.print(Text(printable(text.replace("\\", ""), lines=True)), soft_wrap=True)
    if len(ensembles) == 1:
        console.print(Text(NO_WEIGHTS), soft_wrap=True)
    if output is not None:
        console.print(Text(f"Written to {output}: {JSON_FILE}, {MARKDOWN_FILE}"), soft_wrap=True)


def read_nets(paths: Sequence[Path]) -> Nets:
    """Find the nets at or below `paths`, each once.

    Raises:
        UserError: a path holds none, a run has kept no probabilities, the nets saw different images, or code of other
            NUMERICS trained them.
    """
    nets = {}
    numerics: dict[int, Path] = {}
    found = (folder.resolve() for path in paths for folder in directories_with(path, RESULT_FILE, PROBABILITIES_FILE))
    for directory in map(Path, map(from_here, found)):
        if (directory / RESULT_FILE).is_file():
            result = read_result(directory)
            if result.status != "finished":  # `alexnet evaluate` may have written probabilities of a net in training
                raise UserError(f"{directory} has not finished ({result.status}); pass finished runs")
            numerics.setdefault(result.numerics, directory)
        if not (directory / PROBABILITIES_FILE).is_file():
            what = "holds the five most probable classes only, and an average needs all"
            run = shlex.quote(str(directory))
            raise UserError(f"{directory} {what}: alexnet evaluate {run} PACK --predictions {run}")
        nets[directory] = read_header(directory)
    if len(numerics) > 1:
        listed = ", ".join(f"{directory} (NUMERICS {number})" for number, directory in numerics.items())
        raise UserError(f"code that computes other numbers trained these nets: {listed}; pass those of one NUMERICS")
    first = next(iter(nets))
    by_name: dict[str, Path] = {}
    for directory, header in nets.items():
        if (header.fingerprint, header.class_names) != (nets[first].fingerprint, nets[first].class_names):
            raise UserError(f"{directory} was evaluated on other images or classes than {first}")
        other = by_name.setdefault(header.net, directory)
        if other != directory:
            raise UserError(f"{directory} and {other} are of one net, {header.net}: pass each net once")
    return nets


def common_split(nets: Nets, wanted: str | None) -> str:
    """Return the wanted split, else `test` if all nets have it, else `val`.

    Raises:
        UserError: a net lacks it.
    """
    split = wanted or ("test" if all("test" in header.splits for header in nets.values()) else "val")
    for directory, header in nets.items():
        if split not in header.splits:
            raise UserError(f"{directory}: no probabilities for {split}; there are: {', '.join(header.splits)}")
    return split


def read_members(nets: Nets, split: str, view: str) -> tuple[list[Member], NDArray[np.int32]]:
    """Read the probabilities of every net, and the labels of the images."""
    read = {directory: read_probabilities(directory, split, view) for directory in nets}
    first = next(iter(read))
    for directory, (labels, _) in read.items():
        if not np.array_equal(labels, read[first][0]):
            raise UserError(f"{directory}: its labels of {split} differ from those of {first}")
    return [probabilities for _, probabilities in read.values()], read[first][0]


def _cells(errors: Mapping[str, Error]) -> list[str]:
    return [text for one in errors.values() for text in (f"{one.percent:.2f}", shown_ends(one.interval))]


def _difference(nets: Sequence[str], one: Ensemble, measure: str) -> str:
    contrast = one.contrasts[measure]
    best = contrast.to_best
    return (
        f"{one.name[:1].upper()}{one.name[1:]}, {MEASURE_NAMES[measure]}: "
        f"{contrast.to_mean:+z.2f} {shown_interval(contrast.to_mean_interval)} to the mean of its nets; "
        f"{best.delta:+z.2f} {shown_interval(best.interval)}, p {shown_p(best.p)} to the best, {nets[contrast.best]}."
    )


def ranks(members: Sequence[Member], weights: Sequence[float], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count the classes more probable than the label, [N], by the weighted sum of the members' probabilities."""
    found = []
    for start in range(0, len(labels), _ROWS):
        part = slice(start, start + _ROWS)
        scores: NDArray[np.float64] = np.zeros(members[0][part].shape)
        for member, weight in zip(members, weights, strict=True):
            scores += weight * member[part].astype(np.float64)
        own = scores[np.arange(len(scores)), labels[part]][:, None]
        before = np.arange(scores.shape[1]) < labels[part][:, None]
        found.append(((scores > own) | ((scores == own) & before)).sum(axis=1))
    return np.concatenate(found)


def tuned_weights(members: Sequence[Member], labels: NDArray[np.int32]) -> tuple[float, ...]:
    """Search weights that lower the top-5 error on these images, or top-1 where there is none, one net at a time.

    Like the authors' tool: all weights start at 0.5; each in turn tries the grid and takes what lowers the error;
    up to five passes, fewer if one changes nothing.
    """

    def count_wrong(weights: Sequence[float]) -> int:
        return int((ranks(members, weights, labels) >= max(_measures(members).values())).sum())

    weights = [START] * len(members)
    wrong = count_wrong(weights)
    for _ in range(PASSES):
        before = wrong
        for place in range(len(members)):
            for value in GRID:
                tried = [*weights[:place], float(value), *weights[place + 1 :]]
                # Weights of 0 alone are no average: by the order of the classes it is right on images of the first.
                if any(tried) and (count := count_wrong(tried)) < wrong:
                    weights, wrong = tried, count
        if wrong == before:
            break
    return tuple(weights)


def _measures(members: Sequence[Member]) -> dict[str, int]:
    return {measure: among for measure, among in GUESSES.items() if among <= members[0].shape[1]}


def single_errors(members: Sequence[Member], labels: NDArray[np.int32]) -> list[dict[str, Error]]:
    """Return the errors of each member."""
    return [_errors(ranks([member], [1.0], labels), _measures(members)) for member in members]


def plain_mean(members: Sequence[Member], labels: NDArray[np.int32]) -> Ensemble:
    """Evaluate the average in which all members count the same."""
    return ensemble("mean", members, [1 / len(members)] * len(members), labels)


def ensemble(name: str, members: Sequence[Member], weights: Sequence[float], labels: NDArray[np.int32]) -> Ensemble:
    """Evaluate an average, and compare it with its best member and with the mean of its members."""
    together = ranks(members, weights, labels)
    alone = np.stack([ranks([member], [1.0], labels) for member in members])
    measures = _measures(members)
    contrasts = {measure: _contrast(alone >= among, together >= among) for measure, among in measures.items()}
    return Ensemble(name=name, weights=tuple(weights), errors=_errors(together, measures), contrasts=contrasts)


def _errors(found: NDArray[np.int64], measures: Mapping[str, int]) -> dict[str, Error]:
    wrong = {measure: int((found >= among).sum()) for measure, among in measures.items()}
    images = len(found)
    return {k: Error(percent=100 * n / images, interval=error_interval(n, images)) for k, n in wrong.items()}


def _contrast(members_wrong: NDArray[np.bool_], ensemble_wrong: NDArray[np.bool_]) -> Contrast:
    best = int(members_wrong.sum(axis=1).argmin())
    differences = 100 * (ensemble_wrong.astype(np.float64) - members_wrong.mean(axis=0))
    return Contrast(
        best=best,
        to_best=paired_delta(~members_wrong[best], ~ensemble_wrong),
        to_mean=math.fsum(differences) / len(differences),
        to_mean_interval=mean_interval(differences),
    )
