"""What a trained network has seen, and how often it is right when it is sure."""

from alexnet.errors import UserError
from alexnet.evaluation.table import VIEW_NAMES
from alexnet.runs.collect import Run, load_run
from alexnet.runs.directory import last_checkpoint
from alexnet.trained.network import TrainedModel

SURE = 0.9
"""Probability from which a prediction counts as sure."""
FEWEST = 20
"""Sure predictions without which nothing is said of them."""
ELSEWHERE = "on pictures unlike those its percentages say little, since it gives all of them to the classes it knows"


def about(trained: TrainedModel, view: str) -> str:
    """Say in a line what the network was trained on, its error, and what its probabilities are worth."""
    classes, name = len(trained.class_names), trained.config.data.name
    run = _finished_run(trained)
    if run is None:
        return (
            f"{trained.name} knows {classes:,} classes of {name}; this file does not say how often it is right"
            f" (alexnet evaluate); {ELSEWHERE}"
        )
    result = run.result
    split = "test" if "test" in result.errors else "val"
    rates = result.errors[split][view]
    epochs = f", in {result.training.epochs:,} epochs" if result.training else ""
    return (
        f"{trained.name} was trained on {result.data.images['train']:,} images of {result.data.name}, {classes:,}"
        f" classes{epochs}; of {rates.images:,} {split} images it gets {100 * rates.top1:.1f} % wrong"
        f" ({VIEW_NAMES[view]}){_when_sure(run, split, view)}; {ELSEWHERE}"
    )


def _finished_run(trained: TrainedModel) -> Run | None:
    """Return the run whose errors are those of this very file."""
    directory = trained.directory
    if trained.path.resolve() != last_checkpoint(directory).resolve():
        return None
    try:
        run = load_run(directory)
    except UserError:
        return None
    return run if run.finished else None


def _when_sure(run: Run, split: str, view: str) -> str:
    try:
        seen = run.predictions(split, view)
    except UserError:
        return ""
    sure = seen.top5_probabilities[:, 0] > SURE
    if (count := int(sure.sum())) < FEWEST:
        return f", and is seldom surer than {100 * SURE:.0f} %"
    right = 100 * seen.top1_correct[sure].mean()
    return f"; of the {count:,} with more than {100 * SURE:.0f} % for one class, {right:.0f} % were right"
