"""The HTML report, the Markdown, the LaTeX, the explanations and the reproducibility checklist, from their templates.

The checklist is what result files tell, and what is left to the authors.
"""

import base64
import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from alexnet.config.schema import DOWNLOADS, flatten
from alexnet.errors import UserError, plural, printable
from alexnet.runs.arrays import LARGEST_FILE
from alexnet.runs.directory import FIGURES, FIRST_LAYER_FILE, METRICS_FILE, PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.result import Result
from alexnet.study import wording
from alexnet.study.assessment import MORE_SEEDS
from alexnet.study.charts import COLORS, data_url, delta_chart, error_chart
from alexnet.study.classes import class_changes
from alexnet.study.comparison import AblationRow, ComparisonTable
from alexnet.study.flags import shown_p
from alexnet.study.kernels import column_contrast, kernel_sheet, mean_selectivity
from alexnet.study.pairing import baseline_command, environment, values_by_fact
from alexnet.study.table_columns import SHOWN_COLUMNS, shown_columns
from alexnet.study.wording import MEASURE_NAMES, shown_interval, signed
from alexnet.untrusted import damage_named, file_sha256

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_FILE, MARKDOWN_FILE = "comparison.html", "comparison.md"
PAGE_COLUMNS = (
    "delta", "direction", "paper", "size", "log", "log_size", "error", "holm_p", "p", "seeds_needed", "resolvable",
    "resolvable_with_more",
)  # fmt: skip
"""Of the page's table, what a phone has room for first; the interval is in the cell of the delta."""
KERNEL_BYTES = 1_000_000
"""For all images of kernels in a report; its table lists the other runs as well."""


def page(tables: Sequence[ComparisonTable], warning: str | None, *, folder: Path) -> str:
    """Write the HTML report, to be stored in `folder`; the `warning` is about runs that could not be read."""
    files = resources.files("alexnet.study.report")
    style, script = (_unindented(files.joinpath(name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    runs = [run for table in tables for run in table.made]
    html = templates(html=True).get_template("page.html.j2").render(
        tables=tables,
        warning=warning,
        folder="/".join(folder.parts[-2:]),
        anchors={run.directory: f"run-{n}" for n, run in enumerate(runs, start=1)},
        folders={run.directory: Path(os.path.relpath(run.directory, folder)).as_posix() for run in runs},
        kernels=_kernels(tables),
        figures={run.directory: sorted(file.name for file in (run.directory / FIGURES).glob("*.svg")) for run in runs},
        colors=COLORS,
        style=style,
        script=script,
        # Nothing but the page itself: no network, no other script. Charts have inline styles.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )  # fmt: skip
    return _unindented(html)


def _unindented(text: str) -> str:
    """Remove empty lines and indentation, a sixth of a page."""
    return re.sub(r"\n\s+", "\n", text)


def markdown(tables: Iterable[ComparisonTable], warning: str | None = None) -> str:
    """Write the tables, and the command of every run, as a Markdown document."""
    text = templates(html=False).get_template("comparison.md.j2").render(tables=list(tables), warning=warning)
    return f"{text.rstrip()}\n"


def latex(tables: Iterable[ComparisonTable]) -> str:
    """Write the tables for a LaTeX document that uses booktabs."""
    return templates(html=False).get_template("comparison.tex.j2").render(tables=list(tables))


def explanation(table: ComparisonTable) -> str:
    """Explain the columns in plain words, and what these seeds cannot say."""
    return _one_line(templates(html=False).get_template("meaning.j2").render(table=table))


def _kernels(tables: Iterable[ComparisonTable]) -> list[dict[str, Any]]:
    """Read the first layers of each table's finished runs; those of an ablation's first seed are also pictured."""
    spent, found = 0, []
    for table in tables:
        nets: list[dict[str, Any]] = []
        problems: list[tuple[str, str]] = []
        pictured: set[str] = set()
        for run in (run for run in table.runs if run.finished):
            try:
                layer = run.first_layer()
            except UserError as error:
                problems.append((run.result.run, str(error)))
                continue
            columns = layer.by_column()
            pictures = []
            for column in columns if run.result.ablation not in pictured else ():
                sheet = kernel_sheet(column)
                pictures.append({"url": data_url(sheet), "shape": sheet.shape, "kernels": column.shape})
            pictured.add(run.result.ablation)
            spent += sum(len(picture["url"]) for picture in pictures)
            nets.append(
                {
                    "run": run,
                    "kernels": layer.kernels,
                    "means": [mean_selectivity(column) for column in columns],
                    "contrast": column_contrast(layer),
                    "pictures": pictures,
                    "left_out": pictures and spent > KERNEL_BYTES,
                }
            )
        found.append({"nets": nets, "problems": problems})
    return found


@cache
def templates(*, html: bool) -> "Environment":
    """Return the templates; those of HTML escape what they are given, those of text have filters for it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("alexnet.study.report"),
        autoescape=html,
        finalize=lambda value: printable(value, lines=True) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "code": _code,
        "digest": _digest,
        "fence": _fence,
        "latex": wording.escape_latex,
        "json": lambda value: json.dumps(value, ensure_ascii=False),
        "line": _one_line,
        "markdown": wording.escape_markdown,
        "p": shown_p,
        "minus": lambda text: re.sub(r"(?<![\w.])-(?=\d)", wording.MINUS, text),
        "percent": lambda share: f"{100 * share:g} %",
        "plural": plural,
        "seeds": wording.shown_seeds,
        "sentence": lambda text: f"{text[:1].upper()}{text[1:]}",
        "signed": wording.signed,
    }
    made.globals |= {
        "class_changes": class_changes,
        "columns": SHOWN_COLUMNS,
        "delta_chart": delta_chart,
        "describe_command": _describe_command,
        "environment": environment,
        "error_chart": error_chart,
        "measures": wording.MEASURE_NAMES,
        "more_seeds": MORE_SEEDS,
        "page_columns": PAGE_COLUMNS,
        "run_files": (RESULT_FILE, PREDICTIONS_FILE, METRICS_FILE, FIRST_LAYER_FILE),
        "shown_columns": shown_columns,
        "values_by_fact": values_by_fact,
        "verdicts": ("direction", "size", "log_size"),
        "words": wording,
    }
    return made


def _describe_command(result: Result) -> str:
    """Return the command that prints the layers of the network of a run's baseline."""
    chosen = [word for word in shlex.split(baseline_command(result.command)) if "=" in word]
    if not any(word.startswith("experiment=") for word in chosen):  # `alexnet describe` takes the paper's scale
        chosen = [f"experiment={result.experiment}", *chosen]
    return shlex.join(["alexnet", "describe", *chosen, f"--classes={result.data.classes}"])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fence(text: str, least: int = 3) -> str:
    """Return a fence of code that the text cannot close."""
    return "`" * max(least, *(len(run) + 1 for run in re.findall("`+", text)), 0)


def _code(text: str) -> str:
    fence = _fence(text, least=1)
    return f"{fence}{_one_line(text)}{fence}" if fence == "`" else f"{fence} {_one_line(text)} {fence}"


def _digest(path: Path) -> str:
    try:
        with damage_named(path):
            return f"SHA-256 {file_sha256(path, most=LARGEST_FILE)}"
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")


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
