"""The columns of a comparison: one list for CSV files, for tables that people read, and for W&B.

Errors are in percent, differences in points, in files at full precision. `docs/result-files.md` lists the columns.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from alexnet.runs.collect import Run
from alexnet.study.assessment import MORE_SEEDS, Assessment
from alexnet.study.comparison import AblationRow, ComparisonTable
from alexnet.study.flags import shown_p
from alexnet.study.pairing import MEASURES, Evaluated
from alexnet.study.verdict import Direction
from alexnet.study.wording import Record, shown_interval, shown_points


@dataclass(frozen=True)
class Column:
    """A figure of an ablation, or of a run, by one measure, in every table and file."""

    key: str
    """In CSV files and W&B, after the measure."""
    part: str
    """The attribute of the ablation or run that holds it, a mapping over the measures; unknown measures are missing."""
    figure: Callable[[Any], object]
    """From the part to the figure in CSV files and W&B; None if unknown."""
    heading: str | None = None
    """In tables that people read; None for figures that only files hold."""
    text: Callable[[Any], str] = str
    """From the part to the text in tables that people read."""

    def value(self, one: AblationRow | Evaluated, measure: str) -> object:
        """Return the figure for files, None if unknown."""
        found = getattr(one, self.part).get(measure)
        return None if found is None else self.figure(found)

    def show(self, row: AblationRow, measure: str) -> str:
        """Return the text for people, empty if there is nothing to say."""
        found = getattr(row, self.part).get(measure)
        return "" if found is None else self.text(found)


TOO_FEW = Direction.TOO_FEW_SEEDS


def _flagged(assessment: Assessment, word: str) -> str:
    """Show a verdict, worded as flagged if there is a doubt."""
    return f"{word}, flagged" if word and assessment.doubts else word


def _size(assessment: Assessment, source: str) -> str:
    """Show the verdict on the size that a source gives, or why there is none; empty if it gives no number."""
    verdict = assessment.sizes.get(source)
    if verdict is None:
        return ""
    if verdict.size is None:
        return f"({verdict.reason})"
    return _flagged(assessment, f"{verdict.size}: {verdict.seeds} seeds" if verdict.seeds else verdict.size)


def _computed(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _half(assessment: Assessment, source: str) -> float | None:
    verdict = assessment.sizes.get(source)
    return float(verdict.prediction.half) if verdict and verdict.prediction else None


def _seeds(assessment: Assessment) -> str:
    """Show the seeds needed with their range, or why there are none."""
    outlook = assessment.outlook
    if outlook.seeds_needed is None:
        return str(outlook.reason)
    few, many = outlook.seeds_range
    return f"{outlook.seeds_needed} ({few or 'over 1000'}-{many or 'over 1000'})"


def _least(delta: float | None) -> str:
    return "" if delta is None else "none" if math.isinf(delta) else f"{delta:.2f}"


COLUMNS = (
    Column("error", "errors", lambda error: error, "Error", "{:.2f}".format),
    Column("delta", "assessments", lambda a: a.delta, "Delta", lambda a: f"{a.delta:+z.2f}"),
    Column("low", "assessments", lambda a: a.interval.low, "Interval", lambda a: shown_interval(a.interval)),
    Column("high", "assessments", lambda a: a.interval.high),
    Column("confidence", "assessments", lambda a: a.confidence),
    Column("p", "assessments", lambda a: _computed(a.p), "p", lambda a: shown_p(a.p)),
    Column("holm_p", "assessments", lambda a: _computed(a.holm_p), "Holm p", lambda a: shown_p(a.holm_p)),
    Column("run_sd", "assessments", lambda a: a.run_sd),
    Column("paper", "claims", lambda c: c.get("paper"), "Paper", lambda c: shown_points(c.get("paper"))),
    Column("log", "claims", lambda c: c.get("log"), "Log", lambda c: shown_points(c.get("log"))),
    Column(
        "direction", "assessments", lambda a: a.direction.value,
        "Direction", lambda a: a.direction if a.direction is TOO_FEW else _flagged(a, a.direction),
    ),
    Column("size", "assessments", lambda a: _size(a, "paper"), "Size", lambda a: _size(a, "paper")),
    Column("log_size", "assessments", lambda a: _size(a, "log"), "Size, log", lambda a: _size(a, "log")),
    Column("one_run", "assessments", lambda a: _half(a, "paper")),
    Column("seeds_needed", "assessments", lambda a: a.outlook.seeds_needed, "Seeds needed", _seeds),
    Column("seeds_needed_low", "assessments", lambda a: a.outlook.seeds_range[0]),
    Column("seeds_needed_high", "assessments", lambda a: a.outlook.seeds_range[1]),
    Column("no_seeds", "assessments", lambda a: a.outlook.reason),
    Column(
        "resolvable", "assessments", lambda a: _computed(a.outlook.min_detectable_effect), "Detectable",
        lambda a: _least(a.outlook.min_detectable_effect),
    ),
    Column(
        "resolvable_with_more", "assessments", lambda a: _computed(a.outlook.with_more_seeds),
        f"With {MORE_SEEDS} more", lambda a: _least(a.outlook.with_more_seeds),
    ),
    Column("interaction", "assessments", lambda a: a.interaction and float(a.interaction.value)),
    Column("interaction_low", "assessments", lambda a: a.interaction and a.interaction.interval().low),
    Column("interaction_high", "assessments", lambda a: a.interaction and a.interaction.interval().high),
    Column("interaction_holm_p", "assessments", lambda a: a.interaction and _computed(a.interaction_holm_p)),
    Column("step_from", "assessments", lambda a: a.step and a.step.before),
    Column("step", "assessments", lambda a: a.step and float(a.step.change.value)),
    Column("step_low", "assessments", lambda a: a.step and a.step.change.interval().low),
    Column("step_high", "assessments", lambda a: a.step and a.step.change.interval().high),
    Column("ten_crop_gain", "gains", lambda gain: float(gain.value)),
    Column("ten_crop_gain_low", "gains", lambda gain: gain.interval().low),
    Column("ten_crop_gain_high", "gains", lambda gain: gain.interval().high),
    Column("flags", "assessments", lambda a: "; ".join(flag.text for flag in a.flags) or None),
)  # fmt: skip
SHOWN_COLUMNS = {column.key: column for column in COLUMNS if column.heading}


def shown_columns(table: ComparisonTable, keys: Iterable[str] = SHOWN_COLUMNS) -> list[Column]:
    """Return the columns of these keys in which any row has something to say."""
    columns = [SHOWN_COLUMNS[key] for key in keys]
    return [one for one in columns if any(one.show(row, measure) for row in table.rows for measure in table.measures)]


RUN_COLUMNS = (
    Column("error", "errors", lambda error: error),
    Column("baseline_error", "baseline_errors", lambda error: error),
    Column("delta", "deltas", lambda d: d.delta),
    Column("low", "deltas", lambda d: d.interval.low),
    Column("high", "deltas", lambda d: d.interval.high),
    Column("only_run_wrong", "deltas", lambda d: d.only_run_wrong),
    Column("only_baseline_wrong", "deltas", lambda d: d.only_baseline_wrong),
    Column("mcnemar_p", "deltas", lambda d: d.p),
)
TABLE_FIELDS = ("experiment", "recipe", "data", "fingerprint", "pairing_key", "split", "view", "images")
ROW_FIELDS = ("ablation", "section", "seeds", "lr")
RUN_FIELDS = ("ablation", "seed", "lr", "status", "run")
COMPARISON_COLUMNS = (*TABLE_FIELDS, *ROW_FIELDS, *(f"{k}_{column.key}" for k in MEASURES for column in COLUMNS))
RUNS_COLUMNS = (
    *(*TABLE_FIELDS, *RUN_FIELDS, "baseline_run"),
    *(f"{k}_{column.key}" for k in MEASURES for column in RUN_COLUMNS),
    "command",
)


def comparison_records(tables: Iterable[ComparisonTable]) -> list[Record]:
    """Return the lines of `comparison.csv`, one for each ablation: means over seeds, claims, and the verdicts."""
    return [table_record(t) | row_facts(row) | _figures(row, COLUMNS) for t in tables for row in t.rows]


def table_record(table: ComparisonTable) -> Record:
    """Return what all lines of a table have in common."""
    return {name: getattr(table, name) for name in TABLE_FIELDS}


def row_facts(row: AblationRow) -> Record:
    """Return `ROW_FIELDS` of an ablation."""
    section, seeds = row.claim.section if row.claim else "", " ".join(map(str, row.seeds))
    return dict(zip(ROW_FIELDS, (row.ablation, section, seeds, row.runs[0].run.result.lr), strict=True))


def run_records(table: ComparisonTable) -> list[Record]:
    """Return the lines of `comparison_runs.csv` for one table, without what all of them have in common.

    One for each ablation and seed: errors, paired counts and McNemar's p; an unfinished run has no figures.
    """
    evaluated = [
        _run_facts(one.run, one.baseline) | _figures(one, RUN_COLUMNS) for row in table.rows for one in row.runs
    ]
    return evaluated + [_run_facts(run) for run in table.unfinished]


def _run_facts(run: Run, baseline: Evaluated | None = None) -> Record:
    result = run.result
    known = {"baseline_run": baseline and baseline.run.result.run, "command": result.command}
    return {name: getattr(result, name) for name in RUN_FIELDS} | known


def _figures(one: AblationRow | Evaluated, columns: Sequence[Column]) -> Record:
    return {f"{k}_{column.key}": column.value(one, k) for k in MEASURES for column in columns}
