"""The HTML report and the Markdown: what their templates show of each table."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet.errors import UserError
from alexnet.runs.collect import Run
from alexnet.runs.directory import FIRST_LAYER_FILE, METRICS_FILE, PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.first_layer import FirstLayer, read_first_layer
from alexnet.runs.metrics import read_metrics
from alexnet.runs.result import BASELINE
from alexnet.study.charts.canvas import COLORS, data_url, kernel_sheet
from alexnet.study.charts.curves import RunCurve, error_chart
from alexnet.study.charts.deltas import NARROW, WIDE, delta_chart, has_deltas
from alexnet.study.comparison import MEASURES, AblationRow, ComparisonTable
from alexnet.study.pairing import differences, environment
from alexnet.study.selectivity import color_selectivity, column_contrast
from alexnet.study.verdict import Verdict
from alexnet.study.wording import (
    MEASURE_NAMES,
    MINUS,
    SHOWN_COLUMNS,
    cell_of,
    clean,
    counted_images,
    escape_markdown,
    heading,
    limits,
    plural,
    row_title,
    section,
    shown_p,
    shown_seeds,
    signed,
    target_line,
    title,
    unfinished_lines,
    unreadable_line,
)

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_FILE, MARKDOWN_FILE = "comparison.html", "comparison.md"
SIGNIFICANT = 0.05
KERNEL_BYTES = 1_000_000
"""For all images of kernels in a report; its table lists the other runs as well."""
FILES = (RESULT_FILE, PREDICTIONS_FILE, METRICS_FILE, FIRST_LAYER_FILE)
BADGES = {"paper": "paper_verdict", "log": "log_verdict"}
"""Columns that HTML shows below another one."""


def page(tables: Sequence[ComparisonTable], unreadable: Sequence[str], *, folder: Path) -> str:
    """Write the HTML report, to be stored in `folder`; `unreadable` says which runs could not be read, and why."""
    anchors = {run.directory: f"run-{n}" for n, run in enumerate((r for t in tables for r in t.runs), start=1)}
    budget = [KERNEL_BYTES]
    script = resources.files("alexnet.study.report").joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _templates(html=True).get_template("page.html.j2").render(
        tables=[_context(table, f"table-{n}", anchors, budget, folder) for n, table in enumerate(tables, start=1)],
        warning=unreadable_line(unreadable),
        style=resources.files("alexnet.study.report").joinpath("page.css").read_text(encoding="utf-8"),
        colors=COLORS,
        script=script,
        # Nothing but the page itself: no network, no other script. Charts have inline styles.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
    )  # fmt: skip


def markdown(tables: Iterable[ComparisonTable], unreadable: Sequence[str]) -> str:
    """Write the tables, and the command of every run, as a Markdown document."""
    template = _templates(html=False).get_template("comparison.md.j2")
    text = template.render(tables=list(tables), warning=unreadable_line(unreadable))
    return f"{text.rstrip()}\n"


@cache
def _templates(*, html: bool) -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("alexnet.study.report"),
        autoescape=html,
        finalize=lambda value: clean(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"signed": signed, "p": shown_p, "seeds": shown_seeds, "plural": plural}
    templates.filters |= {"line": _one_line, "markdown": escape_markdown, "fence": _fence, "code": _code}
    templates.globals |= {
        "columns": SHOWN_COLUMNS,
        "measures": MEASURE_NAMES,
        "cell_of": cell_of,
        "heading": heading,
        "title": title,
        "counted_images": counted_images,
        "target_line": target_line,
        "environment": environment,
        "limits": limits,
        "unfinished_lines": unfinished_lines,
    }
    return templates


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _fence(text: str, least: int = 3) -> str:
    """Return a fence of code that the text cannot close."""
    return "`" * max(least, *(len(run) + 1 for run in re.findall("`+", text)), 0)


def _code(text: str) -> str:
    fence = _fence(text, least=1)
    return f"{fence}{_one_line(text)}{fence}" if fence == "`" else f"{fence} {_one_line(text)} {fence}"


def _context(
    table: ComparisonTable, name: str, anchors: Mapping[Path, str], budget: list[int], folder: Path
) -> dict[str, Any]:
    from markupsafe import Markup

    charts = {
        kind: Markup(delta_chart(table, layout, inline=f"{name}-{kind}"))
        for kind, layout in (("wide", WIDE), ("narrow", NARROW))
        if has_deltas(table)
    }
    changes = {run.result.ablation: run.result.changes for run in reversed(table.runs) if run.result.changes}
    pairs = {pair.run.directory: pair for row in table.rows for pair in row.runs if pair.baseline}
    facts = {fact: value for run in table.runs for fact, value in environment(run.result).items()}
    different = differences(table.runs)
    return {
        "table": table,
        "name": name,
        "anchors": anchors,
        "lede": _lede(table),
        "tiles": _tiles(table),
        "finding": _finding(table),
        "charts": charts,
        "lines": [_line(row) for row in table.rows],
        "curves": _curves(table, name),
        "kernels": _kernels(table, budget),
        "changes": {
            ablation: [(key, *(json.dumps(value, ensure_ascii=False) for value in pair)) for key, pair in keys.items()]
            for ablation, keys in reversed(changes.items())
        },
        "differences": [(one.fact, [_who(*item) for item in one.values.items()]) for one in different],
        "shared": {fact: value for fact, value in facts.items() if fact not in {one.fact for one in different}},
        "runs": [
            {
                "run": run,
                "pair": pairs.get(run.directory),
                "folder": Path(os.path.relpath(run.directory, folder)).as_posix(),
                "files": {name: _hash(run.directory / name) for name in FILES},
            }
            for run in table.runs
        ],
    }


def _lede(table: ComparisonTable) -> str:
    data = table.runs[0].result.data
    epochs = sorted({run.result.training.epochs for run in table.runs if run.finished and run.result.training})
    span = f"{epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else "".join(map(str, epochs))
    trained = f" for {span} {'epoch' if epochs == [1] else 'epochs'}" if epochs else ""
    sentences = [
        f"Nets of the recipe \N{LEFT DOUBLE QUOTATION MARK}{table.recipe}\N{RIGHT DOUBLE QUOTATION MARK} were trained"
        f"{trained} on {data.images.get('train', 0):,} images of {table.data} in {data.classes:,} classes.",
        f"Errors are counted over {counted_images(table)}." if table.rows else None,
        target_line(table),
    ]
    return " ".join(filter(None, sentences))


def _tiles(table: ComparisonTable) -> list[tuple[str, str]]:
    if not table.rows:
        return []
    seeds = sorted({seed for row in table.rows for seed in row.seeds})
    return [
        *(
            (f"baseline {MEASURE_NAMES[measure]} error", f"{row.errors[measure]:.2f} %")
            for row in table.rows
            if row.ablation == BASELINE
            for measure in MEASURES
        ),
        ("ablations compared", str(sum(bool(row.deltas) for row in table.rows))),
        (f"{'seed' if len(seeds) == 1 else 'seeds'}: {shown_seeds(seeds)}", str(len(seeds))),
    ]


def _finding(table: ComparisonTable) -> dict[str, Any] | None:
    """Count the deltas beyond chance and those that agree with the paper; top-1, Holm-adjusted."""
    judged = [(row, row.assessments["top1"]) for row in table.rows if row.assessments]
    if not judged:
        return None
    found = [(row.ablation, row.deltas["top1"].delta) for row, one in judged if one.holm_p < SIGNIFICANT]
    claims = [one.paper for _, one in judged if one.paper]
    return {
        "ablations": len(judged),
        "rises": [name for name, delta in found if delta > 0],
        "falls": [name for name, delta in found if delta < 0],
        "claims": len(claims),
        "verdicts": ", ".join(f"{one} {claims.count(one)}" for one in Verdict if one in claims),
    }


def _line(row: AblationRow) -> dict[str, Any]:
    """Return an ablation's cells: for each measure (text, kind, badge, kind of the badge)."""
    cells: dict[str, list[tuple[str, str, str, str]]] = {}
    for measure in MEASURES:
        cell = cell_of(row, measure)
        cells[measure] = []
        for key, column in SHOWN_COLUMNS.items():
            if key in BADGES.values():
                continue
            text, badge = column.show(cell), ""
            if key in BADGES:
                badge = SHOWN_COLUMNS[BADGES[key]].show(cell)
            if key == "seeds_needed" and cell.assessment and not cell.assessment.seeds_needed:
                # If the paper gives no number, the empty cell of its delta says why there is none here.
                badge, text = (text if cell.assessment.paper else ""), ""
            kind = "" if key in BADGES else "number"
            shown = text if key in ("seeds_needed", "resolvable") else text.replace("-", MINUS)
            cells[measure].append((shown, kind, badge, badge.rstrip("*").replace(" ", "_")))
    named = section(row)
    return {"row": row, "title": row_title(row), "section": named[:1].upper() + named[1:], "cells": cells}


def _curves(table: ComparisonTable, name: str) -> dict[str, Any]:
    from markupsafe import Markup

    curves = [RunCurve(run=run, metrics=read_metrics(run.directory)) for run in table.runs]
    drawn = [curve for curve in curves if curve.metrics.epochs]
    by_ablation: dict[str, list[RunCurve]] = {}
    for curve in drawn:
        by_ablation.setdefault(curve.run.result.ablation, []).append(curve)
    charts = [
        (
            ablation,
            ", ".join(str(curve.run.result.seed) for curve in those),
            Markup(
                error_chart(
                    those,
                    [] if ablation == BASELINE else by_ablation.get(BASELINE, []),
                    drawn,
                    inline=f"{name}-curve-{place}",
                )
            ),
        )
        for place, (ablation, those) in enumerate(by_ablation.items())
    ]
    return {
        "charts": charts,
        "ends": [(curve.run.result.run, _ends(curve)) for curve in drawn],
        "problems": [(curve.run.result.run, curve.metrics.problem) for curve in curves if curve.metrics.problem],
    }


def _ends(curve: RunCurve) -> tuple[str, str, str, str]:
    epochs = curve.metrics.epochs
    known = {epoch.epoch: epoch.val_top1_error for epoch in epochs if epoch.val_top1_error is not None}
    lowest = min(known, key=lambda epoch: known[epoch], default=None)
    last = epochs[-1].val_top1_error
    return (
        str(len(epochs)),
        f"{epochs[-1].train_top1_error:.2f}",
        "" if last is None else f"{last:.2f}",
        "" if lowest is None else f"{known[lowest]:.2f} after {lowest + 1}",
    )


def _kernels(table: ComparisonTable, budget: list[int]) -> dict[str, Any]:
    """Show the first layer of the first seed of each ablation, and the figures of all finished runs."""
    found: list[tuple[Run, FirstLayer]] = []
    problems = []
    for run in table.runs:
        if run.finished:
            try:
                found.append((run, read_first_layer(run.directory)))
            except UserError as error:
                problems.append((run.result.run, str(error)))
    pictured: dict[str, dict[str, Any]] = {}
    figures, left_out = [], 0
    for run, layer in found:
        ablation, seed = run.result.ablation, str(run.result.seed)
        columns, compared = layer.by_column(), column_contrast(layer)
        means = [_mean_selectivity(column) for column in columns]
        contrast = [signed(compared.difference), shown_p(compared.p)] if compared else []
        line = [seed, str(len(layer.kernels)), *means, *contrast]
        figures.append((ablation, line + [""] * (6 - len(line))))
        if ablation not in pictured:
            names = ("Column a", "Column b") if len(columns) == 2 else ("All kernels",)
            sheets = [kernel_sheet(column) for column in columns]
            pictures = [
                {"label": label, "url": data_url(sheet), "shape": sheet.shape, "kernels": column.shape, "mean": mean}
                for label, sheet, column, mean in zip(names, sheets, columns, means, strict=False)
            ]
            size = sum(len(picture["url"]) for picture in pictures)
            fits = size <= budget[0]
            budget[0] -= size * fits
            left_out += not fits
            pictured[ablation] = {"seed": seed, "pictures": pictures if fits else [], "contrast": contrast}
    shown = {ablation: net for ablation, net in pictured.items() if net["pictures"]}
    return {"found": bool(found), "nets": shown, "left_out": left_out, "figures": figures, "problems": problems}


def _mean_selectivity(column: "np.typing.NDArray[np.float32]") -> str:
    values = color_selectivity(column)
    known = values[~np.isnan(values)]
    return f"{known.mean():.3f}" if len(known) else "unknown"


def _who(value: str, runs: Sequence[Run]) -> tuple[str, str]:
    names = [f"{run.result.ablation} seed {run.result.seed}" for run in runs]
    shown = names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]
    return value, ", ".join(shown)


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
