"""What a table says of each ablation by one measure: delta, interval, p, verdicts, flags, and the seeds needed."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from alexnet.config.schema import Claim
from alexnet.runs.result import BASELINE, Result
from alexnet.study import power
from alexnet.study.flags import (
    Flag,
    assumed_flag,
    chance_accuracy,
    discordance_flags,
    diverged_flags,
    learned,
    learning_flags,
    limit_flags,
    numerics_flags,
    outliers,
    seed_flags,
)
from alexnet.study.pairing import Evaluated, changed_settings, environment
from alexnet.study.statistics import CONFIDENCE, Arm, Estimate, Family, Interval, PairedDelta, holm, paired_delta
from alexnet.study.verdict import Direction, Size, claimed_sign, direction, region, size

SOURCES = ("paper", "log")
"""Of claims: the paper, and its authors' log."""
LEVEL = 0.05
MORE_SEEDS = 5
"""In every arm: a plan's extension."""
GUESSES = {"top1": 1, "top5": 5}
"""Measure -> among how many of the most probable classes the label must be; fewer than that many classes have none."""

Arms = Mapping[str, Sequence[Evaluated]]
"""The runs of each arm of a table, by ablation, the baseline first."""


@dataclass(frozen=True, kw_only=True)
class StatedSpread:
    """A spread between runs from elsewhere, for studies of one run of each arm, with the same recipe and test set."""

    run_sd: Mapping[str, float]
    """In points, by measure."""
    source: str
    """Where it is from, in words."""


@dataclass(frozen=True, kw_only=True)
class SizeVerdict:
    """Whether an effect is as large as one source says."""

    size: Size | None
    """None if `reason` says why it is not judged."""
    reason: str | None = None
    prediction: power.Prediction | None = None
    """How far the delta of published runs may be from ours; None if it is not judged."""
    seeds: int | None = None
    """Of a size that is not resolved: in every arm, from which on the claim is told from no effect; None if unknown."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What the spread between runs says of other deltas and numbers of seeds."""

    min_detectable_effect: float | None = None
    """The smallest delta, in points, that these seeds find with 80 % power; None if the spread is unknown,
    infinity if they would miss even 100."""
    with_more_seeds: float | None = None
    """The same after `MORE_SEEDS` more in every arm."""
    seeds_needed: int | None = None
    """In every arm, to find the claimed number with 80 % power; None if `reason` says why."""
    seeds_range: tuple[int | None, int | None] = (None, None)
    """The same at the limits of what is known of the spread; None for more than a thousand."""
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """What the last of several changes does: steps from arm to arm are a path from one recipe to another."""

    before: str
    """The arm of the same table that has all changes but one."""
    change: Estimate
    """In points, by itself: not one of the tests of the table."""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """One ablation against the baseline, by one measure. In points; above 0 the ablation made the error worse."""

    delta: float
    interval: Interval
    confidence: float
    """Of `interval`: 95 %, or what a look of a plan leaves."""
    level: float
    """Of the tests: 5 %, or that of the look."""
    p: float
    """Two-sided, of no difference; NaN if the spread between runs is stated, not seen."""
    holm_p: float
    """Adjusted for all contrasts of the table."""
    run_sd: float | None
    """Standard deviation of a run of this arm, moderated by the family's; None if it is unknown."""
    direction: Direction
    sizes: Mapping[str, SizeVerdict]
    """By source that gives a number."""
    outlook: Outlook
    interaction: Estimate | None
    """Of a combination: its delta beyond the sum of those of its two parts."""
    interaction_holm_p: float | None
    step: Step | None
    """Of a combination, if the table has one arm with all of its parts but one."""
    flags: tuple[Flag, ...]

    @property
    def spread(self) -> str:
        """How it is known how much runs vary: `seen` in runs of several seeds, `stated`, or `unknown`."""
        return "unknown" if self.run_sd is None else "stated" if math.isnan(self.p) else "seen"

    @property
    def doubts(self) -> tuple[Flag, ...]:
        """The flags because of which the verdict is worded as flagged."""
        return tuple(flag for flag in self.flags if flag.doubt)


def assess(
    arms: Arms,
    measure: str,
    *,
    level: float = LEVEL,
    margin: float | None = None,
    settled: Mapping[str, float] = MappingProxyType({}),
    diverged: Mapping[str, int] = MappingProxyType({}),
    table_flags: Sequence[Flag] = (),
    stated: StatedSpread | None = None,
) -> dict[str, Assessment]:
    """Assess every ablation of a table; none without a baseline.

    `margin` takes the place of those of the claims. `settled` are p-values with which ablations that an earlier look
    has settled enter Holm's adjustment. `diverged` are the runs of an arm that have no error for that reason. `stated`
    counts where every arm has one run.
    """
    if not arms.get(BASELINE) or len(arms) < 2:
        return {}
    tables = [np.stack([one.correct[measure] for one in runs]) for runs in arms.values()]
    run_sd = stated.run_sd.get(measure) if stated else None
    family = Family.of_correct(tables, run_sd)
    assumed = [assumed_flag(run_sd, stated.source)] if stated and run_sd and family.spread_is_assumed else []
    places = {name: place for place, name in enumerate(arms)}
    estimates = {name: family.delta(place) for name, place in places.items() if place}
    pairs = {name: _pairs(arms[name], arms[BASELINE], measure) for name in estimates}
    p = {name: float(one.p) if one else pairs[name][0].p for name, one in estimates.items()}
    if assumed:
        p = dict.fromkeys(p, math.nan)
    left = outliers([arm.by_run for arm in family.arms])
    flags_of = {
        name: [
            *_flags(arms, name, measure, family, pairs[name], left, assumed),
            *diverged_flags(diverged.get(name, 0), len(arms[name]), diverged.get(BASELINE, 0), len(arms[BASELINE])),
            *table_flags,
        ]
        for name in estimates
    }
    limited = {name for name, flags in flags_of.items() if any(flag.no_equivalence for flag in flags)}
    interactions = _interactions(family, places, limited)
    tested = {name: settled.get(name, one) for name, one in p.items()}
    tested |= {f"{name} beyond its parts": math.nan if assumed else float(one.p) for name, one in interactions.items()}
    holm_p = dict(zip(tested, map(float, holm([*tested.values()])), strict=True))
    found = {}
    for name, estimate in estimates.items():
        place, pair, flags, result = places[name], pairs[name][0], flags_of[name], arms[name][0].run.result
        claim = result.claims.get(name)
        interval = estimate.interval(1 - level) if estimate else pair.interval
        delta = float(estimate.value) if estimate else pair.delta
        few = min(len(arms[name]), len(arms[BASELINE])) < 3
        word = Direction.TOO_FEW_SEEDS
        if not few:
            most = getattr(claim.margin, measure) if claim and margin is None else margin
            word = direction(
                delta,
                significant=holm_p[name] < level,
                sign=claimed_sign(claim, measure) if claim else 0,
                narrow=estimate.interval(1 - 2 * level) if estimate else interval,
                margin=None if name in limited else most,
            )
        spread = family.spread if estimate else None
        found[name] = Assessment(
            delta=delta,
            interval=interval,
            confidence=1 - level if estimate else CONFIDENCE,
            level=level,
            p=p[name],
            holm_p=holm_p[name],
            run_sd=float(np.sqrt(spread.variance[place])) if spread else None,
            direction=word,
            sizes=_sizes(family, place, None if few and not assumed else estimate, result, measure, flags),
            outlook=_outlook(family, place, estimate, claim, measure, tests=len(tested), level=level),
            interaction=interactions.get(name),
            interaction_holm_p=holm_p.get(f"{name} beyond its parts"),
            step=_step(family, places, name),
            flags=tuple(flags),
        )
    return found


def ten_crop_gains(arms: Arms, measure: str) -> dict[str, Estimate]:
    """Return by how many points ten crops lower the error of each arm, paired within its runs.

    Empty if a run lacks one of the views; an arm is missing if its spread is unknown.
    """
    if not arms or any(one.gain is None for runs in arms.values() for one in runs):
        return {}
    tables = [np.stack([one.gain[measure] for one in runs if one.gain]) for runs in arms.values()]
    family = Family(tuple(Arm(values=np.asarray(100.0 * table, dtype=np.float64)) for table in tables))
    found = {name: family.contrast([float(arm == name) for arm in arms]) for name in arms}
    return {name: gain for name, gain in found.items() if gain is not None}


def _pairs(runs: Sequence[Evaluated], baselines: Sequence[Evaluated], measure: str) -> list[PairedDelta]:
    """Compare each run with the baseline of its seed, else with the first: for counts of images, not for the delta."""
    first = baselines[0].correct[measure]
    return [one.deltas[measure] if one.baseline else paired_delta(first, one.correct[measure]) for one in runs]


def _interactions(family: Family, places: Mapping[str, int], limited: Set[str]) -> dict[str, Estimate]:
    """Return what each combination of two ablations of the table has beyond the sum of their deltas.

    There is none where an arm is `limited`: near 0 % or chance effects that add up on another scale look like one.
    """
    found = {}
    for name, place in places.items():
        parts = name.split("+")
        if len(parts) != 2 or not places.keys() >= {*parts} or not limited.isdisjoint([name, *parts]):
            continue
        if (estimate := family.interaction(places[parts[0]], places[parts[1]], place)) is not None:
            found[name] = estimate
    return found


def _step(family: Family, places: Mapping[str, int], name: str) -> Step | None:
    """Return the step to a combination; None if no arm, or more than one, has all of its parts but one."""
    parts = set(name.split("+"))
    less_one = [arm for arm in places if parts > (own := set(arm.split("+"))) and len(parts) == len(own) + 1]
    if len(less_one) != 1:
        return None
    change = family.delta(places[name], before=places[less_one[0]])
    return Step(before=less_one[0], change=change) if change else None


def _flags(
    arms: Arms,
    name: str,
    measure: str,
    family: Family,
    pairs: Sequence[PairedDelta],
    left: Sequence[NDArray[np.bool_]],
    assumed: Sequence[Flag],
) -> list[Flag]:
    """Return the flags of one arm.

    `left` says which runs of each arm are far from their siblings; `assumed` takes the place of the flags of few seeds.
    """
    place, sides = [*arms].index(name), (arms[name], arms[BASELINE])
    claim = arms[name][0].run.result.claims.get(name)
    by_run = family.arms[place].by_run, family.arms[0].by_run
    chance = chance_accuracy(sides[1][0].labels, GUESSES[measure])
    correct = [np.stack([one.correct[measure] for one in side]) for side in sides]
    guessed = (np.array([one.most_guessed for one in side]) for side in sides)
    did, baseline_did = (learned(table, chance, most) for table, most in zip(correct, guessed, strict=True))
    numerics = [
        [{fact: v for fact, v in environment(one.run.result).items() if fact != "code"} for one in side]
        for side in sides
    ]
    allowed = [region(claim, source, measure) for source in SOURCES] if claim else []
    wrong = [int(count) for table in correct for count in (~table).sum(1)]
    flags = [
        *(assumed or seed_flags(*map(len, sides), has_spread=family.spread is not None)),
        *learning_flags(did, baseline_did, *by_run),
        *limit_flags(
            wrong, correct[0].shape[1], float(family.errors[0]), 100 * (1 - chance), next(filter(None, allowed), None)
        ),
        *numerics_flags(*numerics),
    ]
    if family.spread is not None and family.spread.stands_out[place]:
        text = "its runs vary more than those of the other arms: judged by their own spread, in a wider interval"
        flags.append(Flag(name="spread stands out", text=text, doubt=False))
    away = left[place], left[0]
    far = [
        f"{arm} seed {one.run.result.seed}"
        for arm, side, gone in zip((name, BASELINE), sides, away, strict=True)
        for one, is_far in zip(side, gone, strict=True)
        if is_far
    ]
    if far:
        from_what = "each other" if any(gone.all() for gone in away) else "its siblings"  # of two, either is as far
        text = f"far from {from_what}: {', '.join(far)}"
        own, baseline = (errors[~gone] for errors, gone in zip(by_run, away, strict=True))
        if len(own) and len(baseline):
            text += f"; without it the delta is {own.mean() - baseline.mean():+.2f} points"
        flags.append(Flag(name="run left its siblings", text=text))
    discordant = [(one.only_run_wrong, one.only_baseline_wrong) for one in pairs]
    return flags + discordance_flags(discordant, with_p=not assumed)


def _sizes(
    family: Family, place: int, estimate: Estimate | None, result: Result, measure: str, flags: Sequence[Flag]
) -> dict[str, SizeVerdict]:
    """Judge the size by every source that gives a number; `estimate` is None with too few seeds."""
    verdicts: dict[str, SizeVerdict] = {}
    claim = result.claims.get(result.ablation)
    if claim is None:
        return verdicts
    for source in SOURCES:
        allowed, effect = region(claim, source, measure), getattr(claim, source)
        if allowed is None:
            continue
        fits = result.experiment in effect.experiments and result.recipe in (effect.recipes or [result.recipe])
        reasons = [] if fits and not changed_settings(result) else ["other data or recipe"]
        reasons += [flag.name for flag in flags if flag.no_size]
        if reasons or estimate is None or family.spread is None:
            verdicts[source] = SizeVerdict(size=None, reason=next(iter(reasons), "too few seeds"))
            continue
        images = power.published_images(family, estimate.of_images, effect.images)
        ahead = power.predict(family.spread, place, family.runs, **images)
        word = size(
            allowed,
            float(estimate.value),
            interval=estimate.interval(),
            narrow=estimate.interval(0.9),
            half=float(ahead.half),
            least=float(ahead.least),
        )
        needed = None
        if word is Size.NOT_RESOLVED and allowed.one_run:
            needed = power.seeds_to_test(family.spread, place, allowed.from_zero, **images)
        verdicts[source] = SizeVerdict(size=word, prediction=ahead, seeds=needed)
    return verdicts


def _outlook(
    family: Family,
    place: int,
    estimate: Estimate | None,
    claim: Claim | None,
    measure: str,
    *,
    tests: int,
    level: float,
) -> Outlook:
    numbers = [getattr(getattr(claim, source), measure) for source in SOURCES] if claim else []
    wanted = next((number for number in numbers if number is not None), None)
    if family.spread_is_assumed:  # `of_images` holds a part that shrinks with the seeds, and nobody knows how large
        return Outlook(reason="unknown from one run of each arm")
    if family.spread is None or estimate is None:
        return Outlook(reason="the spread between runs is unknown")
    spread = family.spread
    own = np.maximum(np.where(spread.stands_out, spread.variance, spread.pooled), family.floor)
    design = power.Design(
        variances=(float(own[place]), float(own[0])),
        of_images=float(estimate.of_images),
        seeds=(int(family.runs[place]), int(family.runs[0])),
        arms=len(family.arms),
        pooled_dof=float(spread.pooled_dof),
        tests=tests,
        level=level,
    )
    least, after = (power.min_detectable_effect(one) for one in (design, design.with_more(MORE_SEEDS)))
    found = Outlook(min_detectable_effect=least, with_more_seeds=after, reason="no number is claimed")
    if not wanted:
        return found
    design = replace(design, level=LEVEL)  # of a study of as many seeds in every arm, looked at once
    needed = power.seeds_needed(design, wanted)
    if needed is None:
        return replace(found, reason=f"the test set is too small for {wanted:g} points, whatever the number of seeds")
    return replace(found, seeds_needed=needed, seeds_range=power.seeds_needed_range(design, wanted), reason=None)
