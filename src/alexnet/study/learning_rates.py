"""Learning rates chosen for each arm of a planned study, by held-out training images and with one budget for all."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Literal

from alexnet.runs.collect import Run
from alexnet.runs.result import ErrorRates, Result
from alexnet.runs.study_plan import BASELINE, Plan, RateSearch, result_name

VIEW = "ten_crop"

Rate = Literal["judged", "other"]


@dataclass(frozen=True, kw_only=True)
class ArmRates:
    """What the search found for one arm."""

    errors: Mapping[float, float]
    """Percent of the held-out images, mean over the seeds, by rate; infinite where a run diverged."""
    standard_error: float
    """In points, of the lowest of them."""
    chosen: float

    @property
    def diverged(self) -> bool:
        """Whether a run diverged at every rate: the chosen one is a convention, as near as can be to the shared one."""
        return math.isinf(min(self.errors.values()))

    @property
    def at_edge(self) -> bool:
        """Whether the chosen rate is the first or the last of the grid: a better one may lie beyond it."""
        return self.chosen in (min(self.errors), max(self.errors))


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the search of a plan found."""

    search: RateSearch
    grid: tuple[float, ...]
    """With one step more where the best of an arm was at the edge of the plan's."""
    images: int
    """Held-out training images that judged the rates."""
    arms: Mapping[str, ArmRates]
    """By ablation, named as in result files, the baseline first."""

    @property
    def shared(self) -> float:
        """The baseline's best rate, at which every arm runs."""
        return self.arms[BASELINE].chosen

    def of(self, ablation: str) -> list[float]:
        """Return the rates at which an arm runs: the shared one, and its own if that is another."""
        return list(dict.fromkeys((self.shared, self.arms[ablation].chosen)))


def rate_of(result: Result, plan: Plan | None, rates: Rates | None, usual: float | None) -> Rate | None:
    """Return at which of its rates a run of a study was made, that at which its claim is judged; None for no such.

    Without a search in its plan there is one rate. Before the end of the search only the `usual` one counts.
    """
    if plan is None or plan.search is None:
        return "judged"
    if rates is None:
        return "judged" if result.lr == usual else None
    allowed = rates.of(result.ablation)
    judged = allowed[-1 if any(claim.rate == "own" for claim in result.claims.values()) else 0]
    return ("judged" if result.lr == judged else "other") if result.lr in allowed else None


def usual_rate(results: Sequence[Result]) -> float | None:
    """Return the rate of most baselines, else of most runs; None without any."""
    some = [result for result in results if result.ablation == BASELINE] or results
    return Counter(result.lr for result in some).most_common(1)[0][0] if some else None


def searched_rates(plan: Plan, runs: Sequence[Run]) -> tuple[float, ...]:
    """Return the rates that every arm is searched at: the plan's grid, and a step more where an arm needs it.

    Where the best rate of any arm is at an edge of the grid, all arms get one rate beyond that edge.
    """
    if plan.search is None:
        return ()
    grid, (below, above) = plan.search.grid, plan.search.beyond
    first = _choose_on(grid, plan, runs)
    best = {arm.chosen for arm in first.arms.values()} if first else set()
    return (*[below] * (grid[0] in best), *grid, *[above] * (grid[-1] in best))


def missing_searches(plan: Plan, runs: Sequence[Run]) -> int:
    """Return how many runs of the search for rates have not come to an end; one that diverged has."""
    return _missing(_errors(searched_rates(plan, runs), plan, runs))


def _missing(errors_of: Mapping[str, Mapping[float, Sequence[float]]]) -> int:
    return sum(math.isnan(error) for by_rate in errors_of.values() for errors in by_rate.values() for error in errors)


def choose_rates(plan: Plan, runs: Sequence[Run]) -> Rates | None:
    """Choose the rate of every arm; None without a search, or before the end of it.

    The best rate has the lowest mean error. Of those within a standard error of it the nearest to the shared rate is
    taken, for the baseline to the middle of the plan's grid.
    """
    return _choose_on(searched_rates(plan, runs), plan, runs)


def _choose_on(grid: tuple[float, ...], plan: Plan, runs: Sequence[Run]) -> Rates | None:
    errors_of = _errors(grid, plan, runs)
    if plan.search is None or _missing(errors_of):
        return None
    images = max((rates.images for run in runs if run.result.is_search and (rates := _held_out(run.result))), default=0)
    arms: dict[str, ArmRates] = {}
    for arm, by_rate in errors_of.items():
        near = arms[BASELINE].chosen if arms else plan.search.grid[len(plan.search.grid) // 2]
        arms[arm] = _choose(by_rate, near=near, images=images)
    return Rates(search=plan.search, grid=grid, images=images, arms=arms)


def _choose(by_rate: Mapping[float, Sequence[float]], *, near: float, images: int) -> ArmRates:
    means = {rate: fmean(errors) for rate, errors in by_rate.items()}
    lowest = min(means.values())
    spreads = [variance(errors) for errors in by_rate.values() if len(errors) > 1 and math.isfinite(max(errors))]
    if spreads:
        error = math.sqrt(fmean(spreads) / len(next(iter(by_rate.values()))))
    else:  # one seed does not show how runs vary: the images alone
        error = math.sqrt(lowest * (100 - lowest) / images) if math.isfinite(lowest) else 0.0
    alike = [rate for rate, mean in means.items() if mean <= lowest + error]
    # Rounded: a tenth and ten times a rate are equally far from it, if not to the last bit.
    chosen = min(alike, key=lambda rate: (round(abs(math.log(rate / near)), 9), means[rate]))
    return ArmRates(errors=means, standard_error=error, chosen=chosen)


def _errors(grid: Sequence[float], plan: Plan, runs: Sequence[Run]) -> dict[str, dict[float, list[float]]]:
    """Return the errors of the search by arm and rate, one for each seed: infinite if it diverged, NaN if missing."""
    found: dict[tuple[str, float | None, int], float] = {}
    for result in (run.result for run in runs if run.result.is_search):
        key = (result.ablation, result.lr, result.seed)
        if (rate := getattr(_held_out(result), plan.measure, None)) is not None:
            found[key] = 100 * rate
        elif result.diverged:
            found.setdefault(key, math.inf)
    seeds = plan.search.seeds if plan.search else ()
    return {
        arm: {rate: [found.get((arm, rate, seed), math.nan) for seed in seeds] for rate in grid}
        for arm in map(result_name, plan.arms)
    }


def _held_out(result: Result) -> ErrorRates | None:
    """Return the errors by which a search judges a run; None if it has not finished, or was evaluated otherwise."""
    return result.errors.get("val", {}).get(VIEW)
