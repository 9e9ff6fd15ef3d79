"""The reproducibility checklist of a study: what its result files tell, and what is left to its authors."""

import re
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

from alexnet.config.schema import DOWNLOADS, flatten
from alexnet.errors import UserError
from alexnet.study.comparison import AblationRow, ComparisonTable
from alexnet.study.report.page import templates
from alexnet.study.wording import MEASURE_NAMES, shown_interval, shown_p, signed

SETTINGS = ("optimizer", "schedule", "init", "dropout", "lrn", "pooling", "activation", "columns", "depth", "scale")
PREPROCESSING = ("data", "crops", "color", "shuffle")
"""Groups of the configuration, by the item that asks for them."""


def checklist(tables: Sequence[ComparisonTable], warning: str | None) -> str:
    """Write the checklist as Markdown."""
    text = templates(html=False).get_template("checklist.md.j2").render(
        tables=[table for table in tables if table.made],
        hyperparameters=SETTINGS,
        preprocessing=PREPROCESSING,
        downloads=DOWNLOADS,
        settings=_settings,
        mean_minutes=_mean_minutes,
        figures=_figures,
        warning=warning,
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_each_once(text))).strip() + "\n"


def _settings(table: ComparisonTable, groups: Sequence[str]) -> list[str]:
    """Return a line for each group of a run's configuration; none if no run directory has a readable one."""
    for run in sorted(table.runs, key=lambda run: not run.is_baseline):
        try:
            config = run.config()
        except UserError:
            continue
        found = {name: flatten(config[name]) for name in groups if isinstance(config.get(name), dict)}
        return [f"{name}: {', '.join(f'{key}={value}' for key, value in one.items())}" for name, one in found.items()]
    return []


def _mean_minutes(table: ComparisonTable) -> float | None:
    """Return the mean training time of a run; None if no run tells."""
    seconds = [run.result.training.seconds for run in table.made if run.result.training]
    return fmean(seconds) / 60 if seconds else None


def _figures(table: ComparisonTable, row: AblationRow) -> Iterator[list[str]]:
    """Yield a line for each measure: error with its spread over seeds, delta with its interval, Holm's p."""
    for measure in table.measures:
        errors = [one.errors[measure] for one in row.runs]
        spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
        cells = [row.ablation, MEASURE_NAMES[measure], f"{len(errors)}", f"{fmean(errors):.2f}{spread}"]
        if (one := row.assessments.get(measure)) is None:
            yield [*cells, "", "", ""]
        else:
            interval = f"{100 * one.confidence:g} % {shown_interval(one.interval)}"
            yield [*cells, signed(one.delta), interval, shown_p(one.holm_p)]


def _each_once(text: str) -> Iterator[str]:
    """Yield the lines; what holds for several tables is one item of a section."""
    seen: set[str] = set()
    for line in text.splitlines():
        if line.startswith("#"):
            seen = set()
        if line not in seen or not line.lstrip().startswith("- "):
            yield line
        seen.add(line)
