"""The runs of a planned study: which come next, and whether a run belongs to it."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from alexnet.config.identity import NUMERICS, ablation_name
from alexnet.config.job import Job, check
from alexnet.config.overrides import named
from alexnet.errors import UserError, plural
from alexnet.runs.collect import Run, collect
from alexnet.runs.result import Result, own_changes
from alexnet.runs.study_plan import BASELINE, Plan, lr_override, read_plan, result_name
from alexnet.study.learning_rates import Rates, choose_rates, missing_searches, searched_rates

OWN_KEYS = ("ablation", "seed", "study.plan", "hydra.searchpath")
"""Of the overrides of a run, those that the plan itself gives."""


@dataclass(frozen=True)
class OpenPlan:
    """A plan with the runs that were made by it so far."""

    path: Path
    plan: Plan
    runs: tuple[Run, ...]
    """As `runs_of` has them."""
    taken: Mapping[Path, str]
    """Directories of runs that no report would judge by this plan -> what they were made by."""

    @classmethod
    def read(cls, path: Path, runs: Path) -> "OpenPlan":
        """Read a plan, and its runs in their folder; UserError if it was changed after its first run."""
        plan = read_plan(path)
        try:
            found = collect([runs]).runs
        except UserError:  # no folder yet, or nothing in it
            found = ()
        named = [run for run in found if run.result.plan and run.result.plan.name == plan.name]
        for run in named:
            if run.result.plan != plan:
                raise UserError(
                    f"{path}: the plan {plan.name} was changed after its first run, {run.result.run}; restore it, or"
                    " give the new plan another name"
                )
        others = [run for run in found if run not in named and (run.result.plan or (plan.search and run.finished))]
        taken = {run.directory: f"plan {one.name}" if (one := run.result.plan) else "no plan" for run in others}
        return cls(path, plan, runs_of(plan, found), taken)

    def search_jobs(self) -> list[list[str]]:
        """Return the overrides of the search for rates, finished runs too; none once there is nothing to do.

        Once all are finished there may be more: a step beyond an edge of the grid.
        """
        search = self.plan.search
        if search is None or not missing_searches(self.plan, self.runs):
            return []
        return [
            [*with_choice(choice), *search.overrides(rate), f"seed={seed}"]
            for seed in search.seeds
            for choice in self.plan.arms
            for rate in searched_rates(self.plan, self.runs)
        ]

    def next_look(self) -> list[list[str]]:
        """Return the overrides of every run up to the next look, finished or not, by the rates that were searched.

        Those that diverged are left out: they would do so again, and no look waits for them.
        """
        jobs = self.plan.jobs()
        if any(not run.result.is_search for run in self.runs):
            from alexnet.study.comparison import compare  # scipy, which a run does not wait for

            for table in compare(self.runs, split=None, view="ten_crop"):
                if judged := table.judged:
                    jobs = self.plan.jobs(min(judged.next_look, len(self.plan.looks) - 1), judged.settled)
        lost = {(one.ablation, one.seed, one.lr if self._rates else None) for one in diverged(self.runs)}
        return [
            [*with_choice(choice), *([lr_override(rate)] if rate else []), f"seed={seed}"]
            for choice, seed in jobs
            for rate in (self._rates.of(result_name(choice)) if self._rates else [None])
            if (result_name(choice), seed, rate) not in lost
        ]

    def check(self, job: Job) -> None:
        """Refuse a run whose ablation, seed, rate or settings are not the plan's; UserError says which.

        Also one whose ablation's file was edited after the plan's first run of it.
        """
        if made_by := self.taken.get(Path(job.config.runs, job.name).resolve()):
            what = f"it needs runs that were made by {made_by}, and which no report would judge by this plan"
            raise UserError(f"{self.path}: {what}: give another folder, runs=FOLDER")
        ablation, seed, lr = ablation_name(job.tree), job.config.seed, job.config.optimizer.lr
        if text := self.plan.objection(ablation, seed):
            raise UserError(f"{self.path}: {text}")
        for one in (run.result for run in self.runs if run.result.ablation == ablation):
            if own_changes(one.changes) != own_changes(job.changes):
                what = f"{ablation} changes something else than in {one.run}, a run of the plan"
                raise UserError(f"{self.path}: {what}: restore its file, or give it and the plan other names")
        settings, searches = list(self.plan.overrides), self.plan.searches(seed)
        if search := self.plan.search:
            settings += search.overrides(lr) if searches else [lr_override(lr)]
            chosen = None if searches else self._rates
            allowed = chosen.of(ablation) if chosen else searched_rates(self.plan, self.runs)
            if lr not in allowed:
                rates = " or ".join(map(str, allowed))
                raise UserError(f"{self.path}: {lr_override(lr)}: seed {seed} of {ablation} is for the rates {rates}")
        if _pairing_key(tuple(settings)) != job.pairing_key:
            given = [one for one in shlex.split(job.command)[2:] if one not in settings and named(one) not in OWN_KEYS]
            has = f"has other settings than the plan{f' ({shlex.join(given)})' * bool(given)}"
            raise UserError(f"{self.path}: the run {has}, which says: {' '.join(settings)}")
        for one in (run.result for run in self.runs):
            is_alike = not search or (one.lr, one.is_search) == (lr, searches)
            if is_alike and one.pairing_key != job.pairing_key:
                what = f"its settings are not those of {one.run}, a run of the plan, though it says the same"
                raise UserError(
                    f"{self.path}: {what}: restore the experiment's file, or give it and the plan other names"
                )

    @cached_property
    def _rates(self) -> Rates | None:
        """What the search has chosen; None without one."""
        if missing := missing_searches(self.plan, self.runs):
            raise UserError(
                f"{self.path}: {plural(missing, 'run')} of the search for rates {'has' if missing == 1 else 'have'} not"
                f" finished as runs of this plan: alexnet train study.plan={self.path} does them"
            )
        rates = choose_rates(self.plan, self.runs)
        if rates and rates.arms[BASELINE].diverged:
            what = "a run of the baseline diverged at every rate of the search, so that none is shared"
            raise UserError(f"{self.path}: {what}: make another plan with lower --rates")
        return rates


def check_in_plan(job: Job) -> None:
    """Refuse a run with `study.plan` that is none of the plan's."""
    if job.config.study.plan:
        OpenPlan.read(Path(job.config.study.plan), Path(job.config.runs)).check(job)


@lru_cache
def _pairing_key(overrides: tuple[str, ...]) -> str:
    return check(list(overrides), weights_digest=_weights_digest).pairing_key


def _weights_digest(checkpoint: str) -> str:
    from alexnet.trained.weights import weights_digest  # torch, which plans without pre-trained weights do not wait for

    return weights_digest(checkpoint)


def runs_of(plan: Plan, runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return the runs of a plan, and those made without any that a report counts for it, flagged.

    Those of other NUMERICS are left out: they have other names, and are not compared with new ones.
    """

    def group(run: Run) -> tuple[str, str, int]:
        return run.result.pairing_key, run.result.data.fingerprint, run.result.numerics

    own = [run for run in runs if run.result.plan == plan and run.result.numerics == NUMERICS]
    groups = set() if plan.search else {*map(group, own)}
    before = (run for run in runs if run.result.plan is None and group(run) in groups)
    return (*own, *(run for run in before if not plan.objection(run.result.ablation, run.result.seed)))


def missing_runs(plan: Plan, runs: Sequence[Run], settled: Mapping[str, int] | None = None) -> str:
    """Say which runs a plan still wants; empty if none. What its looks have `settled` is None where it is not known."""
    if count := missing_searches(plan, runs):
        return f"{plural(count, 'run')} of its search for rates {'is' if count == 1 else 'are'} missing"
    rates = choose_rates(plan, runs)
    ended = [*(one.result for one in runs if one.finished and not one.result.is_search), *diverged(runs)]
    done = {(one.ablation, one.seed, one.lr if rates else None) for one in ended}
    for number, look in enumerate(plan.looks):
        missing_of: Counter[str] = Counter()
        for choice, seed in plan.jobs(number, settled or {}):
            arm = result_name(choice)
            missing_of[arm] += sum((arm, seed, rate) not in done for rate in (rates.of(arm) if rates else [None]))
        if missing_of.total():
            missing = plural(missing_of.total(), "run is", "runs are")
            told = ", ".join(f"{count} of {arm}" for arm, count in missing_of.items() if count)
            later = ", fewer if the look before has settled an ablation" if number and settled is None else ""
            return f"{missing} missing for look {number + 1} ({look.seeds} seeds{later}): {told}"
    return ""


def diverged(runs: Sequence[Run]) -> list[Result]:
    """Return the results of the runs of a plan's looks that diverged; the looks have the other seeds."""
    return [one.result for one in runs if one.result.diverged and not one.result.is_search]


def diverged_line(runs: Sequence[Run]) -> str:
    """Say which runs of a plan's looks diverged, and what becomes of it; empty if none."""
    names = ", ".join(f"{one.ablation} seed {one.seed}" for one in diverged(runs))
    what = "diverged, and would again: the looks have the other seeds, which their levels allow for, and the report"
    what += " flags it; an arm that is left with fewer than three needs another plan, with a lower optimizer.lr"
    return f"{names} {what}" if names else ""


def with_choice(choice: str | None) -> list[str]:
    """Return the override that chooses an ablation as a plan names it; none for the baseline."""
    if choice is None:
        return []
    return [f"+ablation=[{choice.replace('+', ',')}]" if "+" in choice else f"+ablation={choice}"]
