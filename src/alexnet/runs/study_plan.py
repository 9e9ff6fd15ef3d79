"""The plan of a study: what is run, how often it is looked at, and by which levels, fixed before the first run."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import yaml

from alexnet.config.fields import ADDED_LATER
from alexnet.config.schema import BASELINE as BASELINE
from alexnet.errors import UserError, first_line
from alexnet.files import write_file
from alexnet.untrusted import MIB, FieldError, decode, parse_yaml, read_regular, require

MOST_SEEDS = 1000
"""Of an arm; the runs of more could not even be listed."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One analysis of the study."""

    seeds: int
    """Runs of each ablation that it needs: the first of the plan's seeds."""
    level: float
    """Of the tests at this look; the levels of all looks add up to 5 %."""


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """Runs before the first look that choose a learning rate for every arm, all with the same budget.

    They are judged by held-out training images alone, and never see the images that the study reports.
    """

    grid: tuple[float, ...]
    """Rising. The baseline's published rate is in the middle."""
    seeds: tuple[int, ...]
    """None of the study's."""
    epochs: int | None = None
    """To which the schedule is rescaled; None is the whole of it."""

    def __post_init__(self) -> None:
        rising = self.grid == tuple(sorted(set(self.grid))) and all(0 < rate < math.inf for rate in self.grid)
        odd = len(self.grid) >= 3 and len(self.grid) % 2 == 1
        require(rising and odd, "grid", "an odd number of rising rates is needed, three at least")
        require(bool(self.seeds) and min(self.seeds) >= 0, "seeds", "one at least is needed, from 0 on")
        require(len(set(self.seeds)) == len(self.seeds), "seeds", "one is named twice")
        require(self.epochs is None or self.epochs > 0, "epochs", f"{self.epochs} is not above 0")

    @property
    def beyond(self) -> tuple[float, float]:
        """The rates one step below and one step above the grid."""
        low, high = self.grid[0] ** 2 / self.grid[1], self.grid[-1] ** 2 / self.grid[-2]
        return float(f"{low:.6g}"), float(f"{high:.6g}")

    def overrides(self, rate: float) -> list[str]:
        """Return the settings of a run of the search, but for its ablation and seed."""
        return [lr_override(rate), *([f"schedule.rescale_to_epochs={self.epochs}"] if self.epochs else [])]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was decided before the first run of a study."""

    name: str
    """Of the study; a changed plan needs another one."""
    overrides: tuple[str, ...]
    """Of every run: the experiment, rates and other settings."""
    ablations: tuple[str, ...]
    """As on the command line; of a combination joined by `+`."""
    baseline_seeds: int = 10
    """Runs of the baseline, all before the first look: seeds 0, 1, 2, ..."""
    looks: tuple[Look, ...] = (Look(seeds=5, level=0.01), Look(seeds=10, level=0.04))
    measure: str = "top1"
    """The primary measure: it decides which ablations stop."""
    margin: float | None = None
    """In points of the primary measure, up to which there is no effect worth speaking of; None takes each claim's."""
    search: RateSearch | None = field(default=None, metadata=ADDED_LATER)
    """Of the learning rate of each arm; None trains all at that of `overrides`."""

    def __post_init__(self) -> None:
        require(bool(self.ablations), "ablations", "a plan needs one at least")
        require(len(set(self.ablations)) == len(self.ablations), "ablations", "one is named twice")
        require(bool(self.looks), "looks", "a plan needs one at least")
        counts, levels = [look.seeds for look in self.looks], [look.level for look in self.looks]
        grows = counts == sorted(set(counts)) and counts[0] > 1
        require(grows, "looks", "the first needs two seeds at least, each other more than the one before")
        spent = min(levels) > 0 and sum(levels) <= 0.05 + 1e-12
        require(spent, "looks", "the levels must be above 0 and add up to 0.05 at most")
        require(self.baseline_seeds > 1, "baseline_seeds", "a plan needs two at least")
        most = max(self.baseline_seeds, counts[-1])
        require(most <= MOST_SEEDS, "looks", f"an arm has {MOST_SEEDS:,} seeds at most")
        require(self.margin is None or 0 <= self.margin <= 100, "margin", f"{self.margin} is not between 0 and 100")
        require(self.measure in ("top1", "top5"), "measure", f"{self.measure!r} is not one of: top1, top5")
        owned = ["seed", "ablation", "study.plan"]
        if self.search:
            owned.append("optimizer.lr")
            first = max(self.baseline_seeds, counts[-1])
            disjoint = min(self.search.seeds) >= first
            require(disjoint, "search.seeds", f"the study has seeds 0 to {first - 1} for itself: give others")
        for word in self.overrides:
            own = word.lstrip("+").partition("=")[0] in owned
            require(not own, "overrides", f"{word}: that is for the plan itself to say")

    @property
    def hash(self) -> str:
        """Of everything in the plan."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def seeds(self, ablation: str, look: int) -> range:
        """Return the seeds of an arm up to a look, counted from 0."""
        return range(self.baseline_seeds if ablation == BASELINE else self.looks[look].seeds)

    def jobs(self, look: int = 0, settled: Mapping[str, int] = MappingProxyType({})) -> list[tuple[str | None, int]]:
        """Return the runs up to a look: an ablation as the plan names it, or None for the baseline, and a seed.

        `settled` gives the look at which an ablation, named as in result files, needs no more runs.
        """
        jobs: list[tuple[str | None, int]] = [(None, seed) for seed in self.seeds(BASELINE, look)]
        for ablation in self.ablations:
            jobs += [(ablation, seed) for seed in self.seeds(ablation, settled.get(result_name(ablation), look))]
        return sorted(jobs, key=lambda job: job[1])  # a study that is stopped early has whole seeds

    def searches(self, seed: int) -> bool:
        """Return whether a run of this seed is one of the search for rates."""
        return self.search is not None and seed in self.search.seeds

    @property
    def arms(self) -> tuple[str | None, ...]:
        """The baseline as None, and the ablations as the plan names them."""
        return None, *self.ablations

    def objection(self, ablation: str, seed: int) -> str | None:
        """Say why a run is none of the plan's; None if it is one. An ablation is named as in result files."""
        names = [BASELINE, *map(result_name, self.ablations)]
        if ablation not in names:
            return f"{ablation} is not in the plan {self.name}, which has {', '.join(names)}"
        if seed not in self.seeds(ablation, -1) and not self.searches(seed):
            last = self.seeds(ablation, -1)[-1]
            return f"seed {seed} of {ablation} is not in the plan {self.name}, which has 0 to {last}"
        return None


def lr_override(rate: float) -> str:
    """Return the override that sets the learning rate."""
    return f"optimizer.lr={rate!r}"


def result_name(choice: str | None) -> str:
    """Return how result files name an arm of a plan: `figure1/tanh` is `figure1_tanh`, combinations are sorted."""
    if choice is None:
        return BASELINE
    return "+".join(sorted(part.replace("/", "_") for part in choice.split("+")))


def read_plan(path: Path) -> Plan:
    """Read a plan; UserError names the file and what is wrong with it."""
    try:
        plan: Plan = decode(Plan, parse_yaml(read_regular(path.resolve(), most=MIB)))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except FieldError as error:
        raise UserError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as YAML: {first_line(error)}") from None
    return plan


def write_plan(path: Path, plan: Plan, command: str) -> None:
    """Write a plan and the command that trains it; UserError if there is a file of this name: it may belong to runs."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the file to write, such as {path / 'plan.yaml'}")
    if path.exists():
        raise UserError(f"{path}: exists; a plan is not changed: give another name, or remove it if nothing was run")
    heading = f"# The plan of a study. Commit it, then: {command}\n"
    values = json.loads(json.dumps(asdict(plan)))  # tuples as lists
    write_file(path, heading + yaml.safe_dump(values, sort_keys=False))
