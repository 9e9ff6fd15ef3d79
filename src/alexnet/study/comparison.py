"""Every ablation beside its baseline: the content of the comparison table, whatever it is printed as."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import UserError
from alexnet.runs.collect import Run
from alexnet.runs.result import BASELINE, Claim, Points, Target
from alexnet.study.apart import distinguishing_overrides
from alexnet.study.judgement import Assessment, judgement
from alexnet.study.multiplicity import holm
from alexnet.study.pairing import (
    Evaluated,
    Note,
    drop_duplicates,
    evaluate,
    group_runs,
    missing_baselines,
    mixed_precisions,
    same_images,
)
from alexnet.study.statistics import MeanDelta, PairedDelta, mean_delta, paired_delta

MEASURES = ("top1", "top5")


@dataclass(frozen=True, kw_only=True)
class Replicate:
    """One run in the table. The mappings are over `MEASURES`."""

    run: Run
    baseline: "Replicate | None"
    """The run without the ablation, with the same seed."""
    errors: Mapping[str, float]
    """Percent."""
    deltas: Mapping[str, PairedDelta]
    """Empty for a baseline and for a run without one."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One ablation, or the baseline. The mappings are over `MEASURES`."""

    ablation: str
    claim: Claim | None
    """None for the baseline and for combined ablations: deltas do not add up."""
    replicates: tuple[Replicate, ...]
    """The runs that the means are over, in order of seeds; those with a baseline if any has one."""
    errors: Mapping[str, float]
    """Percent, mean over seeds."""
    deltas: Mapping[str, MeanDelta]
    """Empty for the baseline and where no run has a baseline."""
    judgements: Mapping[str, Assessment]
    """Empty where `deltas` is."""
    unpaired: tuple[Replicate, ...]
    """Runs left out of the means because they have no baseline, while others of this ablation have one."""

    @property
    def runs(self) -> tuple[Replicate, ...]:
        """All runs of the row, counted or not."""
        return *self.replicates, *self.unpaired

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs that the means are over."""
        return [replicate.run.result.seed for replicate in self.replicates]


@dataclass(frozen=True, kw_only=True)
class Group:
    """One table: runs that differ only by ablation and seed."""

    experiment: str
    recipe: str
    data: str
    apart: str
    """What tells it from other tables of this experiment, recipe and data; empty where there is no need."""
    fingerprint: str
    pairing_key: str
    target: Target
    split: str
    view: str
    images: int
    """In the evaluated split; 0 if no run could be evaluated."""
    rows: tuple[Row, ...]
    unfinished: tuple[Run, ...]
    notes: tuple[Note, ...]

    @property
    def runs(self) -> list[Run]:
        """Every run of the table, finished or not."""
        return [*(replicate.run for row in self.rows for replicate in row.runs), *self.unfinished]


def compare(runs: Sequence[Run], *, split: str | None, view: str) -> list[Group]:
    """Pair, count and average; one group for each table.

    `split` None takes `test` where a group has it, else `val`. UserError if no finished run has the split and view.
    """
    finished = [run for run in runs if run.finished]
    groups = group_runs(runs)
    splits = [split or _default_split(group) for group in groups]
    wanted = list(zip(groups, splits, distinguishing_overrides(groups), strict=True))
    if finished and not any(view in run.result.errors.get(name, {}) for group, name, _ in wanted for run in group):
        present = sorted(
            {f"{name}/{seen}" for run in finished for name, views in run.result.errors.items() for seen in views}
        )
        raise UserError(f"no run has errors for {splits[0]}/{view}; there are: {', '.join(present)}")
    return [_group(group, runs, name, view, apart) for group, name, apart in wanted]


def _default_split(runs: Iterable[Run]) -> str:
    return "test" if any("test" in run.result.errors for run in runs) else "val"


def _group(members: Sequence[Run], runs: Sequence[Run], split: str, view: str, apart: str) -> Group:
    distinct, duplicates = drop_duplicates(members)
    read, unreadable = evaluate((run for run in distinct if run.finished), split, view)
    usable, foreign = same_images(read)
    rows = _rows(usable)
    unpaired = [one.run for row in rows if row.ablation != BASELINE for one in row.runs if one.baseline is None]
    paired = [(one.run, one.baseline.run) for row in rows for one in row.runs if one.baseline is not None]
    result = members[0].result
    return Group(
        experiment=result.experiment,
        recipe=result.recipe,
        data=result.data.name,
        apart=apart,
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


def _rows(usable: Sequence[Evaluated]) -> list[Row]:
    ablations: dict[str, list[Evaluated]] = defaultdict(list)
    for one in sorted(usable, key=lambda one: one.run.result.seed):
        ablations[one.run.result.ablation].append(one)
    baselines = {one.run.result.seed: one for one in ablations.get(BASELINE, [])}
    rows = [_row(ablation, members, baselines) for ablation, members in ablations.items()]
    return _judged(sorted(rows, key=_order))


def _row(ablation: str, members: Sequence[Evaluated], baselines: Mapping[int, Evaluated]) -> Row:
    pairs = [] if ablation == BASELINE else [one for one in members if one.run.result.seed in baselines]
    partners = [baselines[one.run.result.seed] for one in pairs]
    others = [_alone(one) for one in members if one not in pairs]
    paired = [_paired(one, partner) for one, partner in zip(pairs, partners, strict=True)]
    counted = paired or others
    return Row(
        ablation=ablation,
        claim=members[0].run.result.claims.get(ablation),
        replicates=tuple(counted),
        unpaired=tuple(others if paired else ()),
        errors={name: float(np.mean([replicate.errors[name] for replicate in counted])) for name in MEASURES},
        deltas={name: mean_delta(_stack(partners, name), _stack(pairs, name)) for name in MEASURES if pairs},
        judgements={},  # follow once all rows are known
    )


def _judged(rows: Sequence[Row]) -> list[Row]:
    tested = [row for row in rows if row.deltas]
    adjusted = {name: holm([row.deltas[name].p for row in tested]) for name in MEASURES}
    judged = {
        row.ablation: {name: _judgement(row, name, adjusted[name][place]) for name in MEASURES}
        for place, row in enumerate(tested)
    }
    return [replace(row, judgements=judged.get(row.ablation, {})) for row in rows]


def _judgement(row: Row, measure: str, holm_p: float) -> Assessment:
    paper, log = (claimed(row, source, measure) for source in ("paper", "log"))
    return judgement(row.deltas[measure], holm_p=holm_p, paper=paper, log=log)


def claimed(row: Row, source: str, measure: str) -> float | None:
    """The rise of the error, in points, that a `source` (`paper` or `log`) gives for a row, if any."""
    if row.claim is None:
        return None
    points: Points = getattr(row.claim, source)
    value: float | None = getattr(points, measure)
    return value


def _alone(one: Evaluated) -> Replicate:
    return Replicate(run=one.run, baseline=None, errors=_errors(one), deltas={})


def _paired(one: Evaluated, partner: Evaluated) -> Replicate:
    deltas = {name: paired_delta(_right(partner, name), _right(one, name)) for name in MEASURES}
    return Replicate(run=one.run, baseline=_alone(partner), errors=_errors(one), deltas=deltas)


def _errors(one: Evaluated) -> dict[str, float]:
    images = len(one.predictions.labels)
    return {name: 100 * int((~_right(one, name)).sum()) / images for name in MEASURES}


def _right(one: Evaluated, measure: str) -> NDArray[np.bool_]:
    return one.predictions.top1_correct if measure == "top1" else one.predictions.top5_correct


def _stack(members: Sequence[Evaluated], measure: str) -> NDArray[np.bool_]:
    return np.stack([_right(one, measure) for one in members])


def _order(row: Row) -> tuple[int, list[int], str]:
    """The baseline, then single ablations in order of the paper's sections, then the log's, then combinations."""
    section = re.search(r"\d+(\.\d+)*", row.claim.section) if row.claim else None
    if row.ablation == BASELINE:
        return 0, [], row.ablation
    if section:
        return 1, [int(part) for part in section[0].split(".")], row.ablation
    return 3 if "+" in row.ablation else 2, [], row.ablation
