"""The reproducibility checklist of a study: what its result files tell, and what is left to its authors."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from alexnet.config.schema import DOWNLOADS, flatten
from alexnet.errors import UserError
from alexnet.runs.result import BASELINE
from alexnet.study.comparison import AblationRow, ComparisonTable
from alexnet.study.pairing import values_by_fact
from alexnet.study.report.page import templates
from alexnet.study.wording import MEASURE_NAMES, shown_interval, shown_p, signed, unreadable_line

SETTINGS = ("optimizer", "schedule", "init", "dropout", "lrn", "pooling", "activation", "columns", "depth", "scale")
PREPROCESSING = ("data", "crops", "color", "shuffle")
"""Groups of the configuration, by the item that asks for them."""


@dataclass(frozen=True)
class Facts:
    """What the items ask of one table, besides the table itself."""

    table: ComparisonTable

    @property
    def finished(self) -> int:
        """Runs that trained to the end, those of a search for rates included."""
        return sum(run.finished for run in self.table.made)

    @property
    def diverged(self) -> int:
        """Runs whose loss was no longer finite."""
        return sum(run.result.diverged for run in self.table.made)

    @property
    def download(self) -> str | None:
        """The address that the images are downloaded from; None for others."""
        return DOWNLOADS.get(self.table.data)

    @property
    def minutes(self) -> float | None:
        """Mean training time of a run; None if no run tells."""
        seconds = [run.result.training.seconds for run in self.table.made if run.result.training]
        return fmean(seconds) / 60 if seconds else None

    @property
    def environment(self) -> dict[str, list[str]]:
        """Values of each fact about code, packages and machines."""
        return {fact: [*values] for fact, values in values_by_fact(self.table.made).items()}

    def settings(self, *groups: str) -> list[str]:
        """Return a line for each group of a run's configuration; none if no run directory has a readable one."""
        for run in sorted(self.table.runs, key=lambda run: not run.is_baseline):
            try:
                config = run.config()
            except UserError:
                continue
            found = {name: flatten(config[name]) for name in groups if isinstance(config.get(name), dict)}
            return [
                f"{name}: {', '.join(f'{key}={value}' for key, value in one.items())}" for name, one in found.items()
            ]
        return []

    def figures(self, row: AblationRow) -> list[list[str]]:
        """Return a line for each measure: error with its spread over seeds, delta with its interval, Holm's p."""
        return [self._figures(row, measure) for measure in self.table.measures]

    def _figures(self, row: AblationRow, measure: str) -> list[str]:
        errors = [one.errors[measure] for one in row.runs]
        spread = f" ± {stdev(errors):.2f}" if len(errors) > 1 else ""
        cells = [row.ablation, MEASURE_NAMES[measure], f"{len(errors)}", f"{fmean(errors):.2f}{spread}"]
        if (one := row.assessments.get(measure)) is None:
            return [*cells, "", "", ""]
        return [
            *cells,
            signed(one.delta),
            f"{100 * one.confidence:g} % {shown_interval(one.interval)}",
            shown_p(one.holm_p),
        ]


def checklist(tables: Sequence[ComparisonTable], unreadable: Sequence[str]) -> str:
    """Write the checklist as Markdown."""
    template = templates(html=False).get_template("checklist.md.j2")
    text = template.render(
        studies=[Facts(table) for table in tables if table.made],
        settings=SETTINGS,
        preprocessing=PREPROCESSING,
        baseline=BASELINE,
        warning=unreadable_line(unreadable),
    )
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_each_once(text))).strip() + "\n"


def _each_once(text: str) -> Iterator[str]:
    """Yield the lines; what holds for several tables is one item of a section."""
    seen: set[str] = set()
    for line in text.splitlines():
        if line.startswith("#"):
            seen = set()
        if line not in seen or not line.lstrip().startswith("- "):
            yield line
        seen.add(line)
