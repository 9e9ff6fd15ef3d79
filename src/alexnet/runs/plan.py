"""The plan of a study: what is run, how often it is looked at, and by which levels, fixed before the first run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import yaml

from alexnet.errors import UserError, first_line
from alexnet.files import write_file
from alexnet.runs.decode import FieldError, decode, require

BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True)
class Look:
    """One analysis of the study."""

    seeds: int
    """Runs of each ablation that it needs: the first of the plan's seeds."""
    level: float
    """Of the tests at this look; the levels of all looks add up to 5 %."""


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
        require(self.measure in ("top1", "top5"), "measure", f"{self.measure!r} is not one of: top1, top5")
        for word in self.overrides:
            own = word.lstrip("+").partition("=")[0] in ("seed", "ablation", "study.plan")
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

    def objection(self, ablation: str, seed: int) -> str | None:
        """Say why a run is none of the plan's; None if it is one. An ablation is named as in result files."""
        names = [BASELINE, *map(result_name, self.ablations)]
        if ablation not in names:
            return f"{ablation} is not in the plan {self.name}, which has {', '.join(names)}"
        if seed not in self.seeds(ablation, -1):
            last = self.seeds(ablation, -1)[-1]
            return f"seed {seed} of {ablation} is not in the plan {self.name}, which has 0 to {last}"
        return None


def result_name(choice: str) -> str:
    """Return how result files name an ablation of a plan: `figure1/tanh` is `figure1_tanh`, combinations are sorted."""
    return "+".join(sorted(part.replace("/", "_") for part in choice.split("+")))


def read_plan(path: Path) -> Plan:
    """Read a plan; UserError names the file and what is wrong with it."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        plan: Plan = decode(Plan, raw)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except FieldError as error:
        raise UserError(f"{path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {first_line(error)}") from None
    return plan


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan; UserError if there is a file of this name, which may belong to runs."""
    if path.exists():
        raise UserError(f"{path}: exists; a plan is not changed: give another name, or remove it if nothing was run")
    heading = f"# The plan of a study. Commit it, then: python train.py study.plan={path}\n"
    values = json.loads(json.dumps(asdict(plan)))  # tuples as lists
    write_file(path, heading + yaml.safe_dump(values, sort_keys=False))
