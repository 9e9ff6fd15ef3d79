"""When the learning rate drops and when training ends: pure functions of the validation errors so far."""

from dataclasses import dataclass

from alexnet.config.schema import ScheduleConfig


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a schedule stands at the start of an epoch."""

    drops: int
    """How often the rate has been divided."""
    finished: bool


def progress(schedule: ScheduleConfig, errors: list[float]) -> Progress:
    """State after as many epochs as there are validation errors (fractions, or any monotone measure).

    For fixed epochs the errors' values do not matter, only their number.
    """
    epoch = len(errors)
    if schedule.kind == "epochs":
        return Progress(drops=sum(drop <= epoch for drop in schedule.drops), finished=epoch >= schedule.epochs)
    plateaus = count_plateaus(errors, schedule.patience)
    return Progress(
        drops=min(plateaus, schedule.max_drops),
        finished=plateaus > schedule.max_drops or epoch >= schedule.epochs,
    )


def fits(schedule: ScheduleConfig, train_error: float | None) -> bool:
    """Whether the network fits its training images as well as the schedule wants; the error is in percent."""
    target = schedule.until_train_error
    return target is not None and train_error is not None and train_error <= target


def count_plateaus(errors: list[float], patience: int) -> int:
    """How often `patience` epochs in a row brought no error below the best so far.

    The best is never forgotten, but after a plateau the count of epochs starts anew, at the lower rate. "Stopped
    improving" is the paper's wording (section 5); the authors judged it by eye.
    """
    best, waited, plateaus = float("inf"), 0, 0
    for error in errors:
        if error < best:
            best, waited = error, 0
        else:
            waited += 1
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def rate(schedule: ScheduleConfig, lr: float, drops: int) -> float:
    """The learning rate after some drops."""
    return float(lr / schedule.factor**drops)
