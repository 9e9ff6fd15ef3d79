"""The HTML report and the Markdown, from their templates."""

import base64
import hashlib
import os
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from alexnet.errors import UserError
from alexnet.runs.collect import Run
from alexnet.runs.first_layer import FirstLayer, read_first_layer
from alexnet.runs.metrics import read_metrics
from alexnet.study.charts.canvas import COLORS, data_url, kernel_sheet
from alexnet.study.charts.curves import RunCurve
from alexnet.study.comparison import ComparisonTable
from alexnet.study.report.templating import templates
from alexnet.study.selectivity import column_contrast, mean_selectivity
from alexnet.study.wording import unreadable_line

PAGE_FILE, MARKDOWN_FILE = "comparison.html", "comparison.md"
KERNEL_BYTES = 1_000_000
"""For all images of kernels in a report; its table lists the other runs as well."""


def page(tables: Sequence[ComparisonTable], unreadable: Sequence[str], *, folder: Path) -> str:
    """Write the HTML report, to be stored in `folder`; `unreadable` says which runs could not be read, and why."""
    files = resources.files("alexnet.study.report")
    style, script = (files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    runs = [run for table in tables for run in table.runs]
    return templates(html=True).get_template("page.html.j2").render(
        tables=tables,
        warning=unreadable_line(unreadable),
        anchors={run.directory: f"run-{n}" for n, run in enumerate(runs, start=1)},
        folders={run.directory: Path(os.path.relpath(run.directory, folder)).as_posix() for run in runs},
        curves=[[RunCurve(run, read_metrics(run.directory)) for run in table.runs] for table in tables],
        kernels=_kernels(tables),
        colors=COLORS,
        style=style,
        script=script,
        # Nothing but the page itself: no network, no other script. Charts have inline styles.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )  # fmt: skip


def markdown(tables: Iterable[ComparisonTable], unreadable: Sequence[str]) -> str:
    """Write the tables, and the command of every run, as a Markdown document."""
    template = templates(html=False).get_template("comparison.md.j2")
    text = template.render(tables=list(tables), warning=unreadable_line(unreadable))
    return f"{text.rstrip()}\n"


def _kernels(tables: Iterable[ComparisonTable]) -> list[dict[str, Any]]:
    """Read the first layers of each table's finished runs; those of an ablation's first seed are also pictured."""
    spent, found = 0, []
    for table in tables:
        nets: list[dict[str, Any]] = []
        problems: list[tuple[str, str]] = []
        pictured: set[str] = set()
        for run in table.runs:
            if not run.finished:
                continue
            try:
                net = _net(run, read_first_layer(run.directory), pictured=run.result.ablation not in pictured)
            except UserError as error:
                problems.append((run.result.run, str(error)))
                continue
            pictured.add(run.result.ablation)
            spent += sum(len(picture["url"]) for picture in net["pictures"])
            net["left_out"] = bool(net["pictures"]) and spent > KERNEL_BYTES
            nets.append(net)
        found.append({"nets": nets, "problems": problems})
    return found


def _net(run: Run, layer: FirstLayer, *, pictured: bool) -> dict[str, Any]:
    columns = layer.by_column()
    sheets = [kernel_sheet(column) for column in columns] if pictured else []
    return {
        "run": run,
        "kernels": layer.kernels,
        "means": [mean_selectivity(column) for column in columns],
        "contrast": column_contrast(layer),
        "pictures": [
            {"url": data_url(sheet), "shape": sheet.shape, "kernels": column.shape}
            for sheet, column in zip(sheets, columns, strict=False)
        ],
    }
