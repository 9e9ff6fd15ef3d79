"""Where every figure comes from: the runs with their commands, surroundings and files, and in what they differ."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alexnet.runs.collect import Run
from alexnet.runs.directory import FIRST_LAYER_FILE, METRICS_FILE, PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.result import Result
from alexnet.study.charts.element import Child, Markup, element, header_row, scrolling
from alexnet.study.charts.words import code, plural, signed
from alexnet.study.comparison import MEASURES, Group, Replicate
from alexnet.study.differences import differences, surroundings
from alexnet.study.wording import MEASURE_NAMES, shown_p

FILES = (RESULT_FILE, PREDICTIONS_FILE, METRICS_FILE, FIRST_LAYER_FILE)


def changes_table(group: Group) -> Child:
    """What each ablation changes in the configuration."""
    changes = {run.result.ablation: run.result.changes for run in reversed(group.runs) if run.result.changes}
    if not changes:
        return element("p", "No run here has a change of the configuration.")
    head = header_row(("Ablation", "Key", "Baseline", "Changed to"))
    bodies = [element("tbody", _change_lines(name, changes[name])) for name in reversed(changes)]
    table = element("table", element("caption", "Changes of the configuration"), element("thead", head), bodies)
    return scrolling(table, label="Changes of the configuration")


def _change_lines(ablation: str, changes: dict[str, tuple[object, object]]) -> list[Markup]:
    head = element("th", code(ablation), scope="rowgroup", rowspan=len(changes))
    return [
        element("tr", head if place == 0 else None, [element("td", code(words)) for words in (key, *map(_value, pair))])
        for place, (key, pair) in enumerate(changes.items())
    ]


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def differences_list(group: Group) -> Child:
    """What differs between the runs although nothing but the ablation and the seed should."""
    found = differences(group.runs)
    if not found:
        return element("p", "All runs have the same code, packages and device.")
    lines = [
        element("li", element("strong", one.fact), ": ", _separated(_who(*item) for item in one.values.items()))
        for one in found
    ]
    warning = element("p", "These runs do not differ by ablation and seed alone:", class_="warning")
    return [warning, element("ul", lines, class_="problems")]


def _separated(parts: Iterable[Child]) -> list[Child]:
    joined: list[Child] = []
    for part in parts:
        joined += ["; " if joined else "", part]
    return joined


def _who(value: str, runs: Sequence[Run]) -> Child:
    names = [f"{run.result.ablation} seed {run.result.seed}" for run in runs]
    shown = names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]
    return [code(value), f" ({', '.join(shown)})"]


def common_facts(group: Group) -> Markup:
    """What identifies the group: data, pairing key, split, and the surroundings that all runs share."""
    runs = group.runs
    differing = {one.fact for one in differences(runs)}
    shared = {fact: value for run in runs for fact, value in surroundings(run.result).items() if fact not in differing}
    facts = {
        "data": f"{group.data}, fingerprint {group.fingerprint}",
        "pairing key": group.pairing_key,
        "evaluated": f"{group.split}/{group.view}, {group.images:,} images",
        **shared,
    }
    return _facts(facts.items())


def _facts(facts: Iterable[tuple[str, Child]]) -> Markup:
    entries = [element("div", element("dt", name), element("dd", _isolated(value))) for name, value in facts]
    return element("dl", entries, class_="facts")


def _isolated(value: Child) -> Child:
    return element("bdi", value) if type(value) is str else value


def run_list(group: Group, anchors: Mapping[Path, str], folder: Path) -> Markup:
    """Every run of the group, folded; `folder` is where the page lies, from which paths are given."""
    paired = {one.run.directory: one for row in group.rows for one in row.runs if one.baseline}
    cards = []
    for run in group.runs:
        pair = paired.get(run.directory)
        facts = [*_run_facts(run, folder), *(_pair_facts(pair, anchors) if pair else [])]
        cards.append(element("details", _summary(run), _facts(facts), id=anchors[run.directory]))
    return element("div", cards, class_="runs")


def _summary(run: Run) -> Markup:
    state = None if run.finished else element("span", run.result.status, class_="status")
    return element("summary", code(run.result.ablation), f" seed {run.result.seed} ", state)


def _pair_facts(pair: Replicate, anchors: Mapping[Path, str]) -> list[tuple[str, Child]]:
    """What the run says beside its baseline: the figures that the means of its row are over."""
    assert pair.baseline is not None
    baseline = pair.baseline.run
    link = element("a", code(baseline.result.run), href=f"#{anchors[baseline.directory]}")
    facts: list[tuple[str, Child]] = [("baseline", link)]
    for measure in MEASURES:
        one = pair.deltas[measure]
        words = (
            f"{signed(one.delta)} points; {one.only_run_wrong:,} images wrong here alone, "
            f"{one.only_baseline_wrong:,} wrong in the baseline alone; McNemar p {shown_p(one.p)}"
        )
        facts.append((f"{MEASURE_NAMES[measure]} delta", words))
    return facts


def _run_facts(run: Run, folder: Path) -> list[tuple[str, Child]]:
    result = run.result
    facts: list[tuple[str, Child]] = [("run", code(result.run)), ("command", code(result.command))]
    facts += [("message", result.message)] if result.message else []
    facts += [
        ("folder", code(Path(os.path.relpath(run.directory, folder)).as_posix())),
        ("code", surroundings(result)["code"]),
        ("device", result.device or "unknown"),
        *([("precision", result.precision)] if result.precision else []),
        ("versions", ", ".join(f"{name} {version}" for name, version in result.versions.items())),
        ("data", f"{result.data.name}, fingerprint {result.data.fingerprint}"),
        ("pairing key", result.pairing_key),
        ("parameters", f"{result.parameters:,}"),
        *_training(result),
        *_errors(result),
        *((name, _hash(run.directory / name)) for name in FILES),
    ]
    return facts


def _training(result: Result) -> list[tuple[str, Child]]:
    facts = result.training
    if facts is None:
        return []
    drops = "".join(f"; rate {drop.rate:g} from epoch {drop.epoch + 1} on" for drop in facts.rate_drops)
    done = f"{plural(facts.epochs, 'epoch')}, {plural(facts.steps, 'update')}"
    return [("training", f"{done}, {facts.seconds / 60:,.1f} min, {facts.images_per_second:,.0f} images/s{drops}")]


def _errors(result: Result) -> list[tuple[str, Child]]:
    return [
        (f"{split}/{view}", f"top-1 {100 * seen.top1:.2f} %, top-5 {100 * seen.top5:.2f} % of {seen.images:,} images")
        for split, views in result.errors.items()
        for view, seen in views.items()
    ]


def _hash(path: Path) -> Child:
    try:
        with path.open("rb") as file:
            return ["SHA-256 ", code(hashlib.file_digest(file, "sha256").hexdigest())]
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
