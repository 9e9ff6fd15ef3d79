"""The columns of a comparison: one list for CSV files, for tables that people read, and for W&B.

Errors are in percent, differences in points, in files at full precision. `docs/result-files.md` lists the columns.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from alexnet.runs.collect import Run
from alexnet.study.comparison import AblationRow, ComparisonTable
from alexnet.study.pairing import MEASURES, Evaluated
from alexnet.study.wording import Record, csv_text, shown_interval, shown_p, shown_points

ONE_SEED_MARK = "*"


@dataclass(frozen=True)
class Column:
    """A figure of an ablation by one measure, in every table and file."""

    key: str
    """In CSV files and W&B, after the measure."""
    value: Callable[[AblationRow, str], object]
    """In CSV files and W&B; None if unknown."""
    heading: str | None = None
    """In tables that people read; None for figures that only files hold."""
    text: Callable[[AblationRow, str], str] = lambda _, __: ""
    """In tables that people read."""
    needs_baseline: bool = True

    def show(self, row: AblationRow, measure: str) -> str:
        """Return the text for people, empty if there is nothing to say."""
        return self.text(row, measure) if row.deltas or not self.needs_baseline else ""


def _verdict(row: AblationRow, measure: str, source: str) -> str:
    """Show the verdict on a source's claim, with a mark if it rests on one seed."""
    verdict: str | None = getattr(row.assessments[measure], source)
    return f"{verdict}{ONE_SEED_MARK if len(row.seeds) == 1 else ''}" if verdict else ""


def _detectable(row: AblationRow, measure: str) -> str:
    effect = row.assessments[measure].min_detectable_effect
    return "unknown" if effect is None else f"{effect:.2f}"


COLUMNS = (
    Column("error", lambda row, k: row.errors[k], "Error", lambda row, k: f"{row.errors[k]:.2f}", False),
    Column("delta", lambda row, k: row.deltas[k].delta, "Delta", lambda row, k: f"{row.deltas[k].delta:+.2f}"),
    Column(
        "low", lambda row, k: row.deltas[k].interval.low,
        "95 % interval", lambda row, k: shown_interval(row.deltas[k].interval),
    ),
    Column("high", lambda row, k: row.deltas[k].interval.high),
    Column("p", lambda row, k: row.deltas[k].p, "p", lambda row, k: shown_p(row.deltas[k].p)),
    Column(
        "holm_p", lambda row, k: row.assessments[k].holm_p,
        "Holm p", lambda row, k: shown_p(row.assessments[k].holm_p),
    ),
    Column("seed_sd", lambda row, k: row.deltas[k].seed_sd),
    Column("seed_low", lambda row, k: (seen := row.deltas[k].seed_interval) and seen.low),
    Column("seed_high", lambda row, k: (seen := row.deltas[k].seed_interval) and seen.high),
    Column(
        "paper", lambda row, k: row.expected_deltas(k).get("paper"),
        "Paper", lambda row, k: shown_points(row.expected_deltas(k).get("paper")), needs_baseline=False,
    ),
    Column(
        "log", lambda row, k: row.expected_deltas(k).get("log"),
        "Log", lambda row, k: shown_points(row.expected_deltas(k).get("log")), needs_baseline=False,
    ),
    Column(
        "paper_verdict", lambda row, k: (seen := row.assessments[k].paper) and seen.value,
        "Verdict", lambda row, k: _verdict(row, k, "paper"),
    ),
    Column(
        "log_verdict", lambda row, k: (seen := row.assessments[k].log) and seen.value,
        "Verdict on log", lambda row, k: _verdict(row, k, "log"),
    ),
    Column(
        "seeds_needed", lambda row, k: row.assessments[k].seeds_needed,
        "Seeds needed", lambda row, k: str(row.assessments[k].seeds_needed or row.assessments[k].no_power_reason),
    ),
    Column("no_seeds", lambda row, k: row.assessments[k].no_power_reason),
    Column("resolvable", lambda row, k: row.assessments[k].min_detectable_effect, "Detectable", _detectable),
)  # fmt: skip
SHOWN_COLUMNS = {column.key: column for column in COLUMNS if column.heading}
RUN_COLUMNS: Mapping[str, Callable[[Evaluated, str], object]] = {
    "error": lambda one, k: one.errors[k],
    "baseline_error": lambda one, k: one.baseline and one.baseline.errors[k],
    "delta": lambda one, k: one.deltas[k].delta,
    "low": lambda one, k: one.deltas[k].interval.low,
    "high": lambda one, k: one.deltas[k].interval.high,
    "only_run_wrong": lambda one, k: one.deltas[k].only_run_wrong,
    "only_baseline_wrong": lambda one, k: one.deltas[k].only_baseline_wrong,
    "mcnemar_p": lambda one, k: one.deltas[k].p,
}
"""Figures of a run by one measure, in files; all but the error need a baseline."""

TABLE_FIELDS = ("experiment", "recipe", "data", "fingerprint", "pairing_key", "split", "view", "images")
ROW_FIELDS = ("ablation", "section", "seeds")
RUN_FIELDS = ("ablation", "seed", "status", "run", "command")
COMPARISON_COLUMNS = (*TABLE_FIELDS, *ROW_FIELDS, *(f"{k}_{column.key}" for k in MEASURES for column in COLUMNS))
RUNS_COLUMNS = (
    *TABLE_FIELDS, *RUN_FIELDS[:-1], "baseline_run", *(f"{k}_{key}" for k in MEASURES for key in RUN_COLUMNS), "command"
)  # fmt: skip


def comparison_csv(tables: Iterable[ComparisonTable]) -> str:
    """Write one line for each ablation: means over seeds, intervals, p, claims, and the verdicts on them."""
    return csv_text(COMPARISON_COLUMNS, (table_record(t) | row_record(row) for t in tables for row in t.rows))


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


def figures(row: AblationRow, measure: str) -> Record:
    """Return the values of `COLUMNS`; those that need a baseline are missing if there is none."""
    known = (column for column in COLUMNS if row.deltas or not column.needs_baseline)
    return {column.key: column.value(row, measure) for column in known}


def row_record(row: AblationRow) -> Record:
    """Return one line of `comparison.csv`."""
    return row_facts(row) | {f"{k}_{key}": value for k in MEASURES for key, value in figures(row, k).items()}


def run_records(table: ComparisonTable) -> list[Record]:
    """Return the lines of `comparison_runs.csv` for one table; an unfinished run has no figures."""
    evaluated = [_facts(one.run) | _run_figures(one) for row in table.rows for one in row.runs]
    return evaluated + [_facts(run) for run in table.unfinished]


def _facts(run: Run) -> Record:
    return {name: getattr(run.result, name) for name in RUN_FIELDS}


def _run_figures(one: Evaluated) -> Record:
    known = RUN_COLUMNS if one.baseline else ("error",)
    figures = {f"{k}_{key}": RUN_COLUMNS[key](one, k) for k in MEASURES for key in known}
    return {"baseline_run": one.baseline and one.baseline.run.result.run, **figures}
