"""The comparison as CSV files, at full precision. Errors are in percent, differences in points.

`docs/result-files.md` lists the columns.
"""

from collections.abc import Iterable

from alexnet.study.comparison import MEASURES, AblationRow, ComparisonTable, SeedPair
from alexnet.study.wording import COLUMNS, RUN_COLUMNS, Cell, Record, csv_text

COMPARISON_FILE = "comparison.csv"
RUNS_FILE = "comparison_runs.csv"
TABLE_FIELDS = ("experiment", "recipe", "data", "fingerprint", "pairing_key", "split", "view", "images")
ROW_FIELDS = ("ablation", "section", "seeds")
RUN_FIELDS = ("ablation", "seed", "status", "run", "baseline_run")
COMPARISON_COLUMNS = (*TABLE_FIELDS, *ROW_FIELDS, *(f"{k}_{column.key}" for k in MEASURES for column in COLUMNS))
RUNS_COLUMNS = (*TABLE_FIELDS, *RUN_FIELDS, *(f"{k}_{key}" for k in MEASURES for key in RUN_COLUMNS), "command")


def comparison_csv(tables: Iterable[ComparisonTable]) -> str:
    """Write one line for each ablation: means over seeds, intervals, p, claims, and the verdicts on them."""
    return csv_text(COMPARISON_COLUMNS, (table_record(t) | row_record(row) for t in tables for row in t.rows))


def runs_csv(tables: Iterable[ComparisonTable]) -> str:
    """Write one line for each ablation and seed: its errors, paired counts and McNemar's p; unfinished runs too."""
    return csv_text(RUNS_COLUMNS, (table_record(table) | record for table in tables for record in run_records(table)))


def table_record(table: ComparisonTable) -> Record:
    """Return what all lines of a table have in common."""
    return {name: getattr(table, name) for name in TABLE_FIELDS}


def row_record(row: AblationRow) -> Record:
    """Return one line of `comparison.csv`; an unknown figure is None."""
    figures = {f"{k}_{column.key}": column.value(Cell(row, k)) for k in MEASURES for column in COLUMNS}
    section = row.claim.section if row.claim else ""
    return {"ablation": row.ablation, "section": section, "seeds": " ".join(map(str, row.seeds)), **figures}


def run_records(table: ComparisonTable) -> list[Record]:
    """Return the lines of `comparison_runs.csv` for one table; an unfinished run has no figures."""
    counted = [_pair_record(pair) for row in table.rows for pair in row.runs]
    facts = ("ablation", "seed", "status", "run", "command")
    return counted + [{name: getattr(run.result, name) for name in facts} for run in table.unfinished]


def _pair_record(pair: SeedPair) -> Record:
    result = pair.run.result
    return {
        **{name: getattr(result, name) for name in ("ablation", "seed", "status", "run", "command")},
        "baseline_run": pair.baseline and pair.baseline.run.result.run,
        **{f"{k}_{key}": value(pair, k) for k in MEASURES for key, value in RUN_COLUMNS.items()},
    }
