"""Figure 1 of the paper from finished runs: the table on the screen, `figure1.csv` and `figure1.svg`."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.runs.collect import Run, collect
from alexnet.study.paper.figures import draw_training_curves
from alexnet.study.paper.fitting import FittedRun, Network, Ratio, check_comparable, fastest, networks, ratio, read_fit
from alexnet.study.wording import shown_seeds, unreadable_line

CSV_FILE, SVG_FILE = "figure1.csv", "figure1.svg"
PAPER = (
    "The paper (section 3.1, Figure 1): with ReLU the network reaches 25 % six times faster than with tanh; the figure "
    "shows about 5 and 36 epochs."
)
COLUMNS = (
    *("activation", "rate", "seed", "run", "target_error", "reached", "epochs", "steps", "last_error"),
    *("ratio", "ratio_low", "ratio_high", "ratio_at_least"),
)


def figure1(paths: Sequence[Path], *, target: float, output: Path | None, console: Console) -> None:
    """Compare how fast the runs at or below `paths` came down to a training error of `target` percent.

    `output` None is the deepest folder that holds all the runs. UserError if no run measured its training error, if
    the runs differ in more than non-linearity, rate and seed, or if `output` is not writable.
    """
    found = collect(paths)
    fits, notes = _fits(found.runs)
    if not fits:
        raise UserError("no finished run that measured its training error: experiment=figure1 does")
    check_comparable(fits)
    if target >= fits[0].chance:
        raise UserError(f"--error {target:g}: guessing has an error of {fits[0].chance:g} %, give less")
    nets = networks(fits, target)
    console.print(_table(nets, target))
    for line in [_explanation(nets, target), PAPER, *notes]:
        console.print(Text(line), soft_wrap=True)
    folder = output or Path(os.path.commonpath([fit.run.directory.parent for fit in fits]))
    _write(folder, nets, target)
    console.print(Text(f"Written to {folder}: {CSV_FILE}, {SVG_FILE}"), soft_wrap=True)
    if warning := unreadable_line(found.damaged):
        console.print(Text(warning, style="red"))


def _fits(runs: Sequence[Run]) -> tuple[list[FittedRun], list[str]]:
    """The finished runs with a training curve, and a line about each of the others; of equal runs the newest."""
    finished = [run for run in runs if run.finished]
    notes = [f"{run}: {run.result.status}: {run.result.message}" for run in runs if not run.finished]
    fits: dict[tuple[str, float, int], FittedRun] = {}
    for run in sorted(finished, key=lambda run: run.written):
        fit = read_fit(run)
        if fit is None:
            notes.append(f"{run}: left out, its training error was not measured (schedule.stop_at_train_error).")
            continue
        key = (fit.activation, fit.rate, fit.seed)
        if key in fits:
            notes.append(f"{fits[key].run}: left out, {run.directory} is the same network and seed, and newer.")
        fits[key] = fit
    return list(fits.values()), notes


def _table(nets: Sequence[Network], target: float) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for header in ("Network", "Rate", "Seeds", f"Epochs to {target:g} %, by seed", "Mean", "Ratio", "95 % interval"):
        table.add_column(header, justify="left" if header in ("Network", "Seeds") else "right")
    for net in nets:
        compared = ratio(net, nets[0]) if net is not nets[0] else None
        table.add_row(
            net.activation,
            f"{net.rate:g}",
            shown_seeds(run.seed for run in net.runs),
            ", ".join(_epochs(spent, reached=epochs is not None) for spent, epochs in _outcomes(net)),
            _epochs(net.mean_epochs, reached=net.reached),
            _times(compared),
            f"[{compared.interval.low:.2f}, {compared.interval.high:.2f}]" if compared and compared.interval else "",
        )
    return table


def _outcomes(net: Network) -> list[tuple[float, float | None]]:
    return list(zip(net.spent, net.epochs, strict=True))


def _epochs(number: float, *, reached: bool) -> str:
    return f"{number:.2f}" if reached else f"over {number:g}"


def _times(compared: Ratio | None) -> str:
    if compared is None:
        return ""
    return f"over {compared.times:.2f}" if compared.at_least else f"{compared.times:.2f}"


def _explanation(nets: Sequence[Network], target: float) -> str:
    reference = nets[0]
    sentences = [
        f"Epochs until {target:g} % of all training images are misclassified, in evaluation mode: measured after each "
        f"epoch of {reference.runs[0].steps} updates, in a straight line between two measurements (from chance at the "
        f"start). Ratio: to {reference.activation} at rate {reference.rate:g}, geometric mean over seeds in common; "
        "interval: of logarithms, by t over seeds."
    ]
    if any(not net.reached for net in nets):
        sentences.append("over: a run ended above the target; what it would have needed is not known, only that more.")
    if len({net.activation for net in nets}) < len(nets):
        sentences.append(
            "Several rates of one non-linearity stand fastest first; a rate chosen for its speed on these very runs "
            "flatters itself a little."
        )
    return " ".join(sentences)


def _write(folder: Path, nets: Sequence[Network], target: float) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / CSV_FILE, _csv(nets, target).encode())
        replace_file(folder / SVG_FILE, draw_training_curves(fastest(nets), target).encode())
    except OSError as error:
        raise UserError(f"{folder}: the figure cannot be written there: {error.strerror}") from None


def _csv(nets: Sequence[Network], target: float) -> str:
    """One line for each run; the ratio of its network stands in each of its lines."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for net in nets:
        compared = ratio(net, nets[0]) if net is not nets[0] else None
        interval = compared.interval if compared else None
        for fit, (spent, epochs) in zip(net.runs, _outcomes(net), strict=True):
            writer.writerow(
                {
                    "activation": net.activation,
                    "rate": net.rate,
                    "seed": fit.seed,
                    "run": fit.run.result.run,
                    "target_error": target,
                    "reached": epochs is not None,
                    "epochs": spent,
                    "steps": spent * fit.steps,
                    "last_error": fit.errors[-1],
                    "ratio": compared.times if compared else None,
                    "ratio_low": interval.low if interval else None,
                    "ratio_high": interval.high if interval else None,
                    "ratio_at_least": compared.at_least if compared else None,
                }
            )
    return text.getvalue()
