"""The errors of an ensemble in the terminal, as JSON and as Markdown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.errors import UserError
from alexnet.files import write_file
from alexnet.study.paper.ensemble import MEASURES, Ensemble, Error, ensemble, single_errors, tuned_weights
from alexnet.study.paper.members import Net, common_split, read_members, read_nets
from alexnet.study.wording import MEASURE_NAMES, clean, escape_markdown, markdown_table, shown_interval, shown_p

JSON_FILE, MARKDOWN_FILE = "ensemble.json", "ensemble.md"
HEADER = ("", *(header for name in MEASURE_NAMES.values() for header in (name, "95 % interval")))
MEANING = (
    "Errors in percent of the images, with 95 % intervals (Wilson) for other images of the same kind; differences in "
    "points, below 0 the ensemble is better. The best net is the one with the lowest error on these very images. All "
    "intervals take the nets as given: other seeds would make other nets."
)
NO_WEIGHTS = (
    "No weights were tuned: that takes probabilities of validation and test images for every net "
    "(alexnet evaluate --predictions)."
)


@dataclass(frozen=True, kw_only=True)
class EnsembleReport:
    """Everything that is said about the average of some nets; the content of `ensemble.json`."""

    nets: Sequence[str]
    fingerprint: str
    split: str
    view: str
    images: int
    members: Sequence[dict[str, Error]]
    ensembles: Sequence[Ensemble]


def report_ensemble(
    paths: Sequence[Path], *, split: str | None, view: str, output: Path | None, console: Console
) -> None:
    """Average the nets at or below `paths`, print the errors, and write them into `output` if there is one.

    Raises:
        UserError: fewer than two nets, nets that do not belong together, or `output` is not writable.
    """
    nets = read_nets(paths)
    if len(nets) < 2:
        raise UserError("an ensemble needs at least two nets")
    report = _report(nets, common_split(nets, split), view)
    title = f"{len(nets)} nets on {report.images:,} {report.split} images, {report.view}"
    rows = [(net, *_cells(errors)) for net, errors in zip(report.nets, report.members, strict=True)]
    for one in report.ensembles:
        weights = "of all" if one.name == "mean" else ", ".join(f"{weight:g}" for weight in one.weights)
        rows.append((f"{one.name} {weights}", *_cells(one.errors)))
    lines = [_difference(report, one, measure) for one in report.ensembles for measure in MEASURES]
    if output is not None:
        escaped = [(escape_markdown(name), *cells) for name, *cells in rows]
        table, differences = markdown_table(HEADER, escaped), "\n".join(f"- {line}" for line in lines)
        text = f"# Ensemble\n\n{title}.\n\n{table}\n\n{differences}\n\n{MEANING}\n"
        write_file(output / JSON_FILE, json.dumps(asdict(report), indent=2) + "\n")
        write_file(output / MARKDOWN_FILE, text)
    console.print(Text(title, style="bold"))
    printed = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for place, header in enumerate(HEADER):
        printed.add_column(header, justify="right" if place else "left", overflow="fold")
    for place, row in enumerate(rows):
        printed.add_row(*(Text(clean(cell)) for cell in row), style="bold" if place >= len(nets) else "")
    console.print(printed)
    for line in [*lines, MEANING, *([] if len(report.ensembles) > 1 else [NO_WEIGHTS])]:
        console.print(Text(clean(line)), soft_wrap=True)
    if output is not None:
        console.print(Text(f"Written to {output}: {JSON_FILE}, {MARKDOWN_FILE}"), soft_wrap=True)


def _report(nets: Sequence[Net], split: str, view: str) -> EnsembleReport:
    """Take the plain mean and, if all nets have both splits, weights tuned on `val` and judged on `test`."""
    members, labels = read_members(nets, split, view)
    ensembles = [ensemble("mean", members, [1 / len(members)] * len(members), labels)]
    if split == "test" and all("val" in net.header.splits for net in nets):
        weights = tuned_weights(*read_members(nets, "val", view))
        ensembles.append(ensemble("tuned weights", members, weights, labels))
    return EnsembleReport(
        nets=[str(net) for net in nets],
        fingerprint=nets[0].header.fingerprint,
        split=split,
        view=view,
        images=len(labels),
        members=single_errors(members, labels),
        ensembles=ensembles,
    )


def _cells(errors: dict[str, Error]) -> list[str]:
    found = [errors[measure] for measure in MEASURES]
    return [text for one in found for text in (f"{one.percent:.2f}", "[{:.2f}, {:.2f}]".format(*one.interval))]


def _difference(report: EnsembleReport, one: Ensemble, measure: str) -> str:
    contrast = one.contrasts[measure]
    best, net = contrast.to_best, report.nets[contrast.best]
    return (
        f"{one.name[:1].upper()}{one.name[1:]}, {MEASURE_NAMES[measure]}: "
        f"{contrast.to_mean:+.2f} {shown_interval(contrast.to_mean_interval)} to the mean of its nets; "
        f"{best.delta:+.2f} {shown_interval(best.interval)}, p {shown_p(best.p)} to the best, {net}."
    )
