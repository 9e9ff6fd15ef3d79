"""Flags: what the reader of a verdict must know. A flag never removes a run.

`docs/statistics.md` lists the tests and how often they raise a false alarm.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from alexnet.errors import plural
from alexnet.study.statistics import Correct, Floats, mcnemar_p
from alexnet.study.verdict import Region

OUTLIER_LEVEL = 0.01
CHANCE_LEVEL = 0.001
ONE_CLASS_SHARE = 0.99
FEW_IMAGES = 25
"""Wrong images of a run, or discordant images of a pair, below which counts say little."""
MACHINE = ("cpu", "device", "system")
"""Facts of the environment in which runs on several machines of one kind differ."""
STILL_FALLING = 0.5
"""Points by which the error falls over the last fifth of training, from which on more epochs would change it."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """Something that makes a verdict doubtful, in one sentence."""

    name: str
    text: str
    doubt: bool = True
    """False if the method allows for it: the verdict is not worded as flagged."""
    no_size: bool = False
    """Whether the size of the effect is not judged."""
    no_equivalence: bool = False
    """Whether the verdict `no effect` is not given."""


def shown_p(p: float) -> str:
    """Format a p-value with three decimals; empty if it is NaN, as none is computed."""
    if math.isnan(p):
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def outliers(errors: Sequence[Floats]) -> list[NDArray[np.bool_]]:
    """Say for the runs of each arm which left their siblings: [S] each.

    One-way layout of all runs, externally studentized residuals, Bonferroni over the runs.
    """
    residuals = np.concatenate([one - one.mean() for one in errors])
    leverage = np.concatenate([np.full(len(one), 1 / len(one)) for one in errors])
    dof = len(residuals) - len(errors)
    found = np.zeros(len(residuals), dtype=bool)
    testable = leverage < 1
    if dof > 1:
        own = residuals[testable] ** 2 / (1 - leverage[testable])
        others = ((residuals**2).sum() - own) / (dof - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = 2 * stats.t.sf(np.sqrt(own / others), dof - 1)
        found[testable] = p * len(residuals) < OUTLIER_LEVEL
    return np.split(found, np.cumsum([len(one) for one in errors])[:-1])


def chance_accuracy(labels: NDArray[np.int32], guesses: int) -> float:
    """Return the accuracy of always guessing the `guesses` most frequent classes, as a fraction."""
    counts = np.unique(labels, return_counts=True)[1]
    return float(np.sort(counts)[::-1][:guesses].sum() / len(labels))


def learned(correct: Correct, chance: float, most_guessed: Floats) -> NDArray[np.bool_]:
    """Say which runs [S] beat chance, from `correct` [S, N] and the share [S] of the class that each guesses most.

    Where guesses and runs are never wrong, as by top-5 of five classes, there is nothing to learn.
    """
    images = correct.shape[1]
    p = [stats.binomtest(int(one.sum()), images, chance, alternative="greater").pvalue for one in correct]
    found = (np.array(p) <= CHANCE_LEVEL) & (most_guessed <= ONE_CLASS_SHARE)
    return found | correct.all() if chance == 1 else found


def learning_flags(
    arm: NDArray[np.bool_], baseline: NDArray[np.bool_], by_run: Floats, baseline_by_run: Floats
) -> list[Flag]:
    """Flag runs that did not learn; the first two arguments say which did, the others are their errors."""
    if arm.all() and baseline.all():
        return []
    counts = [[side.sum(), (~side).sum()] for side in (arm, baseline)]
    text = f"{arm.sum()} of {len(arm)} runs learned, {baseline.sum()} of {len(baseline)} of the baseline"
    p = stats.fisher_exact(counts).pvalue
    text += f" (told from guessing at p = {CHANCE_LEVEL}; Fisher's exact p {shown_p(p)})"
    if arm.any() and baseline.any():
        without = by_run[arm].mean() - baseline_by_run[baseline].mean()
        return [Flag(name="did not learn", text=f"{text}; of those that learned, the delta is {without:+.2f} points")]
    return [Flag(name="at chance", text=f"{text}: an arm is at chance", no_size=True, no_equivalence=True)]


def diverged_flags(diverged: int, runs: int, baseline_diverged: int, baseline_runs: int) -> list[Flag]:
    """Flag runs that diverged, and so have no error; `runs` are those that have one."""
    if not diverged + baseline_diverged:
        return []
    p = stats.fisher_exact([[diverged, runs], [baseline_diverged, baseline_runs]]).pvalue
    text = f"{diverged} of {diverged + runs} runs diverged, {baseline_diverged} of {baseline_diverged + baseline_runs}"
    text += f" of the baseline (Fisher's exact p {shown_p(p)}): all figures are of the others"
    return [Flag(name="diverged", text=text)]


def limit_flags(
    wrong: Sequence[int], images: int, baseline_error: float, chance_error: float, claim: Region | None
) -> list[Flag]:
    """Flag a task that is too easy or too hard: `wrong` of `images` for every run of both arms, errors in percent."""
    flags = []
    asked = claim.from_zero * claim.sign if claim else 0.0
    if min(wrong) < FEW_IMAGES or -asked > baseline_error:
        enough = images * chance_error / 200 >= FEW_IMAGES  # half as many errors as by chance would still count
        why = "too easy" if not chance_error or (enough and baseline_error < chance_error / 2) else "too few images"
        text = f"{why}: a run has {plural(min(wrong), 'wrong image')} of {images:,}"
        if min(wrong) >= FEW_IMAGES:
            text = f"too easy: the claim asks for a fall of at least {-asked:g} points from {baseline_error:.1f} %"
        flags.append(Flag(name="floor", text=text, no_size=True, no_equivalence=True))
    if asked > max(chance_error - baseline_error, 0.0):
        text = (
            f"too hard: the claim asks for a rise of at least {asked:g} points from {baseline_error:.1f} %; chance is"
        )
        flags.append(Flag(name="ceiling", text=f"{text} {chance_error:.1f} %", no_size=True))
    return flags


def discordance_flags(pairs: Sequence[tuple[int, int]], *, with_p: bool = True) -> list[Flag]:
    """Flag too few discordant images; each pair of runs has those that only one or only the other gets wrong."""
    if not pairs or np.median([sum(pair) for pair in pairs]) >= FEW_IMAGES:
        return []
    text = f"few discordant images ({', '.join(str(sum(pair)) for pair in pairs)}): the interval is wider than need be"
    if with_p:
        text += f"; exact McNemar p by seed: {', '.join(shown_p(mcnemar_p(*pair)) for pair in pairs)}"
    return [Flag(name="few discordant images", text=text, doubt=False)]


def seed_flags(runs: int, baseline_runs: int, *, has_spread: bool) -> list[Flag]:
    """Flag arms of one or two runs; `has_spread` if any arm of the table has two. Their verdict says so itself."""
    if min(runs, baseline_runs) >= 3:
        return []
    if not has_spread:
        name, text = "one seed", "one seed: for this pair of networks only"
    elif runs == 1:
        name, text = "one seed", "one seed: assumes that the ablated network varies like the others"
    else:
        name, text = "two seeds", "fewer than three seeds of an arm: the interval is rough, and there is no verdict"
    return [Flag(name=name, text=text, doubt=False, no_size=True)]


def assumed_flag(run_sd: float, source: str) -> Flag:
    """Flag arms of one run each, judged by a spread between runs from elsewhere."""
    return Flag(name="run sd assumed", text=f"one seed, run sd assumed: {run_sd:g} points ({source})")


def numerics_flags(arm: Sequence[Mapping[str, str]], baseline: Sequence[Mapping[str, str]]) -> list[Flag]:
    """Flag facts of the environment, such as the precision or the device, that differ between or within arms.

    Several machines that both arms have alike are no doubt: one rounds otherwise than another, as a new seed would.
    """
    facts = sorted({fact for one in (*arm, *baseline) for fact in one})
    values = {fact: [{one[fact] for one in side if fact in one} for side in (arm, baseline)] for fact in facts}
    between = [fact for fact, (ours, theirs) in values.items() if ours and theirs and ours != theirs]
    within = [fact for fact, sides in values.items() if fact not in between and max(map(len, sides)) > 1]
    flags = []
    if between:
        shown = "; ".join(f"{fact} {_listed(values[fact][0])}, not {_listed(values[fact][1])}" for fact in between)
        text = f"the arm differs from the baseline in more than the ablation: {shown}"
        flags.append(Flag(name="mixed numerics", text=text))
    if within:
        text = f"runs of an arm differ in {', '.join(within)}"
        flags.append(Flag(name="mixed numerics", text=text, doubt=not {*within} <= {*MACHINE}))
    return flags


def _listed(values: set[str]) -> str:
    return " and ".join(sorted(values))


def training_flags(
    curves: Sequence[Sequence[tuple[float, float]]], *, plateau: bool, split: str, limits: Sequence[str] = ()
) -> list[Flag]:
    """Flag a baseline that would have gone on to improve, a schedule that saw the reported images, and images left out.

    `curves` are the baseline's learning rates and validation errors, in percent, by epoch. What the last drop of the
    rate brought is no sign that more epochs would bring more, so that the epochs since then decide. `limits` are the
    settings that leave images out.
    """
    flags = []
    if (fall := _sure_fall(curves, since_drop=True)) is not None:
        text = f"the baseline's validation error still fell by {fall:.1f} points in the last fifth of training"
        flags.append(Flag(name="still falling", text=text))
    elif (fall := _sure_fall(curves, since_drop=False)) is not None:
        text = f"the baseline's validation error fell by {fall:.1f} points in the last fifth of training"
        text += ", but not since the last drop of the learning rate"
        flags.append(Flag(name="fell with the rate", text=text, doubt=False))
    if plateau and split == "val":
        text = "the plateau schedule judged by the images reported here: the errors of all arms are optimistic"
        flags.append(Flag(name="reported images used", text=text))
    if limits:
        text = f"only a part of the images was used ({', '.join(limits)}); those tested may be of few classes"
        flags.append(Flag(name="part of the images", text=text))
    return flags


def _sure_fall(curves: Sequence[Sequence[tuple[float, float]]], *, since_drop: bool) -> float | None:
    """Return the mean fall over the last fifth of the curves, in points; None if it is small or may be chance."""
    falls = np.array([fall for curve in curves if (fall := _fall_at_end(curve, since_drop=since_drop)) is not None])
    sure = len(falls) < 2 or not falls.std() or stats.ttest_1samp(falls, 0, alternative="greater").pvalue < 0.05
    return float(falls.mean()) if len(falls) and falls.mean() > STILL_FALLING and sure else None


def _fall_at_end(curve: Sequence[tuple[float, float]], *, since_drop: bool) -> float | None:
    """Return the fall of a straight line over the last fifth of a curve, at least three points; None if it is shorter.

    With `since_drop` the line is that of the points at the last rate, if the last fifth has three of them.
    """
    end = curve[-max(len(curve) // 5, 3) :]
    if len(end) < 3:
        return None
    at_last = [point for point in end if point[0] == end[-1][0]]
    errors = [error for _, error in (at_last if since_drop and len(at_last) >= 3 else end)]
    return float(-np.polyfit(np.arange(len(errors)), errors, 1)[0] * (len(end) - 1))
