"""Comparison tables: every ablation with its baseline, before any formatting."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alexnet.config.schema import Claim, Target
from alexnet.errors import UserError
from alexnet.runs.collect import Run
from alexnet.runs.result import BASELINE
from alexnet.study.pairing import (
    Evaluated,
    Note,
    distinguishing_overrides,
    drop_duplicates,
    evaluate,
    group_runs,
    missing_baselines,
    mixed_precisions,
    same_images,
)
from alexnet.study.statistics import MeanDelta, PairedDelta, holm, mean_delta, paired_delta
from alexnet.study.verdict import Assessment, assess

MEASURES = ("top1", "top5")


@dataclass(frozen=True, kw_only=True)
class SeedPair:
    """One run of the table and its baseline. The mappings are over `MEASURES`."""

    run: Run
    baseline: "SeedPair | None"
    """The run without the ablation, with the same seed; None for a baseline and for a run without one."""
    errors: Mapping[str, float]
    """Percent."""
    deltas: Mapping[str, PairedDelta]
    """Empty if there is no baseline."""


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """One ablation, or the baseline. The mappings are over `MEASURES`."""

    ablation: str
    claim: Claim | None
    """None for the baseline and for combined ablations: deltas do not add up."""
    pairs: tuple[SeedPair, ...]
    """The runs that the means are over, in order of seeds; those with a baseline if any has one."""
    errors: Mapping[str, float]
    """Percent, mean over seeds."""
    deltas: Mapping[str, MeanDelta]
    """Empty for the baseline, and if no run has a baseline."""
    assessments: Mapping[str, Assessment]
    """Empty if `deltas` is."""
    unpaired: tuple[SeedPair, ...]
    """Runs left out of the means because they have no baseline, while others of this ablation have one."""

    @property
    def runs(self) -> tuple[SeedPair, ...]:
        """All runs of the row, counted or not."""
        return *self.pairs, *self.unpaired

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs that the means are over."""
        return [pair.run.result.seed for pair in self.pairs]

    def expected_delta(self, source: str, measure: str) -> float | None:
        """Return the rise of the error, in points, that a `source` (`paper` or `log`) claims, if any."""
        claimed: float | None = getattr(getattr(self.claim, source), measure) if self.claim else None
        return claimed


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
        return [*(pair.run for row in self.rows for pair in row.runs), *self.unfinished]


def compare(runs: Sequence[Run], *, split: str | None, view: str) -> list[ComparisonTable]:
    """Pair, count and average the runs.

    `split` None takes `test` for tables that have it, else `val`.

    Raises:
        UserError: no finished run has the split and view.
    """
    finished = [run for run in runs if run.finished]
    groups = group_runs(runs)
    splits = [split or ("test" if any("test" in run.result.errors for run in group) else "val") for group in groups]
    wanted = list(zip(groups, splits, distinguishing_overrides(groups), strict=True))
    if finished and not any(view in run.result.errors.get(name, {}) for group, name, _ in wanted for run in group):
        present = sorted(
            {f"{name}/{seen}" for run in finished for name, views in run.result.errors.items() for seen in views}
        )
        raise UserError(f"no run has errors for {splits[0]}/{view}; there are: {', '.join(present)}")
    return [_table(group, runs, name, view, overrides) for group, name, overrides in wanted]


def _table(members: Sequence[Run], runs: Sequence[Run], split: str, view: str, overrides: str) -> ComparisonTable:
    distinct, duplicates = drop_duplicates(members)
    read, unreadable = evaluate((run for run in distinct if run.finished), split, view)
    usable, foreign = same_images(read)
    rows = _rows(usable)
    unpaired = [one.run for row in rows if row.ablation != BASELINE for one in row.runs if one.baseline is None]
    paired = [(one.run, one.baseline.run) for row in rows for one in row.runs if one.baseline is not None]
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
        images=len(usable[0].predictions.labels) if usable else 0,
        rows=tuple(rows),
        unfinished=tuple(run for run in distinct if not run.finished),
        notes=(*duplicates, *unreadable, *foreign, *missing_baselines(unpaired, runs), *mixed_precisions(paired)),
    )


def _rows(usable: Sequence[Evaluated]) -> list[AblationRow]:
    ablations: dict[str, list[Evaluated]] = defaultdict(list)
    for one in sorted(usable, key=lambda one: one.run.result.seed):
        ablations[one.run.result.ablation].append(one)
    baselines = {one.run.result.seed: one for one in ablations.get(BASELINE, [])}
    rows = [_row(name, members, baselines) for name, members in ablations.items()]
    tested = [row for row in rows if row.deltas]
    holm_p = {name: holm([row.deltas[name].p for row in tested]) for name in MEASURES}
    assessed = []
    for place, row in enumerate(tested):
        assessments = {
            name: assess(
                mean,
                holm_p=holm_p[name][place],
                paper=row.expected_delta("paper", name),
                log=row.expected_delta("log", name),
            )
            for name, mean in row.deltas.items()
        }
        assessed.append(replace(row, assessments=assessments))
    return sorted([*assessed, *(row for row in rows if not row.deltas)], key=_order)


def _row(ablation: str, members: Sequence[Evaluated], baselines: Mapping[int, Evaluated]) -> AblationRow:
    with_baseline = [] if ablation == BASELINE else [one for one in members if one.run.result.seed in baselines]
    partners = [baselines[one.run.result.seed] for one in with_baseline]
    others = [_pair(one) for one in members if one not in with_baseline]
    paired = [_pair(one, partner) for one, partner in zip(with_baseline, partners, strict=True)]
    counted = paired or others
    return AblationRow(
        ablation=ablation,
        claim=members[0].run.result.claims.get(ablation),
        pairs=tuple(counted),
        errors={name: float(np.mean([pair.errors[name] for pair in counted])) for name in MEASURES},
        deltas={name: mean_delta(_stack(partners, name), _stack(with_baseline, name)) for name in MEASURES if paired},
        assessments={},  # follow once all rows are known
        unpaired=tuple(others if paired else ()),
    )


def _pair(one: Evaluated, partner: Evaluated | None = None) -> SeedPair:
    images = len(one.predictions.labels)
    errors = {name: 100 * int((~_correct(one, name)).sum()) / images for name in MEASURES}
    if partner is None:
        return SeedPair(run=one.run, baseline=None, errors=errors, deltas={})
    deltas = {name: paired_delta(_correct(partner, name), _correct(one, name)) for name in MEASURES}
    return SeedPair(run=one.run, baseline=_pair(partner), errors=errors, deltas=deltas)


def _correct(one: Evaluated, measure: str) -> NDArray[np.bool_]:
    return one.predictions.top1_correct if measure == "top1" else one.predictions.top5_correct


def _stack(members: Sequence[Evaluated], measure: str) -> NDArray[np.bool_]:
    return np.stack([_correct(one, measure) for one in members])


def _order(row: AblationRow) -> tuple[int, list[int], str]:
    """Sort the baseline first, then single ablations by the paper's sections, then the log's, then combinations."""
    section = re.search(r"\d+(\.\d+)*", row.claim.section) if row.claim else None
    if row.ablation == BASELINE:
        return 0, [], row.ablation
    if section:
        return 1, [int(part) for part in section[0].split(".")], row.ablation
    return 3 if "+" in row.ablation else 2, [], row.ablation
