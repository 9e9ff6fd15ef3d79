"""The columns of a comparison: one list for CSV files, for tables that people read, and for W&B.

Errors are in percent, differences in points, in files at full precision. `docs/result-files.md` lists the columns.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from alexnet.runs.collect import Run
from alexnet.study.comparison import AblationRow, ComparisonTable
from alexnet.study.pairing import MEASURES, Evaluated
from alexnet.study.verdict import Assessment, Verdict
from alexnet.study.wording import Record, csv_text, shown_interval, shown_p, shown_points

ONE_SEED_MARK = "*"


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


def _value(verdict: Verdict | None) -> str | None:
    return verdict and verdict.value


def _shown(assessment: Assessment, verdict: Verdict | None) -> str:
    """Show one of its verdicts, with a mark if it rests on one seed."""
    return f"{verdict}{ONE_SEED_MARK if assessment.seeds == 1 else ''}" if verdict else ""


def _detectable(assessment: Assessment) -> str:
    effect = assessment.min_detectable_effect
    return "unknown" if effect is None else f"{effect:.2f}"


COLUMNS = (
    Column("error", "errors", lambda error: error, "Error", "{:.2f}".format),
    Column("delta", "deltas", lambda d: d.delta, "Delta", lambda d: f"{d.delta:+.2f}"),
    Column("low", "deltas", lambda d: d.interval.low, "95 % interval", lambda d: shown_interval(d.interval)),
    Column("high", "deltas", lambda d: d.interval.high),
    Column("p", "deltas", lambda d: d.p, "p", lambda d: shown_p(d.p)),
    Column("holm_p", "assessments", lambda a: a.holm_p, "Holm p", lambda a: shown_p(a.holm_p)),
    Column("seed_sd", "deltas", lambda d: d.seed_sd),
    Column("seed_low", "deltas", lambda d: d.seed_interval and d.seed_interval.low),
    Column("seed_high", "deltas", lambda d: d.seed_interval and d.seed_interval.high),
    Column("paper", "claims", lambda c: c.get("paper"), "Paper", lambda c: shown_points(c.get("paper"))),
    Column("log", "claims", lambda c: c.get("log"), "Log", lambda c: shown_points(c.get("log"))),
    Column("paper_verdict", "assessments", lambda a: _value(a.paper), "Verdict", lambda a: _shown(a, a.paper)),
    Column("log_verdict", "assessments", lambda a: _value(a.log), "Verdict on log", lambda a: _shown(a, a.log)),
    Column(
        "seeds_needed", "assessments", lambda a: a.seeds_needed,
        "Seeds needed", lambda a: str(a.seeds_needed or a.no_power_reason),
    ),
    Column("no_seeds", "assessments", lambda a: a.no_power_reason),
    Column("resolvable", "assessments", lambda a: a.min_detectable_effect, "Detectable", _detectable),
)  # fmt: skip
SHOWN_COLUMNS = {column.key: column for column in COLUMNS if column.heading}
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
ROW_FIELDS = ("ablation", "section", "seeds")
RUN_FIELDS = ("ablation", "seed", "status", "run")
COMPARISON_COLUMNS = (*TABLE_FIELDS, *ROW_FIELDS, *(f"{k}_{column.key}" for k in MEASURES for column in COLUMNS))
RUNS_COLUMNS = (
    *(*TABLE_FIELDS, *RUN_FIELDS, "baseline_run"),
    *(f"{k}_{column.key}" for k in MEASURES for column in RUN_COLUMNS),
    "command",
)


def comparison_csv(tables: Iterable[ComparisonTable]) -> str:
    """Write one line for each ablation: means over seeds, intervals, p, claims, and the verdicts on them."""
    records = (table_record(t) | row_facts(row) | _figures(row, COLUMNS) for t in tables for row in t.rows)
    return csv_text(COMPARISON_COLUMNS, records)


def runs_csv(tables: Iterable[ComparisonTable]) -> str:
    """Write one line for each ablation and seed: its errors, paired counts and McNemar's p; unfinished runs too."""
    return csv_text(RUNS_COLUMNS, (table_record(table) | record for table in tables for record in run_records(table)))


def table_record(table: ComparisonTable) -> Record:
    """Return what all lines of a table have in common."""
    return {name: getattr(table, name) for name in TABLE_FIELDS}


def row_facts(row: AblationRow) -> Record:
    """Return `ROW_FIELDS` of an ablation."""
    facts = (row.ablation, row.claim.section if row.claim else "", " ".join(map(str, row.seeds)))
    return dict(zip(ROW_FIELDS, facts, strict=True))


def run_records(table: ComparisonTable) -> list[Record]:
    """Return the lines of `comparison_runs.csv` for one table; an unfinished run has no figures."""
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
