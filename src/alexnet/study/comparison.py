"""Comparison tables: every ablation with its baseline, before any formatting."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from alexnet.config.schema import Claim, Target
from alexnet.errors import UserError
from alexnet.runs.collect import Run
from alexnet.runs.result import BASELINE
from alexnet.runs.study_plan import Plan
from alexnet.study import pairing
from alexnet.study.assessment import SOURCES, Arms, Assessment, StatedSpread, assess, ten_crop_gains
from alexnet.study.flags import Flag, training_flags
from alexnet.study.interim_looks import Judged, judge
from alexnet.study.learning_rates import Rate, Rates, choose_rates, rate_of, usual_rate
from alexnet.study.pairing import MEASURES, Evaluated, Note
from alexnet.study.statistics import Estimate
from alexnet.study.verdict import RESOLVED, Direction
from alexnet.study.worded_claims import Change, worded_changes


@dataclass(frozen=True, kw_only=True, eq=False)
class AblationRow:
    """One ablation, or the baseline. The mappings are over `MEASURES`."""

    ablation: str
    runs: tuple[Evaluated, ...]
    """In order of seeds."""
    assessments: Mapping[str, Assessment] = field(default_factory=dict)
    """Empty for the baseline, and without one."""
    other_rate: Mapping[str, Assessment] = field(default_factory=dict)
    """The same at the other of two rates, where the search has found another for this ablation than for the baseline:
    at its own, or at the shared one if the claim is judged at its own. A family apart from that of the table."""
    worded: Mapping[str, Change] = field(default_factory=dict)
    """What the claim says in words, by measure."""
    gains: Mapping[str, Estimate] = field(default_factory=dict)
    """By how many points ten crops lower the error; empty if they are not compared or only one view is known."""

    @property
    def seeds(self) -> list[int]:
        """Return the seeds of the runs."""
        return [one.run.result.seed for one in self.runs]

    @property
    def claim(self) -> Claim | None:
        """None for the baseline and for combined ablations: deltas do not add up."""
        return self.runs[0].run.result.claims.get(self.ablation)

    @cached_property
    def errors(self) -> dict[str, float]:
        """Percent, mean over seeds."""
        return {name: float(np.mean([one.errors[name] for one in self.runs])) for name in self.runs[0].errors}

    @property
    def doubts(self) -> tuple[Flag, ...]:
        """The flags of the row's verdicts, each once."""
        return tuple({flag: None for one in self.assessments.values() for flag in one.doubts})

    @property
    def claims(self) -> dict[str, dict[str, float]]:
        """The rise of the error, in points, that each of `SOURCES` claims, if it does."""
        given = {name: getattr(self.claim, name) for name in SOURCES} if self.claim else {}
        return {
            measure: {name: value for name, effect in given.items() if (value := getattr(effect, measure)) is not None}
            for measure in self.errors
        }


@dataclass(frozen=True, kw_only=True)
class ComparisonTable:
    """Runs that differ only by ablation and seed."""

    experiment: str
    recipe: str
    data: str
    distinguished_by: str
    """How it differs from other tables of this experiment, recipe and data; empty if there are none."""
    fingerprint: str
    pairing_key: str
    target: Target
    split: str
    view: str
    images: int
    """In the evaluated split; 0 if no run could be evaluated."""
    plan: Plan | None
    """What was fixed before the first run; None without a plan."""
    judged: Judged | None
    """What the looks of the plan have shown; None without one."""
    rates: Rates | None
    """What the plan's search for rates has found; None without one, or before its end."""
    rows: tuple[AblationRow, ...]
    unfinished: tuple[Run, ...]
    others: tuple[Run, ...]
    """Those of the search for rates, at the other of an ablation's two rates, and of a look that is not complete."""
    notes: tuple[Note, ...]

    @property
    def runs(self) -> list[Run]:
        """Every run of the table, finished or not."""
        return [*(one.run for row in self.rows for one in row.runs), *self.unfinished]

    @property
    def made(self) -> list[Run]:
        """Every run of the study, also those of its search for rates."""
        return [*self.runs, *self.others]

    @property
    def compared(self) -> list[AblationRow]:
        """Return the rows of ablations that have a baseline."""
        return [row for row in self.rows if row.assessments]

    @property
    def judges_sizes(self) -> bool:
        """Whether the size of any effect is judged: elsewhere than on the paper's data none is."""
        found = [one for row in self.rows for a in row.assessments.values() for one in a.sizes.values()]
        return any(one.size is not None for one in found)

    @property
    def spreads(self) -> set[str]:
        """How it is known how much runs vary, in `Assessment.spread`'s words."""
        return {one.spread for row in self.rows for one in row.assessments.values()}

    @property
    def measures(self) -> tuple[str, ...]:
        """Those of `MEASURES` that the runs have."""
        return tuple(self.rows[0].errors) if self.rows else MEASURES


def compare(
    runs: Sequence[Run], *, split: str | None, view: str, stated: StatedSpread | None = None
) -> list[ComparisonTable]:
    """Pair, count and average the runs.

    `split` None takes `test` for tables that have it, else `val`. `stated` is for tables of one run of each arm.

    Raises:
        UserError: no finished run has the split and view, or no table is one that `stated` is for.
    """
    groups = pairing.group_runs(runs)
    splits = [split or ("test" if any("test" in run.result.errors for run in group) else "val") for group in groups]
    finished = [(run, name) for group, name in zip(groups, splits, strict=True) for run in group if run.finished]
    if finished and not any(view in run.result.errors.get(name, {}) for run, name in finished):
        present = {
            f"{name}/{seen}" for run, _ in finished for name, views in run.result.errors.items() for seen in views
        }
        raise UserError(f"no run has errors for {splits[0]}/{view}; there are: {', '.join(sorted(present))}")
    told_apart = zip(groups, splits, pairing.distinguishing_overrides(groups), strict=True)
    tables = [_table(group, runs, name, view, overrides, stated) for group, name, overrides in told_apart]
    if stated is None:
        return tables
    unused = [(table, _why_unused(table, stated)) for table in tables]
    if all(why for _, why in unused):
        whys = "; ".join(f"{table.experiment}, recipe {table.recipe}: {why}" for table, why in unused)
        raise UserError(f"no table takes the run sd: {whys}. Leave it out, or give one run of each arm")
    said = "The run sd that was stated is not used here"
    return [replace(table, notes=(*table.notes, Note(f"{said}: {why}."))) if why else table for table, why in unused]


def _why_unused(table: ComparisonTable, stated: StatedSpread) -> str:
    """Say why a table does not take a stated spread; empty if it does."""
    if several := [row.ablation for row in table.rows if len(row.runs) > 1]:
        return f"there is more than one run of {', '.join(several)}, and these show their own spread"
    if table.plan:
        return f"the plan {table.plan.name} asks for several runs of each arm"
    if not table.compared:
        return f"{' and '.join(row.ablation for row in table.rows) or 'no run'} alone has nothing to be compared with"
    if stated.run_sd.keys().isdisjoint(table.measures):
        return f"it is of {' and '.join(stated.run_sd)}, which these runs do not have"
    return ""


def _table(
    members: Sequence[Run], runs: Sequence[Run], split: str, view: str, overrides: str, stated: StatedSpread | None
) -> ComparisonTable:
    kept, duplicates = pairing.drop_duplicates(members)
    distinct, searches = ([run for run in kept if run.result.is_search is which] for which in (False, True))
    usable, left_out = pairing.evaluate((run for run in distinct if run.finished), split, view)
    counted = [Note(f"{len(left_out)} of {len(distinct)} runs are left out.")] if left_out else []
    different, copies = pairing.drop_copies(usable)
    different, claims = pairing.agree_on_claims(different)
    plan, several = _plan(members)
    rates = choose_rates(plan, searches) if plan else None
    result = next((run.result for run in distinct if run.is_baseline), (*distinct, *members)[0].result)
    usual = usual_rate([one.run.result for one in different])
    arms, others, unplanned = _by_rate(different, plan, rates, usual)
    lost, lost_at_other = _diverged(distinct, plan, rates, usual)
    measures = tuple(different[0].correct) if different else MEASURES
    few = [] if measures == MEASURES else [Note(pairing.FEW_CLASSES)]
    flags = [*_planning_flags(arms, lost, plan, rates), *_training_flags(arms.get(BASELINE, ()), split)]
    flags += _time_flags(different)
    waiting: list[Run] = []
    judged = judge(arms, plan, diverged=lost, table_flags=flags) if plan else None
    if judged:
        waiting = [one.run for name, ones in arms.items() for one in ones if one not in judged.arms.get(name, ())]
        assessments, arms = judged.assessments, judged.arms
    else:
        counts = {name: len(seeds) for name, seeds in lost.items()}
        assessments = {name: assess(arms, name, diverged=counts, table_flags=flags, stated=stated) for name in measures}
    counts = {name: len(seeds) for name, seeds in lost_at_other.items()}
    other_rate = {name: assess(others, name, diverged=counts, table_flags=flags) for name in measures}
    if rates:
        assessments = {name: _at_both_rates(found, other_rate[name], rates) for name, found in assessments.items()}
    gains = {measure: ten_crop_gains(arms, measure) for measure in measures}
    rows = [
        AblationRow(
            ablation=name,
            runs=tuple(ones),
            assessments={measure: by_name[name] for measure, by_name in assessments.items() if name in by_name},
            other_rate={measure: by_name[name] for measure, by_name in other_rate.items() if name in by_name},
            worded=worded_changes(ones[0].run.result.claims.get(name), ones, arms.get(BASELINE, ())),
            gains={measure: by_name[name] for measure, by_name in gains.items() if name in by_name},
        )
        for name, ones in arms.items()
    ]
    return ComparisonTable(
        experiment=result.experiment,
        recipe=result.recipe,
        data=result.data.name,
        distinguished_by=overrides,
        fingerprint=result.data.fingerprint,
        pairing_key=result.pairing_key,
        target=Target() if view != "ten_crop" or pairing.changed_settings(result) else result.target,
        split=split,
        view=view,
        images=len(usable[0].labels) if usable else 0,
        plan=plan,
        judged=judged,
        rates=rates,
        rows=tuple(sorted(rows, key=_order)),
        unfinished=tuple(run for run in distinct if not run.finished),
        others=(
            *(one.run for name, ones in others.items() if name != BASELINE for one in ones),
            *waiting,
            *searches,
        ),
        notes=(
            *few,
            *counted,
            *pairing.altered(distinct),
            *pairing.damaged_configs(distinct),
            *pairing.without_effect(arms),
            *duplicates,
            *left_out,
            *copies,
            *claims,
            *several,
            *unplanned,
            *_beyond_look(waiting),
            *pairing.other_numerics(result, runs),
            *pairing.mixed_environment(one.run for one in usable),
            *pairing.missing_baseline(arms, runs),
        ),
    )


def _by_rate(
    runs: Sequence[Evaluated], plan: Plan | None, rates: Rates | None, usual: float | None
) -> tuple[Arms, Arms, list[Note]]:
    """Divide the runs of a plan into those at the rates that are judged and those at the others; note what is neither.

    The baselines, which have one rate, are in both.
    """
    arms: dict[str, list[Evaluated]] = {BASELINE: []}
    others: dict[str, list[Evaluated]] = {BASELINE: arms[BASELINE]}
    left_out = []
    counted: dict[Path, Rate] = {}
    for one in runs:
        result = one.run.result
        if text := plan.objection(result.ablation, result.seed) if plan else None:
            left_out.append(Note(f"{one.run}: left out, {text}."))
        elif at := rate_of(result, plan, rates, usual):
            counted[one.run.directory] = at
        else:
            why = "the search has not chosen its rate" if rates else "no search, so far, has chosen its rate"
            left_out.append(Note(f"{one.run}: left out, {why}, {result.lr}."))
    for one in pairing.pair([one for one in runs if one.run.directory in counted]):
        into = arms if counted[one.run.directory] == "judged" else others
        into.setdefault(one.run.result.ablation, []).append(one)
    return {name: members for name, members in arms.items() if members}, others, left_out


def _diverged(
    runs: Sequence[Run], plan: Plan | None, rates: Rates | None, usual: float | None
) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """Return the seeds of each arm that diverged, as `_by_rate` divides its runs."""
    judged, other = defaultdict[str, set[int]](set), defaultdict[str, set[int]](set)
    for result in (run.result for run in runs if run.result.diverged):
        at = None if plan and plan.objection(result.ablation, result.seed) else rate_of(result, plan, rates, usual)
        for rate, seeds in (("judged", judged), ("other", other)):
            if at and (rate == at or result.ablation == BASELINE):
                seeds[result.ablation].add(result.seed)
    return judged, other


def _at_both_rates(
    judged: Mapping[str, Assessment], other: Mapping[str, Assessment], rates: Rates
) -> dict[str, Assessment]:
    """Return the assessments of a table with what the rates add: their flags, and whether the sign depends on them.

    It does where one of the two directions is resolved, and the other delta has the other sign.
    """
    found = {}
    for name, one in judged.items():
        second = other.get(name)
        word = one.direction
        if second and one.delta * second.delta < 0 and {word, second.direction} & {*RESOLVED}:
            word = Direction.DEPENDS
        edges = [arm for arm in (BASELINE, name) if rates.arms[arm].at_edge]
        text = f"the best rate of {' and '.join(edges)} is at the edge of the grid: a better one may lie beyond"
        flags = [Flag(name="rate not bracketed", text=text)] if edges else []
        lost = [arm for arm in (BASELINE, name) if rates.arms[arm].diverged]
        text = f"the search has found no rate for {' and '.join(lost)}: a run diverged at each"
        flags += [Flag(name="rate not found", text=text)] if lost else []
        found[name] = replace(one, direction=word, flags=(*one.flags, *flags))
    return found


def _plan(runs: Sequence[Run]) -> tuple[Plan | None, list[Note]]:
    """Return the plan of the runs, None without one or with several, which is noted."""
    plans = {plan.hash: plan for run in runs if (plan := run.result.plan)}
    if len(plans) > 1:
        names = ", ".join(f"{plan.name} ({key})" for key, plan in plans.items())
        return None, [Note(f"The runs belong to several plans: {names}. None of them holds for all; pass one's runs.")]
    return next(iter(plans.values()), None), []


def _beyond_look(runs: Sequence[Run]) -> list[Note]:
    text = "left out, beyond the look of the plan at which their ablation is judged"
    return [Note(f"{', '.join(map(str, runs))}: {text}.")] if runs else []


def _planning_flags(arms: Arms, diverged: Mapping[str, Set[int]], plan: Plan | None, rates: Rates | None) -> list[Flag]:
    """Flag seeds that may have been added, or kept, because of what was seen, and rates that may not be the chosen."""
    flags = []
    before = [one for members in arms.values() for one in members if one.run.result.plan is None]
    counts = {len(members) + len(diverged.get(name, ())) for name, members in arms.items() if name != BASELINE}
    if plan and before:
        flags.append(Flag(name="unplanned", text=f"runs of the plan that were made without it: {len(before)}"))
    if plan is None and len(counts) > 1:
        text = "the ablations have different numbers of seeds, and no plan: p may be too small if some were added later"
        flags.append(Flag(name="unplanned", text=text))
    if plan and plan.search and not rates:
        text = "not all runs of the plan's search for rates are here: only runs at the rate of most baselines count"
        flags.append(Flag(name="rates not searched", text=text))
    return flags


def _training_flags(baselines: Sequence[Evaluated], split: str) -> list[Flag]:
    """Flag how the baseline was trained, as far as its run directories say."""
    curves, plateau, limits = [], False, dict[str, None]()
    for one in baselines:
        metrics = one.run.metrics
        curves.append([(epoch.rate, val) for epoch in metrics.epochs if (val := epoch.val_top1_error) is not None])
        try:
            config = one.run.config()
            plateau |= config["schedule"]["kind"] == "plateau"
            given = {key: value for key, value in config["trainer"].items() if key.startswith("limit_")}
            limits |= {f"trainer.{key}={value}": None for key, value in given.items() if value not in (None, 1.0)}
        except (UserError, LookupError, TypeError):
            continue  # a report needs no more than results and predictions
    return training_flags(curves, plateau=plateau, limits=list(limits), split=split)


def _time_flags(runs: Sequence[Evaluated]) -> list[Flag]:
    """Flag runs that `trainer.max_time` may have ended, as some got further than others."""
    limit = None
    with suppress(UserError, LookupError, TypeError):
        limit = runs[0].run.config()["trainer"]["max_time"]  # of all runs of a table
    steps = [one.run.result.training.steps for one in runs if one.run.result.training]
    if limit is None or not steps or min(steps) == max(steps):
        return []
    text = f"trainer.max_time={limit}: the runs have {min(steps):,} to {max(steps):,} updates, and how far one gets"
    return [Flag(name="ended by time", text=f"{text} depends on the speed of its machine")]


def _order(row: AblationRow) -> tuple[int, list[int], str]:
    """Sort the baseline first, then single ablations by the paper's sections, then the log's, then combinations."""
    section = re.search(r"\d+(\.\d+)*", row.claim.section) if row.claim else None
    if row.ablation == BASELINE:
        return 0, [], row.ablation
    if section:
        return 1, [int(part) for part in section[0].split(".")], row.ablation
    return 3 if "+" in row.ablation else 2, [], row.ablation
