"""Studies whose truth is known, and how often the statistics find it.

`python tests/study/simulation.py` prints the tables of `docs/statistics.md`; a number of studies may follow.

Most studies are drawn as errors of runs: a run varies by `RUN_SD` points around the mean of its arm, and a delta by
`OF_IMAGES` for the choice of images. Some are drawn image by image: an image is wrong where a normal score is above 0,
the sum of how hard it is, what the arm and the seed do to it, and noise.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from alexnet.config.schema import Claim, Effect
from alexnet.study.power import Design, power, predict
from alexnet.study.statistics import Estimate, Family, Floats, Interval, Spread, contrast, holm, moderate
from alexnet.study.verdict import ratio, region, size

STUDIES, TABLES, SEED = 4000, 300, 2012
RUN_SD, OF_IMAGES = 0.25, 0.002
SPREADS = ("equal", "one arm 2x", "one arm 4x", "half the arms 2x", "baseline 0.5x", "baseline 2x", "t, 3 df", "skewed")
"""How much the runs of arms vary, as multiples of `RUN_SD`, or by which distribution."""
LOOKS = ((5, 0.01), (10, 0.04))


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of studies, in percent."""

    percent: float
    error: float
    """Monte-Carlo standard error."""

    def __str__(self) -> str:
        return f"{self.percent:.1f} +- {self.error:.1f}"


def rate(hits: NDArray[np.bool_]) -> Rate:
    """Count hits [R, ...]; studies are the first axis, and only they are independent."""
    by_study = hits.reshape(len(hits), -1).mean(1)
    return Rate(percent=100 * by_study.mean(), error=100 * by_study.std(ddof=1) / math.sqrt(len(hits)))


def deviations(spread: str, ablations: int) -> Floats:
    """Standard deviations [A] of a run in each arm."""
    sd = np.full(ablations + 1, RUN_SD)
    factor = 4.0 if "4x" in spread else 0.5 if "0.5x" in spread else 2.0 if "2x" in spread else 1.0
    ends = {"base": slice(0, 1), "half": slice(1, 1 + ablations // 2), "one ": slice(1, 2)}
    sd[ends.get(spread[:4], slice(0))] *= factor
    return sd


def draw(
    rng: np.random.Generator,
    studies: int,
    seeds: int,
    spread: str = "equal",
    ablations: int = 8,
    of_images: float = OF_IMAGES,
) -> Floats:
    """Errors [R, A, S] of studies without any effect."""
    shape = (studies, ablations + 1, seeds)
    z = rng.standard_normal(shape)
    if spread == "t, 3 df":
        z = rng.standard_t(3, shape) / math.sqrt(3)
    if spread == "skewed":
        z = rng.exponential(1, shape) - 1
    shift = math.sqrt(of_images / 2) * rng.standard_normal((*shape[:2], 1))
    return np.asarray(deviations(spread, ablations)[:, None] * z + shift)


def analyze(errors: Floats, of_images: float = OF_IMAGES, floor: float = 0.0) -> tuple[list[Estimate], Spread]:
    """The delta of every ablation, as a report has it, over all studies at once."""
    arms, seeds = errors.shape[-2:]
    spread = moderate(errors.var(-1, ddof=1), [seeds] * arms, floor)
    weights = [[-1.0 if arm == 0 else float(arm == place) for arm in range(arms)] for place in range(1, arms)]
    return [contrast(one, errors.mean(-1), [seeds] * arms, spread, of_images) for one in weights], spread


def p_values(deltas: Sequence[Estimate]) -> Floats:
    """[R, K]"""
    return np.stack([one.p for one in deltas], axis=-1)


def before(errors: Floats) -> tuple[Floats, Floats]:
    """p [R, K] and critical half-widths [R, K] of the method before: each delta by itself, seeds paired.

    Cochran and Cox's critical value, at the share of the seeds ** 1.5.
    """
    seeds = errors.shape[2]
    differences = errors[:, 1:] - errors[:, :1]
    of_seeds = differences.var(-1, ddof=1) / seeds
    error = np.sqrt(of_seeds + OF_IMAGES)
    weight = (of_seeds / error**2) ** 1.5
    levels = np.logspace(-12, 0, 2000)
    student, normal = -special.stdtrit(seeds - 1, levels / 2), -special.ndtri(levels / 2)
    low, high = np.zeros(error.shape, int), np.full(error.shape, len(levels) - 1)
    while (high - low > 1).any():
        middle = (low + high) // 2
        reached = weight * student[middle] + (1 - weight) * normal[middle] > np.abs(differences.mean(-1)) / error
        low, high = np.where(reached, middle, low), np.where(reached, high, middle)
    critical = weight * special.stdtrit(seeds - 1, 0.975) + (1 - weight) * special.ndtri(0.975)
    return levels[low], critical * error


@dataclass(frozen=True, kw_only=True)
class Performance:
    """What a method does in one setting."""

    coverage: Rate
    """Of the arms with one standard deviation that are covered worst."""
    family_wise: Rate
    """Any of the ablations, none with an effect, with a Holm-adjusted p below 0.05."""
    power: Rate
    """Of the last ablation with an effect of one point."""


def performance(
    rng: np.random.Generator,
    studies: int,
    seeds: int,
    spread: str = "equal",
    ablations: int = 8,
    *,
    of_images: float = OF_IMAGES,
    method: Callable[[Floats], tuple[Floats, Floats]] | None = None,
) -> Performance:
    """Draw studies, analyze them, and give the last ablation an effect of one point for the power."""

    def ours(errors: Floats) -> tuple[Floats, Floats]:
        deltas, _ = analyze(errors, of_images)
        return p_values(deltas), np.stack([one.half_width() for one in deltas], axis=-1)

    analysis = method or ours
    errors, sd = draw(rng, studies, seeds, spread, ablations, of_images), deviations(spread, ablations)[1:]
    p, half = analysis(errors)
    covered = np.abs((errors[:, 1:] - errors[:, :1]).mean(-1)) <= half
    groups = [rate(covered[:, sd == value]) for value in np.unique(sd)]
    moved = errors.copy()
    moved[:, -1] += 1.0
    return Performance(
        coverage=min(groups, key=lambda one: one.percent),
        family_wise=rate((holm(p) < 0.05).any(1)),
        power=rate(holm(analysis(moved)[0])[:, -1] < 0.05),
    )


@dataclass(frozen=True, kw_only=True)
class Judgments:
    """What is said of a claimed number, by study."""

    rejected: Rate
    """Outside of the prediction interval."""
    left_out: Rate
    """Outside of the interval of our mean, as if the number were exact."""
    words: dict[str, Rate]
    """Verdicts on the size."""


def judgments(
    rng: np.random.Generator,
    studies: int,
    seeds: int,
    *,
    run_sd: float = RUN_SD,
    ablated: float = 1.0,
    claimed: float = 1.4,
    truth: float = 1.4,
) -> Judgments:
    """Hold a paper's single pair of runs, rounded to 0.1, against studies of the same images; `ablated` is a factor."""
    sd = np.full(9, run_sd)
    sd[1] *= ablated
    errors = sd[:, None] * rng.standard_normal((studies, 9, seeds))
    images = math.sqrt(OF_IMAGES / 2) * rng.standard_normal((studies, 9))
    errors += images[..., None]
    errors[:, 1] += truth
    noise = sd[1] * rng.standard_normal(studies) - sd[0] * rng.standard_normal(studies)
    published = np.round(claimed + images[:, 1] - images[:, 0] + noise, 1)
    deltas, spread = analyze(errors)
    ahead = predict(spread, 1, [seeds] * 9)
    found, wide, narrow = deltas[0], deltas[0].half_width(), deltas[0].half_width(0.9)
    away = np.abs(published - found.value)
    words = []
    for study in range(studies):
        claim = Claim(title="", section="", statement="", paper=Effect(top1=float(published[study])))
        allowed, delta = region(claim, "paper", "top1"), float(found.value[study])
        assert allowed is not None
        words.append(
            size(
                allowed,
                delta,
                interval=Interval(delta - wide[study], delta + wide[study]),
                narrow=Interval(delta - narrow[study], delta + narrow[study]),
                half=float(ahead.half[study]),
                least=float(ahead.least[study]),
            )
        )
    said = np.array(words)
    return Judgments(
        rejected=rate(away > ahead.half + 0.05),
        left_out=rate(away > wide),
        words={word: rate(said == word) for word in np.unique(said)},
    )


@dataclass(frozen=True, kw_only=True)
class TwoLooks:
    """What a plan with one extension does."""

    false_positive: Rate
    """Any of the ablations, none with an effect."""
    power: Rate
    """Of the last ablation with the effect."""
    no_effect: Rate
    """The last ablation is said to have none, by a margin of half a point."""
    seeds: float
    """Mean of the last ablation."""


def two_looks(rng: np.random.Generator, studies: int, effect: float, spread: str = "equal") -> TwoLooks:
    """Look at 5 seeds with level 0.01, extend what is not settled to 10, and look with level 0.04."""
    errors = draw(rng, studies, LOOKS[-1][0], spread)
    errors[:, -1] += effect
    settled = np.full((studies, 8), np.nan)
    used = np.full(studies, float(LOOKS[-1][0]))
    for seeds, level in LOOKS:
        deltas, _ = analyze(errors[:, :, :seeds])
        p = holm(np.where(np.isnan(settled), p_values(deltas), settled))
        narrow = np.stack([one.half_width(1 - 2 * level) for one in deltas], axis=-1)
        values = np.stack([one.value for one in deltas], axis=-1)
        new = np.isnan(settled) & ((p < level) | (np.abs(values) + narrow < 0.5))
        settled[new] = np.where(p < level, 0.0, 1.0)[new]
        used[new[:, -1] & (used == LOOKS[-1][0])] = seeds
    return TwoLooks(
        false_positive=rate((settled == 0)[:, : 8 if effect == 0 else 7].any(1)),
        power=rate(settled[:, -1] == 0),
        no_effect=rate(settled[:, -1] == 1),
        seeds=float(used.mean()),
    )


def tables(
    rng: np.random.Generator, seeds: tuple[int, int], images: int, error: float, arm_image: float, seed_effect: float
) -> list[NDArray[np.bool_]]:
    """What the runs of a baseline and 8 ablations without effect get right; `seeds` of baseline and ablations."""
    noise = 0.7
    limit = stats.norm.ppf(error) * math.sqrt(1 + arm_image**2 + noise**2 + seed_effect**2)
    hard = rng.standard_normal(images, dtype=np.float32)
    found = []
    for arm in range(9):
        runs = seeds[0] if arm == 0 else seeds[1]
        score = hard + arm_image * rng.standard_normal(images, dtype=np.float32)
        score = score + noise * rng.standard_normal((runs, images), dtype=np.float32)
        found.append(score + seed_effect * rng.standard_normal((runs, 1), dtype=np.float32) <= -limit)
    return found


TABLE_SETTINGS = (
    ((2, 2), 1000, 0.4, 0.1, 0.0),
    ((3, 3), 1000, 0.4, 0.1, 0.0),
    ((5, 5), 1000, 0.4, 0.3, 0.03),
    ((3, 3), 3750, 0.6, 0.1, 0.03),
    ((5, 5), 3750, 0.6, 0.1, 0.03),
    ((10, 5), 3750, 0.6, 0.1, 0.03),
    ((3, 3), 1000, 0.02, 0.1, 0.0),
)
"""Seeds of baseline and ablations, images, error, and what the arm does to an image and the seed to all, in scores."""


def from_tables(
    rng: np.random.Generator, studies: int, setting: tuple[tuple[int, int], int, float, float, float]
) -> Performance:
    """Analyze studies drawn image by image; their power is not measured."""
    inside, false = [], []
    for _ in range(studies):
        family = Family.of_correct(tables(rng, *setting))
        deltas = [delta for place in range(1, 9) if (delta := family.delta(place)) is not None]
        inside.append(np.mean([abs(float(one.value)) <= float(one.half_width()) for one in deltas]))
        false.append(bool((holm([float(one.p) for one in deltas]) < 0.05).any()))
    nothing = Rate(percent=math.nan, error=math.nan)
    return Performance(coverage=rate(np.array(inside)), family_wise=rate(np.array(false)), power=nothing)


def power_found(rng: np.random.Generator, studies: int, ablations: int, seeds: int, delta: float) -> tuple[float, Rate]:
    """Power by the formula, and by simulation, in percent; plain p below 0.05."""
    errors = draw(rng, studies, seeds, ablations=ablations)
    errors[:, -1] += delta
    last = analyze(errors)[0][-1]
    design = Design(
        variances=(RUN_SD**2, RUN_SD**2),
        of_images=OF_IMAGES,
        seeds=(seeds, seeds),
        arms=ablations + 1,
        pooled_dof=float((ablations + 1) * (seeds - 1)),
        tests=ablations,
    )
    return 100 * power(design, delta, 0.05), rate((last.p < 0.05) & (last.value > 0))


def ratios_covered(rng: np.random.Generator, studies: int, seeds: int, slow_sd: float, arrive: float) -> Rate:
    """Ratios of 6 that their interval holds; with `arrive` below 1, their lower limit where runs are censored."""
    held = []
    for _ in range(studies):
        fast = np.exp(0.06 * rng.standard_normal(seeds))
        slow = 6 * np.exp(slow_sd * rng.standard_normal(seeds))
        end = 6 * math.exp(slow_sd * stats.norm.ppf(arrive))
        censored = int((slow > end).sum())
        interval = ratio(np.minimum(slow, end), fast, censored=censored).interval
        assert interval is not None
        if censored or arrive == 1:
            held.append(interval.low <= 6 <= interval.high)
    return rate(np.array(held))


def main(studies: int) -> None:
    """Print the tables, in Markdown."""
    print(
        "| ablations | seeds | spread | coverage | family-wise error | power, 1 point | before: f.-w. error | power |"
    )
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    settings = [(8, seeds, spread) for seeds in (3, 5, 10) for spread in SPREADS] + [
        (k, s, "equal") for k, s in ((1, 3), (4, 3), (20, 3), (20, 5), (8, 2))
    ]
    for ablations, seeds, spread in settings:
        one = performance(np.random.default_rng(SEED), studies, seeds, spread, ablations)
        old = performance(np.random.default_rng(SEED), studies, seeds, spread, ablations, method=before)
        figures = (one.coverage, one.family_wise, one.power, old.family_wise, old.power)
        print(f"| {ablations} | {seeds} | {spread} | {' | '.join(map(str, figures))} |", flush=True)
    print("\n| seeds | images | error | coverage | family-wise error |\n| ---: | ---: | ---: | ---: | ---: |")
    for setting in TABLE_SETTINGS:
        one = from_tables(np.random.default_rng(SEED), min(studies, TABLES), setting)
        figures = (
            f"{setting[0][0]}, {setting[0][1]}",
            setting[1],
            f"{100 * setting[2]:g} %",
            one.coverage,
            one.family_wise,
        )
        print(f"| {' | '.join(map(str, figures))} |", flush=True)
    print("\n| run sd | ablated arm | seeds | claim | truth | left out by the interval | rejected | verdicts |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for run_sd, ablated, seeds, truth in (
        *((0.25, 1.0, seeds, 1.4) for seeds in (3, 5, 10)),
        *((0.25, 2.0, seeds, 1.4) for seeds in (5, 10)),
        *((sd, 1.0, 5, truth) for sd, truth in ((0.1, 1.4), (0.5, 1.4), (0.25, 0.0), (0.25, 0.7))),
    ):
        said = judgments(np.random.default_rng(SEED), studies, seeds, run_sd=run_sd, ablated=ablated, truth=truth)
        words = ", ".join(f"{word} {one.percent:.0f}" for word, one in said.words.items())
        print(
            f"| {run_sd} | {ablated:g}x | {seeds} | 1.4 | {truth} | {said.left_out} | {said.rejected} | {words} |",
            flush=True,
        )
    print(
        "\n| effect | spread | any false positive | found | no effect | seeds |"
        "\n| ---: | --- | ---: | ---: | ---: | ---: |"
    )
    for effect, spread in ((0.0, "equal"), (0.0, "one arm 4x"), (0.4, "equal"), (0.5, "equal"), (1.0, "equal")):
        one = two_looks(np.random.default_rng(SEED), studies, effect, spread)
        figures = (one.false_positive, one.power, one.no_effect, f"{one.seeds:.1f}")
        print(f"| {effect} | {spread} | {' | '.join(map(str, figures))} |", flush=True)
    print("\n| ablations | seeds | delta | power by the formula | simulated |\n| ---: | ---: | ---: | ---: | ---: |")
    for ablations, seeds, delta in ((8, 3, 0.5), (8, 5, 0.4), (8, 10, 0.4), (20, 3, 0.8), (3, 3, 0.6), (1, 3, 0.6)):
        formula, found = power_found(np.random.default_rng(SEED), studies, ablations, seeds, delta)
        print(f"| {ablations} | {seeds} | {delta} | {formula:.1f} | {found} |", flush=True)
    print(
        "\n| seeds | sd of log times | runs that arrive | interval or limit holds the ratio |"
        "\n| ---: | ---: | ---: | ---: |"
    )
    for seeds, slow_sd, arrive in ((3, 0.06, 1.0), (5, 0.12, 1.0), (3, 0.12, 0.9), (5, 0.06, 0.5)):
        held = ratios_covered(np.random.default_rng(SEED), studies, seeds, slow_sd, arrive)
        print(f"| {seeds} | 0.06, {slow_sd} | {arrive:.0%} | {held} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES)
