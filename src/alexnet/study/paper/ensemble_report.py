"""What an ensemble does, on the screen, as JSON and as Markdown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.study.paper.ensemble import MEASURES, Contrast, Ensemble, Error, ensemble, single_errors, tuned_weights
from alexnet.study.paper.members import Net, common_split, read_members, read_nets
from alexnet.study.wording import MEASURE_NAMES, shown_interval, shown_p

JSON_FILE, MARKDOWN_FILE = "ensemble.json", "ensemble.md"
MEANING = (
    "Errors in percent of the images, with 95 % intervals (Wilson) for other images of the same kind; differences in "
    "points, below 0 the ensemble is better. The best net is the one with the lowest error on these very images. All "
    "intervals take the nets as given: other seeds would make other nets."
)
NO_WEIGHTS = (
    "No weights were tuned: they are tuned on validation images and judged on test images, and these nets were not "
    "asked about both."
)


@dataclass(frozen=True, kw_only=True)
class EnsembleReport:
    """Everything that is said about the average of some nets."""

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
        raise UserError("an ensemble needs two nets at least")
    report = examined(nets, common_split(nets, split), view)
    lines = _differences(report)
    console.print(Text(_title(report), style="bold"))
    console.print(_table(report))
    for line in [*lines, MEANING, *([] if len(report.ensembles) > 1 else [NO_WEIGHTS])]:
        console.print(Text(line), soft_wrap=True)
    if output is not None:
        _write(output, report, lines)
        console.print(Text(f"Written to {output}: {JSON_FILE}, {MARKDOWN_FILE}"), soft_wrap=True)


def examined(nets: Sequence[Net], split: str, view: str) -> EnsembleReport:
    """The plain mean, and where the nets were asked about both, weights tuned on `val` and judged on `test`."""
    members, labels = read_members(nets, split, view)
    plain = ensemble("mean", members, [1 / len(members)] * len(members), labels)
    tuned = []
    if split == "test" and all("val" in net.answered.splits for net in nets):
        weights = tuned_weights(*read_members(nets, "val", view))
        tuned = [ensemble("tuned weights", members, weights, labels)]
    return EnsembleReport(
        nets=[str(net) for net in nets],
        fingerprint=nets[0].answered.fingerprint,
        split=split,
        view=view,
        images=len(labels),
        members=single_errors(members, labels),
        ensembles=[plain, *tuned],
    )


def _title(report: EnsembleReport) -> str:
    return f"{len(report.nets)} nets on {report.images:,} {report.split} images, {report.view}"


def _rows(report: EnsembleReport) -> list[tuple[str, ...]]:
    alone = [(net, *_cells(errors)) for net, errors in zip(report.nets, report.members, strict=True)]
    return [*alone, *((_name(one), *_cells(one.errors)) for one in report.ensembles)]


def _name(one: Ensemble) -> str:
    if one.name == "mean":
        return "mean of all"
    return f"{one.name} {', '.join(f'{weight:g}' for weight in one.weights)}"


def _cells(errors: dict[str, Error]) -> list[str]:
    found = [errors[measure] for measure in MEASURES]
    return [
        cell for one in found for cell in (f"{one.percent:.2f}", f"[{one.interval.low:.2f}, {one.interval.high:.2f}]")
    ]


def _headers() -> list[str]:
    return ["", *(header for name in MEASURE_NAMES.values() for header in (name, "95 % interval"))]


def _table(report: EnsembleReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for place, header in enumerate(_headers()):
        table.add_column(header, justify="right" if place else "left", overflow="fold")
    for place, row in enumerate(_rows(report)):
        table.add_row(*map(Text, row), style="bold" if place >= len(report.nets) else "")
    return table


def _differences(report: EnsembleReport) -> list[str]:
    return [
        f"{one.name[:1].upper()}{one.name[1:]}, {MEASURE_NAMES[measure]}: {_difference(report, one.contrasts[measure])}"
        for one in report.ensembles
        for measure in MEASURES
    ]


def _difference(report: EnsembleReport, contrast: Contrast) -> str:
    best, net = contrast.to_best, report.nets[contrast.best]
    return (
        f"{contrast.to_mean:+.2f} {shown_interval(contrast.to_mean_interval)} to the mean of its nets; "
        f"{best.delta:+.2f} {shown_interval(best.interval)}, p {shown_p(best.p)} to the best, {net}."
    )


def _write(folder: Path, report: EnsembleReport, lines: Sequence[str]) -> None:
    header = _headers()
    rows = [header, ["---", *["---:"] * (len(header) - 1)], *_rows(report)]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    differences = "\n".join(f"- {line}" for line in lines)
    text = f"# Ensemble\n\n{_title(report)}.\n\n{table}\n\n{differences}\n\n{MEANING}\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / JSON_FILE, (json.dumps(asdict(report), indent=2) + "\n").encode())
        replace_file(folder / MARKDOWN_FILE, text.encode())
    except OSError as error:
        raise UserError(f"{folder}: the ensemble cannot be written there: {error.strerror}") from None
