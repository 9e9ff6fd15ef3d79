"""The names of the files in a run directory."""

from pathlib import Path

from alexnet.errors import UserError

RESULT_FILE = "result.json"
CONFIG_FILE = "config.yaml"
METRICS_FILE = "metrics.csv"
PREDICTIONS_FILE = "predictions.npz"
PROBABILITIES_FILE = "probabilities.npz"
FIRST_LAYER_FILE = "first_layer.npz"
PACKAGES_FILE = "packages.txt"
"""The packages that were installed, with their versions."""
PATCH_FILE = "uncommitted.patch"
"""By how much the code differed from its revision."""
LOCK_FILE = ".lock"
FIRST_LOCK = ".first.lock"
"""Held by the first of several processes that train one network."""
TERMINAL_LOG = "screen.log"
"""What a run prints when it shares the terminal with others."""
CHECKPOINTS = "checkpoints"
LAST = "last"
PREVIOUS = "previous"
BEST = "best"
"""Names of checkpoints, without `.ckpt`."""
WANDB, TENSORBOARD, CSV_LOG = "wandb", "tensorboard", "csv"
"""What the loggers write."""
PROFILE = "profile"
"""What `trainer.profiler` measures."""
FIGURES = "figures"
"""The folder of the paper's figures."""
STACKS_FILE = "stacks.txt"
"""What each thread was doing when a run stood still."""
COMPUTED = (RESULT_FILE, PREDICTIONS_FILE, PROBABILITIES_FILE, FIRST_LAYER_FILE, METRICS_FILE, STACKS_FILE)
"""Files that a restarted run must not inherit."""
COMPUTED_FOLDERS = (CHECKPOINTS, WANDB, TENSORBOARD, CSV_LOG, PROFILE)
"""The same of folders."""


def last_checkpoint(directory: Path) -> Path:
    """Return the checkpoint that a run resumes from; it may not exist."""
    return directory / CHECKPOINTS / f"{LAST}.ckpt"


def previous_checkpoint(directory: Path) -> Path:
    """Return the checkpoint before the last, for a run whose last one is damaged; it may not exist."""
    return directory / CHECKPOINTS / f"{PREVIOUS}.ckpt"


def weights_file(path: Path) -> Path:
    """Return `path` itself if it is a file, or the last checkpoint of a run directory.

    Raises:
        UserError: there is none.
    """
    for file in (path, last_checkpoint(path), path / f"{LAST}.ckpt"):
        if file.is_file():
            if file != path and (file.is_symlink() or (file.parent.is_symlink() and file.parent != path)):
                raise UserError(f"{file}: reached by a symbolic link, which is not followed; pass the file itself")
            return file
    if path.is_dir():
        raise UserError(f"{path}: no {CHECKPOINTS}/{LAST}.ckpt in it; pass a run directory or a checkpoint")
    raise UserError(f"{path}: no such run directory or checkpoint")


def codes_file(directory: Path, layer: str, bits: int) -> Path:
    """Return the file of short binary codes; the figures about them stand beside it, as `.json`."""
    return directory / f"codes-{layer}-{bits}.pt"
