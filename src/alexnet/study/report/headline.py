"""The table of all ablations, and what it says in plain words."""

from collections.abc import Mapping
from pathlib import Path

from alexnet.runs.result import BASELINE
from alexnet.study.charts.element import Child, Markup, element, scrolling
from alexnet.study.charts.words import MINUS, code, counted_images, plural, row_title, section, signed
from alexnet.study.comparison import MEASURES, Group, Row, claimed
from alexnet.study.verdict import Verdict
from alexnet.study.wording import MEASURE_NAMES, shown_p, shown_points, shown_seeds, shown_verdict, target_line

SIGNIFICANT = 0.05
HEADERS = (
    ("", "Measure"),
    ("number", "Error, %"),
    ("number", "Delta"),
    ("number", "95 % interval"),
    ("number", "p"),
    ("number", "Holm p"),
    ("", "Paper, verdict"),
    ("", "Log, verdict"),
    ("number", "Resolvable"),
    ("number", "Seeds needed"),
)
"""Class and words of the columns between the ablation, its seeds and its claim."""


def lede(group: Group) -> list[Child]:
    """What was trained on what, and what came out, in a few sentences and figures."""
    result = group.runs[0].result
    images = result.data.images.get("train", 0)
    epochs = sorted({run.result.training.epochs for run in group.runs if run.finished and run.result.training})
    trained = f" for {_range(epochs)} {'epoch' if epochs == [1] else 'epochs'}" if epochs else ""
    sentences = [
        f"Nets of the recipe \N{LEFT DOUBLE QUOTATION MARK}{group.recipe}\N{RIGHT DOUBLE QUOTATION MARK} were trained"
        f"{trained} on {images:,} images of {group.data} in {result.data.classes:,} classes."
    ]
    if group.rows:
        sentences.append(f"Errors are counted over {counted_images(group)}.")
    if target := target_line(group):
        sentences.append(target)
    return [element("p", " ".join(sentences), class_="lede"), _tiles(group), _finding(group)]


def _range(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _tiles(group: Group) -> Markup | None:
    baseline = next((row for row in group.rows if row.ablation == BASELINE), None)
    compared = [row for row in group.rows if row.deltas]
    seeds = sorted({seed for row in group.rows for seed in row.seeds})
    tiles = []
    if baseline:
        tiles += [(f"baseline {MEASURE_NAMES[k]} error", f"{baseline.errors[k]:.2f} %") for k in MEASURES]
    if group.rows:
        tiles += [
            ("ablations compared", str(len(compared))),
            (f"{'seed' if len(seeds) == 1 else 'seeds'}: {shown_seeds(seeds)}", str(len(seeds))),
        ]
    entries = [element("div", element("dt", name), element("dd", value)) for name, value in tiles]
    return element("dl", entries, class_="tiles") if entries else None


def _finding(group: Group) -> Markup | None:
    """How many deltas are beyond chance, and how many agree with the paper; top-1, Holm-adjusted."""
    judged = [(row, row.judgements["top1"]) for row in group.rows if row.judgements]
    if not judged:
        return None
    rises = [row for row, one in judged if one.holm_p < SIGNIFICANT and row.deltas["top1"].delta > 0]
    falls = [row for row, one in judged if one.holm_p < SIGNIFICANT and row.deltas["top1"].delta < 0]
    parts: list[Child] = [
        f"Of {plural(len(judged), 'ablation')}, {len(rises) or 'none'} raised the top-1 error by more than chance "
        "explains",
        _named(rises),
        f", and {len(falls) or 'none'} lowered it",
        _named(falls),
        " (Holm-adjusted p below 0.05, over all of them).",
    ]
    claims = [one.paper for _, one in judged if one.paper]
    if claims:
        told = ", ".join(f"{verdict} {claims.count(verdict)}" for verdict in Verdict if verdict in claims)
        parts.append(f" Against the {plural(len(claims), 'number')} that the paper gives: {told}.")
    return element("p", parts, class_="finding")


def _named(rows: list[Row]) -> list[Child]:
    names: list[Child] = []
    for row in rows:
        names += [", " if names else ": ", code(row.ablation)]
    return names


def table(group: Group, anchors: Mapping[Path, str]) -> Markup | None:
    """All ablations with both measures; `anchors` leads from a run's folder to where the page describes it."""
    if not group.rows:
        return None
    titles = [("", "Ablation"), ("", "Seeds"), *HEADERS, ("", "What the paper says")]
    head = element("tr", [element("th", words, scope="col", class_=kind or None) for kind, words in titles])
    bodies = [element("tbody", _lines(row, anchors)) for row in group.rows]
    caption = element(
        "caption",
        element(
            "span", f"Every ablation beside the baseline: {counted_images(group)}. Differences in points of error."
        ),
    )
    inner = element("table", caption, element("thead", head), bodies, class_="headline")
    return scrolling(inner, label="Table of all ablations")


def _lines(row: Row, anchors: Mapping[Path, str]) -> list[Markup]:
    span = len(MEASURES)
    name = [element("span", row_title(row), class_="title"), code(row.ablation)]
    heads = [
        element("th", name, scope="rowgroup", rowspan=span),
        element("td", _seed_links(row, anchors), rowspan=span),
    ]
    claim = element("td", _claim(row), rowspan=span, class_="statement")
    first, *others = (_figures(row, measure) for measure in MEASURES)
    return [element("tr", heads, first, claim), *(element("tr", figures) for figures in others)]


def _claim(row: Row) -> list[Child]:
    if row.claim is None:
        return []
    return [element("span", f"{section(row).capitalize()}. ", class_="section"), row.claim.statement]


def _seed_links(row: Row, anchors: Mapping[Path, str]) -> list[Child]:
    links: list[Child] = []
    for replicate in row.replicates:
        result = replicate.run.result
        links += [", " if links else "", element("a", str(result.seed), href=f"#{anchors[replicate.run.directory]}")]
    return links


def _figures(row: Row, measure: str) -> list[Markup]:
    values: list[Child] = [MEASURE_NAMES[measure], f"{row.errors[measure]:.2f}"]
    claims = [shown_points(claimed(row, source, measure)).replace("-", MINUS) for source in ("paper", "log")]
    if measure in row.deltas:
        mean, judged = row.deltas[measure], row.judgements[measure]
        interval = f"[{signed(mean.interval.low)}, {signed(mean.interval.high)}]"
        values += [element("strong", signed(mean.delta)), interval, shown_p(mean.p), shown_p(judged.holm_p)]
        values += [
            [claim, _verdict(verdict, mean.seeds)]
            for claim, verdict in zip(claims, (judged.paper, judged.log), strict=True)
        ]
        values.append("" if judged.resolvable is None else f"{judged.resolvable:.2f}")
        # Where the paper gives no number, the empty cell of its delta says why there is none here.
        reason = element("span", judged.no_seeds, class_="reason") if judged.paper else None
        values.append(judged.seeds_needed or reason)
    else:
        values += ["", "", "", "", *claims, "", ""]
    kinds = [kind for kind, _ in HEADERS]
    return [element("td", value, class_=kind or None) for kind, value in zip(kinds, values, strict=True)]


def _verdict(verdict: Verdict | None, seeds: int) -> Markup | None:
    if verdict is None:
        return None
    return element("span", shown_verdict(verdict, seeds), class_=f"verdict {verdict.name.lower()}")
