"""The comparison as CSV files, at full precision. Errors are in percent, differences in points.

`docs/result-files.md` lists the columns.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from alexnet.runs.collect import Run
from alexnet.study.comparison import MEASURES, Group, Replicate, Row, claimed
from alexnet.study.judgement import Assessment

Record = dict[str, object]

COMPARISON_FILE = "comparison.csv"
RUNS_FILE = "comparison_runs.csv"

GROUP_FIGURES = ("experiment", "recipe", "data", "fingerprint", "pairing_key", "split", "view", "images")
ROW_FIGURES = (
    *("error", "delta", "low", "high", "p", "holm_p", "seed_sd", "seed_low", "seed_high"),
    *("paper", "log", "paper_verdict", "log_verdict", "seeds_needed", "no_seeds", "resolvable"),
)
RUN_FIGURES = ("error", "baseline_error", "delta", "low", "high", "only_run_wrong", "only_baseline_wrong", "mcnemar_p")


def _columns(names: Sequence[str], figures: Sequence[str]) -> tuple[str, ...]:
    return (*GROUP_FIGURES, *names, *(f"{measure}_{figure}" for measure in MEASURES for figure in figures))


COMPARISON_COLUMNS = _columns(("ablation", "section", "seeds"), ROW_FIGURES)
RUN_COLUMNS = (*_columns(("ablation", "seed", "status", "run", "baseline_run"), RUN_FIGURES), "command")


def write_comparison(path: Path, groups: Iterable[Group]) -> None:
    """One line for each ablation: means over seeds, intervals, p, what is claimed, and the verdicts on it."""
    _write(path, COMPARISON_COLUMNS, (group_record(group) | row_record(row) for group in groups for row in group.rows))


def write_runs(path: Path, groups: Iterable[Group]) -> None:
    """One line for each ablation and seed: its errors, paired counts and McNemar's p; unfinished runs too."""
    records = (group_record(group) | record for group in groups for record in run_records(group))
    _write(path, RUN_COLUMNS, records)


def _write(path: Path, columns: Sequence[str], records: Iterable[Record]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def group_record(group: Group) -> Record:
    """What all lines of a table have in common, by `GROUP_FIGURES`."""
    return {name: getattr(group, name) for name in GROUP_FIGURES}


def row_record(row: Row) -> Record:
    """One line of `comparison.csv`; a figure that is unknown is None or missing."""
    record: Record = {
        "ablation": row.ablation,
        "section": row.claim.section if row.claim else "",
        "seeds": " ".join(map(str, row.seeds)),
    }
    for measure in MEASURES:
        figures: Record = {"error": row.errors[measure]}
        figures |= {source: claimed(row, source, measure) for source in ("paper", "log")}
        if mean := row.deltas.get(measure):
            figures |= {"delta": mean.delta, "p": mean.p, "seed_sd": mean.seed_sd}
            figures |= {"low": mean.interval.low, "high": mean.interval.high}
            figures |= _judgement_record(row.judgements[measure])
            if mean.seed_interval:
                figures |= {"seed_low": mean.seed_interval.low, "seed_high": mean.seed_interval.high}
        record |= {f"{measure}_{name}": value for name, value in figures.items()}
    return record


def _judgement_record(judged: Assessment) -> Record:
    names = ("holm_p", "seeds_needed", "no_seeds", "resolvable")
    verdicts = {"paper_verdict": judged.paper, "log_verdict": judged.log}
    return {name: getattr(judged, name) for name in names} | verdicts


def run_records(group: Group) -> list[Record]:
    """The lines of `comparison_runs.csv` for one table; a figure that is unknown is missing."""
    counted = [_replicate_record(replicate) for row in group.rows for replicate in row.runs]
    return counted + [_run_facts(run) for run in group.unfinished]


def _run_facts(run: Run) -> Record:
    result = run.result
    names = ("ablation", "seed", "status", "run", "command")
    return {name: getattr(result, name) for name in names}


def _replicate_record(replicate: Replicate) -> Record:
    record = _run_facts(replicate.run)
    if replicate.baseline:
        record["baseline_run"] = replicate.baseline.run.result.run
    for measure in MEASURES:
        figures: Record = {"error": replicate.errors[measure]}
        if replicate.baseline:
            pair = replicate.deltas[measure]
            figures |= {"baseline_error": replicate.baseline.errors[measure]}
            figures |= {"delta": pair.delta, "low": pair.interval.low, "high": pair.interval.high}
            figures |= {"only_run_wrong": pair.only_run_wrong, "only_baseline_wrong": pair.only_baseline_wrong}
            figures |= {"mcnemar_p": pair.p}
        record |= {f"{measure}_{name}": value for name, value in figures.items()}
    return record
