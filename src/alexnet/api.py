"""Training from Python and notebooks."""

from pathlib import Path

from alexnet.commands.train import do
from alexnet.config.job import check
from alexnet.runs.collect import Run, load_run
from alexnet.terminal import Terminal
from alexnet.trained.weights import weights_digest


def train(*overrides: str) -> Run:
    """Train and evaluate one network, or return the run if it is finished; an interrupted one is resumed.

    `overrides` are those of the command line: `train("+ablation=no_lrn", "seed=1", "data.root=/packs/mine")`. The run
    directory is the command's, in `runs/` below the current folder.

    Raises:
        UserError: as the command's refusal, or training diverged.
    """
    job = check(list(overrides), weights_digest=weights_digest)
    directory = Path(job.config.runs) / job.name
    do(job, directory, Terminal())
    return load_run(directory)
