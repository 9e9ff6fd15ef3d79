"""Figure 1 of the paper from finished runs: a table in the terminal, `figure1.csv` and `figure1.svg`."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.errors import UserError, printable
from alexnet.files import write_file
from alexnet.runs.collect import Run, collect
from alexnet.study.paper.figures import draw_training_curves
from alexnet.study.paper.fitting import FittedRun, Network, check_comparable, fastest, networks, read_fit, time_ratio
from alexnet.study.ratios import Ratio
from alexnet.study.wording import Record, csv_text, shown_seeds, unreadable_line

CSV_FILE, SVG_FILE = "figure1.csv", "figure1.svg"
PAPER = (
    "The paper (section 3.1, Figure 1): with ReLU the network reaches 25 % six times faster than with tanh; the figure "
    "shows about 5 and 36 epochs."
)
CLAIMED = ("tanh", 5.5, 6.5)
"""What "six times" allows: whatever rounds to it."""


def figure1(paths: Sequence[Path], *, target: float, output: Path | None, console: Console) -> None:
    """Compare how fast the runs at or below `paths` came down to a training error of `target` percent.

    `output` None is the deepest folder that holds all the runs.

    Raises:
        UserError: no run measured its training error, the runs differ in more than nonlinearity, learning rate and
            seed, or `output` is not writable.
    """
    found = collect(paths)
    fits, notes = _fits(found.runs, target)
    if not fits:
        reasons = "; ".join([*found.unreadable, *notes])
        nothing = "no finished run that measured its training error: experiment=figure1 does"
        raise UserError(f"{nothing} ({reasons})" if reasons else nothing)
    check_comparable(fits)
    nets = networks(fits)
    compared = [None, *(time_ratio(net, nets[0]) for net in nets[1:])]
    folder = output or Path(os.path.commonpath([fit.run.directory.parent for fit in fits]))
    write_file(folder / CSV_FILE, _csv(nets, compared, target))
    write_file(folder / SVG_FILE, draw_training_curves(fastest(nets), target))
    console.print(_table(nets, compared, target))
    for line in [_explanation(nets, target), PAPER, *_verdicts(nets, compared), *notes]:
        console.print(Text(printable(line)), soft_wrap=True)
    console.print(Text(f"Written to {folder}: {CSV_FILE}, {SVG_FILE}"), soft_wrap=True)
    if warning := unreadable_line(found.unreadable):
        console.print(Text(printable(warning), style="red"))


def _fits(runs: Sequence[Run], target: float) -> tuple[list[FittedRun], list[str]]:
    """Return the finished runs with a training curve, of equal runs the newest, and a line about each of the others."""
    notes = [f"{run}: {run.result.status}: {run.result.message}" for run in runs if not run.finished]
    fits: dict[tuple[str, float, int, int], FittedRun] = {}
    for run in sorted((run for run in runs if run.finished), key=lambda run: run.written):
        try:
            fit = read_fit(run, target)
        except UserError as error:
            notes.append(f"{run}: left out, {error}.")
            continue
        if fit is None:
            notes.append(f"{run}: left out, its training error was not measured (schedule.stop_at_train_error).")
            continue
        key = (fit.activation, fit.lr, fit.seed, run.result.numerics)
        if key in fits:
            notes.append(f"{fits[key].run}: left out, {run.directory} is the same network and seed, and newer.")
        fits[key] = fit
    return list(fits.values()), notes


def _table(nets: Sequence[Network], ratios: Sequence[Ratio | None], target: float) -> Table:
    def epochs(number: float, *, reached: bool) -> str:
        return f"{number:.2f}" if reached else f"over {number:g}"

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for header in (
        "Network",
        "Lr",
        "Seeds",
        f"Epochs to {target:g} %, by seed",
        "Mean",
        "Ratio",
        "95 % interval",
        "One pair",
    ):
        table.add_column(header, justify="left" if header in ("Network", "Seeds") else "right")
    for net, compared in zip(nets, ratios, strict=True):
        interval, one_pair = (compared.interval, compared.published) if compared else (None, None)
        table.add_row(
            net.activation,
            f"{net.lr:g}",
            shown_seeds(run.seed for run in net.runs),
            ", ".join(epochs(run.epochs, reached=run.reached) for run in net.runs),
            epochs(net.mean_epochs, reached=net.reached),
            f"{'over ' if compared.at_least else ''}{compared.times:.2f}" if compared else "",
            f"[{interval.low:.2f}, {interval.high:.2f}]" if interval else "",
            f"[{one_pair.low:.2f}, {one_pair.high:.2f}]" if one_pair else "",
        )
    return table


def _verdicts(nets: Sequence[Network], ratios: Sequence[Ratio | None]) -> list[str]:
    """Judge "six times" by the fastest network of the other kind."""
    activation, low, high = CLAIMED
    for net, compared in zip(nets, ratios, strict=True):
        if net.activation == activation and nets[0].activation == "relu":
            word = compared.size(low, high) if compared and len(net.runs) > 2 else None
            return [f"Six times, as {low:g} to {high:g}, for {activation} at lr {net.lr:g}: {word or 'too few seeds'}."]
    return []


def _explanation(nets: Sequence[Network], target: float) -> str:
    reference = nets[0]
    sentences = [
        f"Epochs until {target:g} % of all training images are misclassified, in evaluation mode: measured after each "
        f"epoch of {reference.runs[0].steps} updates, in a straight line between two measurements (from chance at the "
        f"start). Ratio: to {reference.activation} at lr {reference.lr:g}, of geometric means over runs; interval: "
        "Welch's t on logarithms; one pair: where 95 % of the ratios of single runs lie, such as the paper's."
    ]
    if any(not net.reached for net in nets):
        sentences.append(
            "over: a run ended above the target; how much more it would have needed is not known, and the ratio has a"
            " lower limit alone."
        )
    if len({net.activation for net in nets}) < len(nets):
        sentences.append(
            "Several learning rates of one nonlinearity are listed fastest first; choosing the fastest on these very "
            "runs flatters it a little."
        )
    return " ".join(sentences)


def _csv(nets: Sequence[Network], ratios: Sequence[Ratio | None], target: float) -> str:
    """Write one line for each run; the ratio of its network is in each of its lines."""
    records: list[Record] = [
        {
            "activation": net.activation,
            "rate": net.lr,
            "seed": fit.seed,
            "run": fit.run.result.run,
            "target_error": target,
            "reached": fit.reached,
            "epochs": fit.epochs,
            "steps": fit.epochs * fit.steps,
            "last_error": fit.errors[-1],
            "ratio": compared and compared.times,
            "ratio_low": compared and compared.interval and compared.interval.low,
            "ratio_high": compared and compared.interval and compared.interval.high,
            "ratio_at_least": compared and compared.at_least,
            "one_pair_low": compared and compared.published and compared.published.low,
            "one_pair_high": compared and compared.published and compared.published.high,
        }
        for net, compared in zip(nets, ratios, strict=True)
        for fit in net.runs
    ]
    return csv_text(list(records[0]), records)
