"""The templates of a report: their settings, filters and functions."""

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet.runs.directory import FIRST_LAYER_FILE, METRICS_FILE, PREDICTIONS_FILE, RESULT_FILE
from alexnet.study import wording
from alexnet.study.charts.curves import error_chart
from alexnet.study.charts.deltas import delta_chart
from alexnet.study.columns import ONE_SEED_MARK, SHOWN_COLUMNS
from alexnet.study.comparison import ComparisonTable
from alexnet.study.pairing import environment, values_by_fact
from alexnet.study.verdict import Verdict

if TYPE_CHECKING:
    from jinja2 import Environment


def explanation(table: ComparisonTable) -> str:
    """Explain the columns in plain words, and what these seeds cannot say."""
    template = templates(html=False).from_string('{% import "meaning.j2" as meaning %}{{ meaning.explanation(table) }}')
    return _one_line(template.render(table=table))


@cache
def templates(*, html: bool) -> "Environment":
    """Return the templates; those of HTML escape what they are given, those of text have filters for it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("alexnet.study.report"),
        autoescape=html,
        finalize=lambda value: wording.clean(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "code": _code,
        "digest": _digest,
        "fence": _fence,
        "json": lambda value: json.dumps(value, ensure_ascii=False),
        "line": _one_line,
        "markdown": wording.escape_markdown,
        "p": wording.shown_p,
        "plural": wording.plural,
        "seeds": wording.shown_seeds,
        "signed": wording.signed,
    }
    made.globals |= {
        "columns": SHOWN_COLUMNS,
        "delta_chart": delta_chart,
        "environment": environment,
        "error_chart": error_chart,
        "measures": wording.MEASURE_NAMES,
        "one_seed_mark": ONE_SEED_MARK,
        "run_files": (RESULT_FILE, PREDICTIONS_FILE, METRICS_FILE, FIRST_LAYER_FILE),
        "values_by_fact": values_by_fact,
        "verdicts": list(Verdict),
        "words": wording,
    }
    return made


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
        with path.open("rb") as file:
            return f"SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
