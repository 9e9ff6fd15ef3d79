"""Figure 1 of the paper from finished runs: how long networks take to fit their training images.

Reads `result.json`, `config.yaml` and `metrics.csv`. Errors are in percent of all training images, in evaluation mode,
at the end of each epoch; between two epochs the error is taken to fall in a straight line, from chance at epoch 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alexnet.config.schema import NON_IDENTITY_KEYS, flatten, schema_defaults, without
from alexnet.errors import UserError, plural, printable
from alexnet.files import write_file
from alexnet.runs.collect import Run, collect, common_folder
from alexnet.runs.directory import CONFIG_FILE
from alexnet.study.charts import LIGHT, Canvas, drawing
from alexnet.study.verdict import Ratio, epochs_to, ratio
from alexnet.study.wording import Record, csv_text, shown_ends, shown_seeds
from alexnet.untrusted import damage_named

CSV_FILE, SVG_FILE = "figure1.csv", "figure1.svg"
PAPER = (
    "The paper (section 3.1, Figure 1): with ReLU the network reaches 25 % six times faster than with tanh; the figure "
    "shows about 5 and 36 epochs."
)
CLAIMED = ("tanh", 5.5, 6.5, 25.0)
"""What "six times" allows, whatever rounds to it, and the error at which it is claimed."""
DASHES = {"relu": "-", "tanh": "--", "sigmoid": ":", "abs_tanh": "-."}
"""As in the paper's figure: ReLU solid, tanh dashed."""
FREE_KEYS = (
    *("activation.name", "optimizer.lr", "seed", "data.root", "schedule.epochs", "schedule.stop_at_train_error"),
    *("ablations", "experiment"),
)
"""Keys in which the runs of one figure may differ, besides those that have no part in a run's identity."""


@dataclass(frozen=True, kw_only=True)
class FittedRun:
    """A run whose training error was measured."""

    run: Run
    activation: str
    lr: float
    settings: dict[str, Any]
    """Every other value that it computed with, by dotted key, and the NUMERICS of its code."""
    errors: tuple[float, ...]
    """After each whole epoch, percent."""
    steps: int
    """Updates in an epoch."""
    reached: bool
    """Whether it came down to the target error."""
    epochs: float
    """Until it did; for a run that ended above the target all of its epochs, less than it would have needed."""

    @property
    def seed(self) -> int:
        return self.run.result.seed


@dataclass(frozen=True, kw_only=True)
class Network:
    """The runs of one nonlinearity at one learning rate, by seed."""

    activation: str
    lr: float
    runs: tuple[FittedRun, ...]

    @property
    def reached(self) -> bool:
        """Whether every run came down to the target."""
        return all(run.reached for run in self.runs)

    @property
    def mean_epochs(self) -> float:
        """Mean over runs; a lower bound unless all of them reached the target."""
        return sum(run.epochs for run in self.runs) / len(self.runs)


def read_fit(run: Run, target: float) -> FittedRun | None:
    """Read the training curve of a run; None if it has none (another experiment, or stopped in its first epoch).

    Raises:
        UserError: one of its files is missing or damaged, or guessing meets the target.
    """
    metrics = run.metrics
    if metrics.damaged:
        raise UserError(f"{run.directory}: {metrics.problem}")
    records = metrics.epochs[:-1] if metrics.is_cut else metrics.epochs
    errors = [epoch.train_set_top1_error for epoch in records if epoch.train_set_top1_error is not None]
    if not errors or len(errors) < len(records):
        return None
    chance = 100 * (1 - 1 / max(run.result.data.classes, 1))
    if target >= chance:
        raise UserError(f"--error {target:g}: guessing has an error of {chance:g} %; use a smaller value")
    epochs = epochs_to(errors, target, chance)
    path = run.directory / CONFIG_FILE
    free = (*NON_IDENTITY_KEYS, *FREE_KEYS)
    with damage_named(path):
        values = schema_defaults() | flatten(run.config())
        return FittedRun(
            run=run,
            activation=str(values["activation.name"]),
            lr=float(values["optimizer.lr"]),
            settings=without(values, free) | {"NUMERICS": run.result.numerics},
            errors=tuple(errors),
            steps=metrics.epochs[0].step,
            reached=epochs is not None,
            epochs=len(errors) if epochs is None else epochs,
        )


def check_comparable(fits: Sequence[FittedRun]) -> None:
    """Check that the runs differ in nonlinearity, learning rate and seed alone.

    Raises:
        UserError: two runs differ in anything else, or used different images.
    """
    first = fits[0]
    here = first.run.directory
    for other in fits[1:]:
        there = other.run.directory
        if other.run.result.data.fingerprint != first.run.result.data.fingerprint:
            raise UserError(f"{here} and {there} used different images; pass runs from one study")
        for key in sorted(first.settings.keys() | other.settings.keys()):
            mine, theirs = first.settings.get(key), other.settings.get(key)
            if mine != theirs:
                what = "nonlinearity, learning rate and seed"
                raise UserError(f"{here} has {key}={mine}, {there} has {theirs}; pass runs that differ in {what} alone")


def networks(fits: Iterable[FittedRun]) -> list[Network]:
    """Group runs by nonlinearity and learning rate: ReLU first, then by name; the fastest rate of each first."""
    groups: dict[tuple[str, float], list[FittedRun]] = {}
    for fit in sorted(fits, key=lambda fit: fit.seed):
        groups.setdefault((fit.activation, fit.lr), []).append(fit)
    found = [Network(activation=name, lr=lr, runs=tuple(runs)) for (name, lr), runs in groups.items()]
    return sorted(found, key=lambda net: (net.activation != "relu", net.activation, *_speed(net)))


def _speed(net: Network) -> tuple[bool, float, float]:
    # Of networks that never got there, the one that came nearest is the fastest, however long it was trained.
    last_error = sum(run.errors[-1] for run in net.runs) / len(net.runs)
    return not net.reached, 0.0 if net.reached else last_error, net.mean_epochs


def fastest(found: Iterable[Network]) -> list[Network]:
    """Return the first, that is the fastest, network of each nonlinearity."""
    return [next(nets) for _, nets in groupby(found, key=lambda net: net.activation)]


def time_ratio(slow: Network, fast: Network) -> Ratio | None:
    """Compare epochs to the target; None if a run of `fast` never reaches it."""
    if not fast.reached:
        return None
    spent = [[run.epochs for run in net.runs] for net in (slow, fast)]
    return ratio(*spent, censored=sum(not run.reached for run in slow.runs))


def figure1(paths: Sequence[Path], *, target: float, output: Path | None, console: Console) -> None:
    """Compare how fast the runs at or below `paths` came down to a training error of `target` percent.

    `output` None is that of `common_folder`.

    Raises:
        UserError: no run measured its training error, the runs differ in more than nonlinearity, learning rate and
            seed, or `output` is not writable.
    """
    found = collect(paths)
    fits, notes = _fits(found.runs, target)
    if not fits:
        reasons = [*found.unreadable, *notes]
        nothing = "no finished run that measured its training error, as experiment=figure1 does"
        raise UserError(f"{nothing}; the first of {plural(len(reasons), 'run')}: {reasons[0].rstrip('.')}")
    check_comparable(fits)
    nets = networks(fits)
    compared = [None, *(time_ratio(net, nets[0]) for net in nets[1:])]
    folder = output or common_folder([fit.run for fit in fits], paths)
    write_file(folder / CSV_FILE, _csv(nets, compared, target))
    write_file(folder / SVG_FILE, draw_training_curves(fastest(nets), target))
    console.print(_table(nets, compared, target))
    for line in [_explanation(nets, target), PAPER, *_verdicts(nets, compared, target), *notes]:
        console.print(Text(printable(line)), soft_wrap=True)
    console.print(Text(f"Written to {folder}: {CSV_FILE}, {SVG_FILE}"), soft_wrap=True)
    if warning := found.warning:
        console.print(Text(printable(warning), style="red"))


def _fits(runs: Sequence[Run], target: float) -> tuple[list[FittedRun], list[str]]:
    """Return the finished runs with a training curve, of equal runs the newest, and a line about each of the others."""
    notes = [f"{run}: {run.result.ending}" for run in runs if not run.finished]
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
    by_seed = f"Epochs to {target:g} %, by seed"
    for header in ("Network", "Lr", "Seeds", by_seed, "Mean", "Ratio", "95 % interval", "One pair"):
        table.add_column(header, justify="left" if header in ("Network", "Seeds") else "right")
    for net, compared in zip(nets, ratios, strict=True):
        ends = (compared.interval, compared.published) if compared else (None, None)
        table.add_row(
            net.activation,
            f"{net.lr:g}",
            shown_seeds(run.seed for run in net.runs),
            ", ".join(epochs(run.epochs, reached=run.reached) for run in net.runs),
            epochs(net.mean_epochs, reached=net.reached),
            f"{'over ' if compared.at_least else ''}{compared.times:.2f}" if compared else "",
            *(shown_ends(one) if one else "" for one in ends),
        )
    return table


def _verdicts(nets: Sequence[Network], ratios: Sequence[Ratio | None], target: float) -> list[str]:
    """Judge "six times" by the fastest network of the other kind, with three seeds of both."""
    activation, low, high, claimed_at = CLAIMED
    for net, compared in zip(nets, ratios, strict=True):
        if net.activation == activation and nets[0].activation == "relu":
            word = compared.size(low, high) if compared else "not judged, as a run of relu ended above the target"
            if compared and min(len(net.runs), len(nets[0].runs)) < 3:
                word = "too few seeds"
            if target != claimed_at:
                word = f"not judged at {target:g} %"
            return [f"Six times, as {low:g} to {high:g}, for {activation} at lr {net.lr:g}: {word}."]
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


@drawing()
def draw_training_curves(nets: Sequence[Network], target: float) -> str:
    """Draw Figure 1: each network's mean over seeds, its seeds faintly behind it, and the target as a line."""
    from matplotlib.ticker import MaxNLocator

    canvas = Canvas(640, 400)
    axes = canvas.axes(60, 16, 564, 336)
    curves = [run.errors for net in nets for run in net.runs]
    top = 10 * ceil(max(max(errors) for errors in curves) / 10) or 10
    axes.set(xlim=(0, max(map(len, curves))), ylim=(0, top), yticks=range(0, top + 1, 10))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.spines[["left", "bottom"]].set_visible(True)
    axes.axhline(target, color=LIGHT["muted"], linewidth=1)
    axes.set_xlabel("Epochs", size=13)
    axes.set_ylabel("Training error, %", size=13)
    for net in nets:
        style: dict[str, Any] = {"color": LIGHT["ink"], "linestyle": DASHES[net.activation], "clip_on": False}
        seeds = [run.errors for run in net.runs]
        for errors in seeds if len(seeds) > 1 else []:
            axes.plot(range(1, len(errors) + 1), errors, alpha=0.25, linewidth=1, **style)
        # As far as every seed reaches: beyond, the mean would jump where a seed ends.
        mean = [sum(errors) / len(errors) for errors in zip(*seeds, strict=False)]
        label = f"{net.activation}, lr {net.lr:g}"
        axes.plot(range(1, len(mean) + 1), mean, linewidth=2, label=label, **style)
    axes.legend(loc="upper right", frameon=False, handlelength=3)
    return canvas.svg("Training error against epochs")
