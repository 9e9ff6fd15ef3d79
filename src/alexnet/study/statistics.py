"""Contrasts of arms when every seed meets every test image, and of one pair of networks; single errors.

An arm is the baseline or one ablation, a family the arms of one table: they share the spread between runs. Arrays over
arms have the baseline first; axes before that are studies, which the tests simulate. Errors and differences are in
points, `ablation minus baseline`. `docs/statistics.md` gives the formulas, the reasons, and how well they hold.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
_Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
PRIOR_DOF = 4.0
"""Degrees of freedom for which the variance common to all arms counts in each arm."""
ROUNDING = 1e-18
"""What may be left of a variance of 0, in points squared, as the mean of equal numbers can be a last bit off."""
SEEDS = range(3, 1001)
"""Numbers of seeds that are asked for: a verdict takes three, and no study has more than a thousand."""
STANDS_OUT_LEVEL = 0.01
"""Of the one-sided F test by which an arm is too noisy to share a variance with the others."""

Floats = NDArray[np.float64]
Correct = NDArray[np.bool_]


class Interval(NamedTuple):
    """From `low` to `high`, in the unit of what it is of."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The variance of a run around the mean of its arm, in points squared. Arrays [..., A]; `pooled...` [...]."""

    variance: Floats
    """Each arm's own, moderated by the pooled one."""
    dof: Floats
    stands_out: NDArray[np.bool_]
    """Arms that keep their own variance, and have no part in the pooled one."""
    pooled: Floats
    pooled_dof: Floats
    """No difference may claim more, apart from arms that stand out."""


def moderate(
    variance: ArrayLike,
    runs: ArrayLike,
    floor: ArrayLike = 0.0,
    *,
    prior_dof: float = PRIOR_DOF,
    level: float = STANDS_OUT_LEVEL,
) -> Spread:
    """Moderate the variances between runs [..., A] of all arms with the pooled one.

    `runs` [A] are the runs of each arm; at least one arm needs two. `floor` [..., A] is the variance that the finite
    test set alone gives a run. The variance of an arm with one run is not read.
    """
    dof = np.asarray(runs, dtype=np.float64) - 1.0
    own, floor = np.where(dof > 0, variance, 0.0), np.broadcast_to(floor, np.shape(variance))
    squares, least = dof * own, dof * floor
    others_dof = dof.sum(-1, keepdims=True) - dof
    others = np.maximum(_others(squares), _others(least))
    with np.errstate(divide="ignore", invalid="ignore"):
        stands_out = (others > ROUNDING) & (stats.f.sf(own * others_dof / others, dof, others_dof) < level)
    stands_out &= ~stands_out[..., dof > 0].all(-1, keepdims=True)
    kept = np.where(stands_out, 0.0, dof)
    pooled_dof = kept.sum(-1, keepdims=True)
    pooled = (kept * own).sum(-1, keepdims=True) / pooled_dof
    weight = np.where(stands_out, 0.0, np.minimum(prior_dof, pooled_dof))
    return Spread(
        variance=np.maximum((squares + weight * pooled) / (dof + weight), floor),
        dof=dof + weight,
        stands_out=stands_out,
        pooled=pooled[..., 0],
        pooled_dof=pooled_dof[..., 0],
    )


def known_spread(run_sd: float, arms: int) -> Spread:
    """Return the spread of a run sd, in points, that is taken as known: as many degrees of freedom as can be."""
    variance, endless = np.full(arms, run_sd**2), np.full(arms, np.inf)
    none = np.zeros(arms, dtype=bool)
    return Spread(variance=variance, dof=endless, stands_out=none, pooled=variance[0], pooled_dof=endless[0])


def _others(values: Floats) -> Floats:
    return np.asarray(values.sum(-1, keepdims=True) - values)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A difference of arms, or the mean of one, in points: numbers, or arrays over studies."""

    value: Floats
    of_seeds: Floats
    """The part of the squared standard error that shrinks with the seeds."""
    of_images: Floats
    """The part that stays however many seeds there are: the test set is finite."""
    dof: Floats
    largest: float = 100.0
    """In points, up or down, that it can be."""

    @property
    def standard_error(self) -> Floats:
        """In points."""
        return np.asarray(np.sqrt(self.of_seeds + self.of_images))

    def half_width(self, confidence: float = CONFIDENCE) -> Floats:
        """Return half the width of the interval."""
        return np.asarray(stats.t.ppf((1 + confidence) / 2, self.dof) * self.standard_error)

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return the interval, within what the value can be."""
        value, half = float(self.value), float(self.half_width(confidence))
        return Interval(max(value - half, -self.largest), min(value + half, self.largest))

    @property
    def p(self) -> Floats:
        """Two-sided, of a value of 0."""
        return np.asarray(2 * stats.t.sf(np.abs(self.value) / self.standard_error, self.dof))


def satterthwaite(parts: Floats, dof: Floats, limit: Floats, known: ArrayLike = 0.0) -> Floats:
    """Return the degrees of freedom of a sum of parts [..., P] with `dof` each, at most `limit`, and a `known` part."""
    total = parts.sum(-1)
    with np.errstate(divide="ignore"):  # endless degrees of freedom
        of_parts = np.minimum(total**2 / (parts**2 / dof).sum(-1), limit)
    return np.asarray(of_parts * ((total + known) / total) ** 2)


def dof_limit(spread: Spread, used: Sequence[int]) -> Floats:
    """Return the most degrees of freedom that arms `used` may have: of all variances that went into theirs."""
    out = spread.stands_out[..., list(used)]
    own = np.where(out, spread.dof[..., list(used)], 0.0).sum(-1)
    return np.asarray(np.where(out.all(-1), own, own + spread.pooled_dof))


def contrast(
    coefficients: ArrayLike, errors: ArrayLike, runs: ArrayLike, spread: Spread, of_images: ArrayLike = 0.0
) -> Estimate:
    """Weigh the mean errors [..., A] of arms with `coefficients` [A]: -1 and 1 for a delta."""
    weights, counts = np.asarray(coefficients, dtype=np.float64), np.asarray(runs, dtype=np.float64)
    used = np.flatnonzero(weights)
    parts = weights[used] ** 2 * spread.variance[..., used] / counts[used]
    return Estimate(
        value=np.asarray((np.asarray(errors) * weights).sum(-1)),
        of_seeds=np.asarray(parts.sum(-1)),
        of_images=np.asarray(of_images),
        dof=satterthwaite(parts, spread.dof[..., used], dof_limit(spread, used.tolist()), of_images),
        largest=100 * float(max(weights.clip(min=0).sum(), -weights.clip(max=0).sum())),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """The runs of one arm on the same N images: what each did on each, in points."""

    values: Floats
    """[S, N]: 100 where a run is wrong, or a difference of two views."""

    @property
    def runs(self) -> int:
        return len(self.values)

    @property
    def images(self) -> int:
        return int(self.values.shape[1])

    @cached_property
    def by_run(self) -> Floats:
        """[S], the error of each run."""
        return np.asarray(self.values.mean(1))

    @cached_property
    def by_image(self) -> Floats:
        """[N], percent of the runs that are wrong on each image."""
        return np.asarray(self.values.mean(0))

    @cached_property
    def residual(self) -> float | None:
        """Mean square of seed and image together, what neither explains alone; None with one run."""
        if self.runs == 1:
            return None
        rest = self.values - self.by_run[:, None] - self.by_image + self.values.mean()
        return float((rest**2).sum() / ((self.runs - 1) * max(self.images - 1, 1)))


@dataclass(frozen=True, eq=False)
class Family:
    """All arms of a table by one measure, the baseline first."""

    arms: tuple[Arm, ...]
    stated_run_sd: float | None = None
    """Standard deviation of a run, in points, from elsewhere: taken where no arm has two runs to show it."""

    @classmethod
    def of_correct(cls, tables: Sequence[Correct], stated_run_sd: float | None = None) -> "Family":
        """Take tables [S, N] of what each run of an arm got right; the numbers of runs may differ."""
        return cls(tuple(Arm(values=np.where(table, 0.0, 100.0)) for table in tables), stated_run_sd)

    @property
    def spread_is_assumed(self) -> bool:
        """Whether the spread between runs is the stated one."""
        return self.stated_run_sd is not None and int(self.runs.max()) == 1

    @property
    def runs(self) -> NDArray[np.int64]:
        """[A]"""
        return np.array([arm.runs for arm in self.arms])

    @property
    def errors(self) -> Floats:
        """[A], percent."""
        return np.array([arm.by_run.mean() for arm in self.arms])

    @cached_property
    def residuals(self) -> Floats:
        """[A]; an arm of one run has the mean of the others, 0 if all have one."""
        known = [arm.residual for arm in self.arms if arm.residual is not None] or [0.0]
        return np.array([np.mean(known) if arm.residual is None else arm.residual for arm in self.arms])

    @property
    def floor(self) -> Floats:
        """[A], the variance that the finite test set alone gives a run of each arm."""
        return self.residuals / self.arms[0].images

    @cached_property
    def spread(self) -> Spread | None:
        """None if no arm has two runs, and none is stated."""
        if self.runs.max() == 1:
            return None if self.stated_run_sd is None else known_spread(self.stated_run_sd, len(self.arms))
        variances = [arm.by_run.var(ddof=1) if arm.runs > 1 else 0.0 for arm in self.arms]
        return moderate(variances, self.runs, self.floor)

    def contrast(self, coefficients: Sequence[float]) -> Estimate | None:
        """Weigh the arms with one coefficient each, such as -1 and 1; None if the spread of the arms used is unknown.

        It is where no arm has two runs, and where all runs did the same on every image.
        """
        if self.spread is None:
            return None
        weights = np.array(coefficients)
        mixed = sum(weight * arm.by_image for weight, arm in zip(weights, self.arms, strict=True) if weight)
        images = self.arms[0].images
        noise = (weights**2 * self.residuals / self.runs).sum()
        of_images = max(float(np.var(mixed, ddof=1)) - noise, 0.0) / images if images > 1 else 0.0
        used = np.flatnonzero(weights)
        if not (self.spread.variance[used] > ROUNDING).any():
            return None
        return contrast(weights, self.errors, self.runs, self.spread, of_images)

    def delta(self, place: int, *, before: int = 0) -> Estimate | None:
        """Return how much more error the arm at `place` has than another, the baseline; None as for `contrast`."""
        return self.contrast([{before: -1.0, place: 1.0}.get(arm, 0.0) for arm in range(len(self.arms))])

    def interaction(self, first: int, second: int, both: int) -> Estimate | None:
        """Return what the arm `both` has beyond the sum of the deltas of `first` and `second`; 0 if effects add up."""
        weights = {0: 1.0, first: -1.0, second: -1.0, both: 1.0}
        return self.contrast([weights.get(arm, 0.0) for arm in range(len(self.arms))])


def fewest_seeds(is_enough: Callable[[int], bool]) -> int | None:
    """Return the fewest seeds that are enough, as any more are; None if even the most are not."""
    place = bisect_left(SEEDS, True, key=is_enough)
    return SEEDS[place] if place < len(SEEDS) else None


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Adjust p-values [..., K] of contrasts tested together, in the order given: Holm (1979).

    With K tests, the k-th smallest p-value (from 0) counts K - k times, and never less than one before it.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, axis=-1)
    factors = np.arange(p.shape[-1], 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(np.take_along_axis(p, order, -1) * factors, axis=-1), 1.0)
    result = np.empty_like(p)
    np.put_along_axis(result, order, adjusted, -1)
    return result


@dataclass(frozen=True, kw_only=True)
class PairedDelta:
    """One ablated run against the baseline with its seed."""

    delta: float
    """Rise of the error, in points."""
    interval: Interval
    """Covers the finite test set only: another seed may move the delta by more."""
    only_run_wrong: int
    """Images that the baseline got right and the ablated net wrong."""
    only_baseline_wrong: int
    p: float
    """Exact McNemar test of no difference."""


def mcnemar_p(only_run_wrong: int, only_baseline_wrong: int) -> float:
    """Test whether the discordant images are split evenly: McNemar (1947), exact and two-sided; 1 if there are none."""
    discordant = only_run_wrong + only_baseline_wrong
    return float(stats.binomtest(only_run_wrong, discordant).pvalue) if discordant else 1.0


def paired_interval(only_run_wrong: int, only_baseline_wrong: int, images: int) -> Interval:
    """Return the 95 % interval of a difference of two error rates on the same images, in points.

    The adjusted Wald interval of Bonett and Price (2012): with p = (b + 1) / (N + 2) and q = (c + 1) / (N + 2) for b
    and c discordant images out of N, it is p - q +- z sqrt((p + q - (p - q)^2) / (N + 2)). Unlike the plain Wald
    interval it keeps its coverage for few discordant images and has a width when there are none.
    """
    p, q = ((count + 1) / (images + 2) for count in (only_run_wrong, only_baseline_wrong))
    half = _Z * math.sqrt((p + q - (p - q) ** 2) / (images + 2))
    return Interval(100 * max(p - q - half, -1.0), 100 * min(p - q + half, 1.0))


def error_interval(wrong: int, images: int) -> Interval:
    """Return Wilson's (1927) 95 % interval of an error rate, in percent; it has a width even if nothing is wrong."""
    found = stats.binomtest(wrong, images).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(100 * float(found.low), 100 * float(found.high))


def mean_interval(differences: NDArray[np.float64]) -> Interval:
    """Return the 95 % normal interval of the mean of differences [N], in points, one for each of many images."""
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    mean, half = float(differences.mean()), _Z * error
    return Interval(max(mean - half, -100.0), min(mean + half, 100.0))


def paired_delta(baseline_correct: Correct, run_correct: Correct) -> PairedDelta:
    """Compare one pair; both arrays [N] say for each test image whether it was classified correctly."""
    only_run_wrong = int((baseline_correct & ~run_correct).sum())
    only_baseline_wrong = int((~baseline_correct & run_correct).sum())
    images = len(baseline_correct)
    return PairedDelta(
        delta=100 * (only_run_wrong - only_baseline_wrong) / images,
        interval=paired_interval(only_run_wrong, only_baseline_wrong, images),
        only_run_wrong=only_run_wrong,
        only_baseline_wrong=only_baseline_wrong,
        p=mcnemar_p(only_run_wrong, only_baseline_wrong),
    )
