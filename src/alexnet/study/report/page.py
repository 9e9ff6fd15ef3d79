"""The page: every group of runs with its findings, and where each figure comes from."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from alexnet.study.charts.curves import curves_section, read_curves
from alexnet.study.charts.delta_chart import NARROW, WIDE, chart_css, has_deltas, inline_chart
from alexnet.study.charts.element import Child, Markup, element
from alexnet.study.charts.kernels import Budget, kernels_section, read_kernels
from alexnet.study.charts.palette import variables, with_variables
from alexnet.study.charts.words import code, heading, plural
from alexnet.study.comparison import Group
from alexnet.study.report import headline
from alexnet.study.report.provenance import changes_table, common_facts, differences_list, run_list
from alexnet.study.wording import FILE_COLUMNS, damage_line, explanation, title

PAGE_FILE = "comparison.html"


def page(groups: Sequence[Group], damaged: Sequence[str], *, folder: Path) -> str:
    """The whole document. `damaged` are reasons for which runs could not be read; `folder` is where it will lie."""
    budget = Budget()
    anchors = _anchors(groups)
    sections = [_group(group, f"group-{index + 1}", anchors, budget, folder) for index, group in enumerate(groups)]
    script, style = _asset("page.js"), _style()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script, style)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", "AlexNet ablations: comparison"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the results", href="#main", class_="skip"),
        _header(groups),
        element("main", _damage(damaged), sections, id="main", tabindex=-1),
        _footer(),
        element("script", Markup(script)),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _asset(name: str) -> str:
    return resources.files("alexnet.study.report").joinpath(name).read_text(encoding="utf-8")


def _style() -> str:
    return f":root {{ {variables()} }}\n{_asset('page.css')}{with_variables(chart_css())}"


def _policy(script: str, style: str) -> str:
    """Nothing but what stands in the page itself: no network, no other script."""
    return f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}"


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _anchors(groups: Sequence[Group]) -> dict[Path, str]:
    """Where on the page each run is described, by its folder."""
    folders = (run.directory for group in groups for run in group.runs)
    return {folder: f"run-{index + 1}" for index, folder in enumerate(folders)}


def _header(groups: Sequence[Group]) -> Markup:
    toggle = element(
        "button", "Dark", id="scheme", type="button", aria_pressed="false", title="Switch between light and dark"
    )
    entries = [
        element("li", element("a", heading(group), href=f"#group-{index + 1}")) for index, group in enumerate(groups)
    ]
    return element(
        "header",
        element("p", "The ablation laboratory for AlexNet", class_="kicker"),
        element("h1", "What each ingredient is worth"),
        element("nav", element("ul", entries), aria_label="Groups of runs") if len(groups) > 1 else None,
        toggle,
    )


def _damage(damaged: Sequence[str]) -> Markup | None:
    line = damage_line(damaged)
    return element("p", element("bdi", line), class_="warning") if line else None


def _group(group: Group, name: str, anchors: Mapping[Path, str], budget: Budget, folder: Path) -> Markup:
    runs = group.runs
    return element(
        "section",
        element("h2", heading(group), id=f"{name}-heading"),
        headline.lede(group),
        _unfinished(group, anchors),
        _notes(group),
        _deltas(group, name, anchors),
        _part("What this can and cannot say", f"{name}-limits", _limits(group)),
        _part("Errors over the epochs", f"{name}-curves", curves_section(read_curves(runs), name=f"{name}-curve")),
        _part("The first layer", f"{name}-kernels", kernels_section(read_kernels(runs), budget)),
        _part("What differs between the runs", f"{name}-changes", [changes_table(group), differences_list(group)]),
        _part("Where the figures come from", f"{name}-runs", _provenance(group, anchors, folder)),
        id=name,
        aria_labelledby=f"{name}-heading",
    )


def _part(words: str, name: str, content: Child) -> Markup:
    return element("section", element("h3", words, id=name), content, aria_labelledby=name)


def _deltas(group: Group, name: str, anchors: Mapping[Path, str]) -> Child:
    table = headline.table(group, anchors)
    if not has_deltas(group):
        return table
    charts = [
        element("div", inline_chart(group, layout, name=f"{name}-{kind}"), class_=kind)
        for kind, layout in (("wide", WIDE), ("narrow", NARROW))
    ]
    caption = element(
        "figcaption",
        "Each line is one ablation: the rise of the error when the ingredient is taken away, measured on the same "
        "images with the same seeds. The table below has the same figures.",
    )
    chart = element("figure", charts, caption, class_="deltas")
    return [_part("What each change does to the error", f"{name}-deltas", [chart, table])]


def _limits(group: Group) -> list[Markup]:
    judged = any(row.judgements for row in group.rows)
    words = [explanation(group), *([FILE_COLUMNS] if judged else [])]
    return [element("p", paragraph, class_="prose") for paragraph in words]


def _unfinished(group: Group, anchors: Mapping[Path, str]) -> Markup | None:
    lines = [
        element(
            "li",
            element("a", code(run.result.ablation), f" seed {run.result.seed}", href=f"#{anchors[run.directory]}"),
            f" {run.result.status}: ",
            element("bdi", run.result.message),
        )
        for run in group.unfinished
    ]
    counted = element("p", f"{plural(len(lines), 'run')} did not finish:")
    return element("div", counted, element("ul", lines), class_="warning") if lines else None


def _notes(group: Group) -> Markup | None:
    lines = [
        element("li", element("bdi", note.text), [" ", code(note.command)] if note.command else None)
        for note in group.notes
    ]
    return element("div", element("p", "To be known:"), element("ul", lines), class_="note") if lines else None


def _provenance(group: Group, anchors: Mapping[Path, str], folder: Path) -> list[Child]:
    return [
        element("p", title(group), class_="prose"),
        common_facts(group),
        element("h4", f"The {plural(len(group.runs), 'run')}"),
        run_list(group, anchors, folder),
    ]


def _footer() -> Markup:
    paper = "Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Convolutional Neural Networks, 2012."
    made = "Made from the result files of the runs alone; this page loads nothing."
    return element("footer", element("p", f"The paper: {paper}"), element("p", made))
