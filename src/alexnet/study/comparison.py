"""Comparison tables: every ablation with its baseline, before any formatting."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from alexnet.config.schema import Claim, Target
from alexnet.errors import UserError
from alexnet.runs.collect import Run
from alexnet.runs.result import BASELINE
from alexnet.study.pairing import (
    MEASURES,
    Evaluated,
    Note,
    distinguishing_overrides,
    drop_duplicates,
    evaluate,
    group_runs,
    missing_baselines,
    mixed_precisions,
    pair,
)
from alexnet.study.statistics import MeanDelta, holm, mean_delta
from alexnet.study.verdict import Assessment, assess

SOURCES = ("paper", "log")
"""Of claims: the paper, and its authors' log."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AblationRow:
    """One ablation, or the baseline. The mappings are over `MEASURES`."""

    ablation: str
    runs: tuple[Evaluated, ...]
    """In order of seeds, those with a baseline first."""
    assessments: dict[str, Assessment] = field(default_factory=dict)
    """Follow once all rows are known; stay empty if `deltas` is."""

    @property
    def counted(self) -> tuple[Evaluated, ...]:
        """The runs that the means are over: those with a baseline if any has one, else all."""
        return tuple(one for one in self.runs if one.baseline) or self.runs

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs that the means are over."""
        return [one.run.result.seed for one in self.counted]

    @property
    def claim(self) -> Claim | None:
        """None for the baseline and for combined ablations: deltas do not add up."""
        return self.runs[0].run.result.claims.get(self.ablation)

    @cached_property
    def errors(self) -> dict[str, float]:
        """Percent, mean over seeds."""
        return {name: float(np.mean([one.errors[name] for one in self.counted])) for name in MEASURES}

    @cached_property
    def deltas(self) -> dict[str, MeanDelta]:
        """Empty for the baseline, and if no run has a baseline."""
        pairs = [(one.baseline.correct, one.correct) for one in self.counted if one.baseline]
        return {
            name: mean_delta(*(np.stack([correct[name] for correct in side]) for side in zip(*pairs, strict=True)))
            for name in MEASURES
            if pairs
        }

    @property
    def claims(self) -> dict[str, dict[str, float]]:
        """The rise of the error, in points, that each of `SOURCES` claims, if it does."""
        given = {name: getattr(self.claim, name) for name in SOURCES} if self.claim else {}
        return {
            measure: {name: value for name, errors in given.items() if (value := getattr(errors, measure)) is not None}
            for measure in MEASURES
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
    rows: tuple[AblationRow, ...]
    unfinished: tuple[Run, ...]
    notes: tuple[Note, ...]

    @property
    def runs(self) -> list[Run]:
        """Every run of the table, finished or not."""
        return [*(one.run for row in self.rows for one in row.runs), *self.unfinished]


def compare(runs: Sequence[Run], *, split: str | None, view: str) -> list[ComparisonTable]:
    """Pair, count and average the runs.

    `split` None takes `test` for tables that have it, else `val`.

    Raises:
        UserError: no finished run has the split and view.
    """
    groups = group_runs(runs)
    splits = [split or ("test" if any("test" in run.result.errors for run in group) else "val") for group in groups]
    finished = [(run, name) for group, name in zip(groups, splits, strict=True) for run in group if run.finished]
    if finished and not any(view in run.result.errors.get(name, {}) for run, name in finished):
        present = {
            f"{name}/{seen}" for run, _ in finished for name, views in run.result.errors.items() for seen in views
        }
        raise UserError(f"no run has errors for {splits[0]}/{view}; there are: {', '.join(sorted(present))}")
    told_apart = zip(groups, splits, distinguishing_overrides(groups), strict=True)
    return [_table(group, runs, name, view, overrides) for group, name, overrides in told_apart]


def _table(members: Sequence[Run], runs: Sequence[Run], split: str, view: str, overrides: str) -> ComparisonTable:
    distinct, duplicates = drop_duplicates(members)
    usable, left_out = evaluate((run for run in distinct if run.finished), split, view)
    rows = _rows(pair(usable))
    paired = [one for row in rows for one in row.runs]
    result = members[0].result
    return ComparisonTable(
        experiment=result.experiment,
        recipe=result.recipe,
        data=result.data.name,
        distinguished_by=overrides,
        fingerprint=result.data.fingerprint,
        pairing_key=result.pairing_key,
        target=result.target,
        split=split,
        view=view,
        images=len(usable[0].labels) if usable else 0,
        rows=tuple(rows),
        unfinished=tuple(run for run in distinct if not run.finished),
        notes=(*duplicates, *left_out, *missing_baselines(paired, runs), *mixed_precisions(paired)),
    )


def _rows(paired: Sequence[Evaluated]) -> list[AblationRow]:
    ablations: dict[str, list[Evaluated]] = defaultdict(list)
    for one in paired:
        ablations[one.run.result.ablation].append(one)
    rows = [AblationRow(ablation=name, runs=tuple(members)) for name, members in ablations.items()]
    tested = [row for row in rows if row.deltas]
    for name in MEASURES:
        p_values = holm([row.deltas[name].p for row in tested])
        for row, p in zip(tested, p_values, strict=True):
            claims = row.claims[name]
            row.assessments[name] = assess(row.deltas[name], holm_p=p, paper=claims.get("paper"), log=claims.get("log"))
    return sorted(rows, key=_order)


def _order(row: AblationRow) -> tuple[int, list[int], str]:
    """Sort the baseline first, then single ablations by the paper's sections, then the log's, then combinations."""
    section = re.search(r"\d+(\.\d+)*", row.claim.section) if row.claim else None
    if row.ablation == BASELINE:
        return 0, [], row.ablation
    if section:
        return 1, [int(part) for part in section[0].split(".")], row.ablation
    return 3 if "+" in row.ablation else 2, [], row.ablation
