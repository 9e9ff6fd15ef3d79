"""How long networks take to fit their training images (Figure 1): curves from run directories, and ratios of times.

Reads `result.json`, `config.yaml` and `metrics.csv`. Errors are in percent of all training images, in evaluation mode,
at the end of each epoch; between two epochs the error is taken to fall in a straight line, from chance at epoch 0.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import yaml

from alexnet.config.schema import NON_IDENTITY_KEYS, flatten, schema_defaults, without
from alexnet.errors import UserError, first_line
from alexnet.runs.collect import Run
from alexnet.runs.directory import CONFIG_FILE
from alexnet.runs.metrics import read_metrics
from alexnet.study.statistics import Interval, seed_interval

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
    """Every other value that it computed with, by dotted key."""
    errors: tuple[float, ...]
    """After each epoch, percent."""
    steps: int
    """Updates in an epoch."""

    @property
    def seed(self) -> int:
        return self.run.result.seed

    @property
    def chance(self) -> float:
        """Error of guessing, percent: where every curve starts."""
        return 100 * (1 - 1 / self.run.result.data.classes)


@dataclass(frozen=True, kw_only=True)
class Network:
    """The runs of one nonlinearity at one learning rate, by seed."""

    activation: str
    lr: float
    runs: tuple[FittedRun, ...]
    epochs: tuple[float | None, ...]
    """Epochs to the target error by run; None if the run ended above it."""

    @property
    def reached(self) -> bool:
        """Whether every run came down to the target."""
        return None not in self.epochs

    @property
    def spent(self) -> tuple[float, ...]:
        """Epochs to the target, or trained in vain: for a run that ended above it, less than it would have needed."""
        pairs = zip(self.runs, self.epochs, strict=True)
        return tuple(len(run.errors) if epochs is None else epochs for run, epochs in pairs)

    @property
    def mean_epochs(self) -> float:
        """Mean over runs; a lower bound unless all of them reached the target."""
        return sum(self.spent) / len(self.spent)

    @property
    def last_error(self) -> float:
        """Mean over runs of the last error, percent."""
        return sum(run.errors[-1] for run in self.runs) / len(self.runs)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as long one network takes as another, paired by seed."""

    times: float
    """Geometric mean; a lower bound if `at_least`."""
    at_least: bool
    interval: Interval | None
    """95 % t interval over seeds, of logarithms; None with one seed or a lower bound."""


def read_fit(run: Run) -> FittedRun | None:
    """Read the training curve of a run; None if it has none (another experiment, or stopped in its first epoch).

    Raises:
        UserError: one of its files is missing or damaged.
    """
    metrics = read_metrics(run.directory)
    if metrics.damaged:
        raise UserError(f"{run.directory}: {metrics.problem}")
    errors = [epoch.train_set_top1_error for epoch in metrics.epochs if epoch.train_set_top1_error is not None]
    if not errors or len(errors) < len(metrics.epochs):
        return None
    path = run.directory / CONFIG_FILE
    free = (*NON_IDENTITY_KEYS, *FREE_KEYS)
    try:
        values = schema_defaults() | flatten(yaml.safe_load(path.read_text(encoding="utf-8")))
        return FittedRun(
            run=run,
            activation=str(values["activation.name"]),
            lr=float(values["optimizer.lr"]),
            settings=without(values, free),
            errors=tuple(errors),
            steps=metrics.epochs[0].step,
        )
    except Exception as error:  # of the file, of YAML, of values that are no configuration
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from None


def check_comparable(fits: Sequence[FittedRun]) -> None:
    """Check that the runs differ in nonlinearity, learning rate and seed alone.

    Raises:
        UserError: two runs differ in anything else, or used different images.
    """
    first = fits[0]
    for other in fits[1:]:
        if other.run.result.data.fingerprint != first.run.result.data.fingerprint:
            raise UserError(
                f"{first.run.directory} and {other.run.directory} used different images; pass runs from one study"
            )
        for key in sorted(first.settings.keys() | other.settings.keys()):
            mine, theirs = first.settings.get(key), other.settings.get(key)
            if mine != theirs:
                raise UserError(
                    f"{first.run.directory} has {key}={mine}, {other.run.directory} has {theirs}; pass runs that differ"
                    " in nonlinearity, learning rate and seed alone"
                )


def epochs_to(errors: Sequence[float], target: float, start: float) -> float | None:
    """Return when a curve first reaches a target, in epochs, in a straight line between its points; None if never.

    `errors` are those after epoch 1, 2, ...; `start` is the error at epoch 0, above the target.
    """
    for epoch, (before, after) in enumerate(pairwise([start, *errors])):
        if after <= target:
            return epoch + (before - target) / (before - after)
    return None


def networks(fits: Iterable[FittedRun], target: float) -> list[Network]:
    """Group runs by nonlinearity and learning rate: ReLU first, then by name; the fastest rate of each first."""
    groups: dict[tuple[str, float], list[FittedRun]] = {}
    for fit in sorted(fits, key=lambda fit: fit.seed):
        groups.setdefault((fit.activation, fit.lr), []).append(fit)
    found = [
        Network(
            activation=activation,
            lr=lr,
            runs=tuple(runs),
            epochs=tuple(epochs_to(run.errors, target, run.chance) for run in runs),
        )
        for (activation, lr), runs in groups.items()
    ]
    return sorted(found, key=lambda net: (net.activation != "relu", net.activation, *_speed(net)))


def _speed(net: Network) -> tuple[bool, float, float]:
    # Of networks that never got there, the one that came nearest is the fastest, however long it was trained.
    return (False, net.mean_epochs, 0.0) if net.reached else (True, net.last_error, net.mean_epochs)


def fastest(found: Iterable[Network]) -> list[Network]:
    """Return the first, that is the fastest, network of each nonlinearity."""
    return [next(nets) for _, nets in groupby(found, key=lambda net: net.activation)]


def ratio(slow: Network, fast: Network) -> Ratio | None:
    """Compare epochs to the target; None without a common seed, or if `fast` never reaches it."""
    reference = {run.seed: epochs for run, epochs in zip(fast.runs, fast.epochs, strict=True)}
    pairs = [
        (spent, epochs is None, reference[run.seed])
        for run, spent, epochs in zip(slow.runs, slow.spent, slow.epochs, strict=True)
        if run.seed in reference
    ]
    logs = [math.log(spent / other) for spent, _, other in pairs if other]
    if not pairs or len(logs) < len(pairs):
        return None
    at_least = any(censored for _, censored, _ in pairs)
    interval = None
    if len(logs) > 1 and not at_least:
        low, high = seed_interval(np.array(logs))
        interval = Interval(math.exp(low), math.exp(high))
    return Ratio(times=math.exp(sum(logs) / len(logs)), at_least=at_least, interval=interval)
