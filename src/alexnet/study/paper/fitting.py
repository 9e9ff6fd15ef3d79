"""How long networks take to fit their training images (Figure 1): curves from run directories, and ratios of times.

Reads `result.json`, `config.yaml` and `metrics.csv`. Errors are in percent of all training images, in evaluation mode,
at the end of each epoch; between two epochs the error is taken to fall in a straight line, from chance at epoch 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from alexnet.config.schema import NON_IDENTITY_KEYS, flatten, schema_defaults, without
from alexnet.errors import UserError
from alexnet.received import damage_named
from alexnet.runs.collect import Run
from alexnet.runs.directory import CONFIG_FILE
from alexnet.study.ratios import Ratio, epochs_to, ratio

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
    """After each epoch, percent."""
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
    metrics = run.metrics()
    if metrics.damaged:
        raise UserError(f"{run.directory}: {metrics.problem}")
    errors = [epoch.train_set_top1_error for epoch in metrics.epochs if epoch.train_set_top1_error is not None]
    if not errors or len(errors) < len(metrics.epochs):
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
    for other in fits[1:]:
        pair = first.run.directory, other.run.directory
        if other.run.result.data.fingerprint != first.run.result.data.fingerprint:
            raise UserError(f"{pair[0]} and {pair[1]} used different images; pass runs from one study")
        for key in sorted(first.settings.keys() | other.settings.keys()):
            mine, theirs = first.settings.get(key), other.settings.get(key)
            if mine != theirs:
                raise UserError(
                    f"{pair[0]} has {key}={mine}, {pair[1]} has {theirs}; pass runs that differ in nonlinearity, "
                    "learning rate and seed alone"
                )


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
