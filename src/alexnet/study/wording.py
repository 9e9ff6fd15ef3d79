"""How a comparison is put into words and figures, alike on the screen and in Markdown."""

from collections.abc import Iterable
from itertools import groupby

from alexnet.study.comparison import MEASURES, Group, Row, claimed
from alexnet.study.statistics import Interval
from alexnet.study.verdict import Verdict

HEADERS = ("Ablation", "Seeds", "")
FIGURES = (
    "Error",
    "Delta",
    "95 % interval",
    "p",
    "Holm p",
    "Paper",
    "Log",
    "Verdict",
    "Verdict on log",
    "Seeds needed",
    "Resolvable",
)
"""Columns after `HEADERS`; of the measure that the third of them names."""
ONE_SEED_MARK = "*"
MEASURE_NAMES = {"top1": "top-1", "top5": "top-5"}
MEANING_OF_P = (
    "p: how often a delta at least this far from 0 would turn up if the change had no effect; even if nothing had an "
    "effect, about one such p-value in twenty would fall below 0.05."
)
VERDICT_RULE = (
    "Verdict: the interval beside the number that the paper gives, which is for ImageNet, whatever the data here. "
    "agrees: the interval holds that number and not 0. same sign: it lies on the same side of 0 and leaves the number "
    "out, so the effect is of another size. not resolved: it holds both, the study is too coarse. disagrees: it leaves "
    "the number out and does not show its direction."
)
FILE_COLUMNS = (
    "Holm p: p adjusted for the number of ablations in the table. Verdict on log: as Verdict, on the log's number. "
    "Seeds needed: to tell the paper's number from 0 with 80 % power, if seeds and images vary as they did here; a "
    "rough figure where few seeds were seen. Resolvable: the smallest delta, in points, that the seeds at hand tell "
    "from 0 with 80 % power."
)
"""What the columns mean for which a screen has no room."""


def title(group: Group) -> str:
    """What the table is about, in one line."""
    about = f"Experiment {group.experiment}, recipe {group.recipe}, data {group.data}"
    about += f", {group.apart}" if group.apart else ""
    if not group.rows:
        return f"{about}: no finished run to compare"
    seeds = sorted({seed for row in group.rows for seed in row.seeds})
    return (
        f"{about}: {group.images:,} {group.split} images, {group.view}, "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {shown_seeds(seeds)}"
    )


def shown_seeds(seeds: Iterable[int]) -> str:
    """Seeds with runs of three or more drawn together: `0-2, 7`."""
    parts: list[str] = []
    # Along a run of consecutive seeds, seed minus rank stays the same.
    for _, ranked in groupby(enumerate(sorted(seeds)), key=lambda pair: pair[1] - pair[0]):
        run = [seed for _, seed in ranked]
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(parts)


def figures(row: Row, measure: str) -> dict[str, str]:
    """The figures of one row for one measure, by column of `FIGURES`."""
    paper, log = (shown_points(claimed(row, source, measure)) for source in ("paper", "log"))
    known = dict.fromkeys(FIGURES, "") | {"Error": f"{row.errors[measure]:.2f}", "Paper": paper, "Log": log}
    if measure not in row.deltas:
        return known
    mean, judged = row.deltas[measure], row.judgements[measure]
    return known | {
        "Delta": f"{mean.delta:+.2f}",
        "95 % interval": shown_interval(mean.interval),
        "p": shown_p(mean.p),
        "Holm p": shown_p(judged.holm_p),
        "Verdict": shown_verdict(judged.paper, mean.seeds),
        "Verdict on log": shown_verdict(judged.log, mean.seeds),
        "Seeds needed": str(judged.seeds_needed or judged.no_seeds),
        "Resolvable": "unknown" if judged.resolvable is None else f"{judged.resolvable:.2f}",
    }


def shown_verdict(verdict: Verdict | None, seeds: int) -> str:
    """A verdict, marked where it rests on one seed."""
    return f"{verdict or ''}{ONE_SEED_MARK if verdict and seeds == 1 else ''}"


def shown_points(value: float | None) -> str:
    """A claimed delta, with no more decimals than the claim has, and at most two."""
    return "" if value is None else f"{round(value, 2):+}"


def shown_interval(interval: Interval) -> str:
    """An interval in points."""
    return f"[{interval.low:+.2f}, {interval.high:+.2f}]"


def shown_p(p: float) -> str:
    """A p-value to three places."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def target_line(group: Group) -> str | None:
    """The absolute errors that the paper and the log give for the baseline; None where there is none."""
    known = [
        f"{MEASURE_NAMES[measure]} {value:.1f} % ({source})"
        for source, points in (("paper", group.target.paper), ("log", group.target.log))
        for measure in MEASURES
        if (value := getattr(points, measure)) is not None
    ]
    return f"Errors to compare the baseline with: {', '.join(known)}." if known else None


def explanation(group: Group) -> str:
    """What the columns mean, in plain words, and what the seeds at hand cannot say."""
    counts = {mean.seeds for row in group.rows for mean in row.deltas.values()}
    sentences = [
        "Error: percent of the images, mean over seeds. Delta: error minus that of the baseline with the same seed on "
        "the same images, in points; above 0 the change made it worse. Paper, Log: the same rise in the paper and in "
        "its authors' log."
    ]
    if counts:
        sentences += [MEANING_OF_P, VERDICT_RULE]
    if counts - {1}:
        sentences.append(
            "95 % interval: where the delta may lie, given that other seeds and other images could be drawn."
        )
    if 1 in counts:
        sentences.append(
            f"{ONE_SEED_MARK} With one seed, interval, p and verdict allow for other images only: how much the delta "
            "varies between seeds is unknown, and may well exceed the interval."
        )
    return " ".join(sentences)


def unfinished_lines(group: Group) -> list[str]:
    """One line for each failed or interrupted run."""
    return [f"{run}: {run.result.status}: {run.result.message}" for run in group.unfinished]


def damage_line(damaged: Iterable[str]) -> str | None:
    """The warning about runs that could not be read; None if all could."""
    reasons = list(damaged)
    counted = "1 damaged run was" if len(reasons) == 1 else f"{len(reasons)} damaged runs were"
    return f"Warning: {counted} skipped: {'; '.join(reasons)}" if reasons else None
