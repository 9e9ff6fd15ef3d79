"""What a mean delta says beside the other ablations of its table, and beside what is claimed."""

from dataclasses import dataclass

from alexnet.study.crossed import Components
from alexnet.study.power import resolvable_delta, seeds_needed
from alexnet.study.statistics import MeanDelta
from alexnet.study.verdict import Verdict, judge


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """Of one ablation and one measure. With one seed the verdicts rest on the images alone."""

    holm_p: float
    """Adjusted for all ablations of the table."""
    paper: Verdict | None
    """On the paper's delta, whatever the data; None where it gives no number."""
    log: Verdict | None
    """The same for the delta of the authors' log."""
    seeds_needed: int | None
    """To tell the paper's delta from 0 with 80 % power, on this test set; None where `no_seeds` says why."""
    no_seeds: str | None
    """Why `seeds_needed` is None."""
    resolvable: float | None
    """The smallest delta, in points, that the seeds at hand tell from 0 with 80 % power; None where unknown."""


def judgement(mean: MeanDelta, *, holm_p: float, paper: float | None, log: float | None) -> Assessment:
    """Judge `mean` beside the deltas of the paper and the log, in points."""
    needed, reason = _seeds_needed(mean.components, paper)
    return Assessment(
        holm_p=holm_p,
        paper=judge(mean.interval, paper),
        log=judge(mean.interval, log),
        seeds_needed=needed,
        no_seeds=reason,
        resolvable=resolvable_delta(mean.components, mean.seeds) if mean.components else None,
    )


def _seeds_needed(components: Components | None, paper: float | None) -> tuple[int | None, str | None]:
    """The number of seeds, or why there is none."""
    if paper is None:
        return None, "the paper gives no number"
    if paper == 0:
        return None, "the paper's number is 0"
    if components is None:
        return None, "the spread between seeds is unknown"
    needed = seeds_needed(components, paper)
    return needed, None if needed else "the test set is too small for it, whatever the number of seeds"
