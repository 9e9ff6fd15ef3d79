"""What the run's loop costs: epochs of the demo in Lightning's trainer with our callbacks, and in a plain loop.

python benchmarks/overhead.py [--rounds 7] [OVERRIDES ...]          of train.py; without any, the demo

Both train the same module with the same loader, loss and optimizer, on one thread of one core, in interleaved rounds of
three epochs. Validation, tests and result files are left out; the callbacks of a run and the checkpoint of each epoch
are in, and so is the setup of a trainer. Compare processor times: they bear other work on the machine.
"""

import argparse
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import lightning as L
from rich.console import Console

from alexnet.config.compose import register
from alexnet.config.job import Job, check
from alexnet.data.pack.pack import Pack
from alexnet.training.checkpoints import WholeCheckpoints, checkpoint_callbacks
from alexnet.training.datamodule import PackDataModule
from alexnet.training.display import RunDisplay
from alexnet.training.distributed import SINGLE_PROCESS
from alexnet.training.fit import preflight, silence_lightning
from alexnet.training.hardware import trainer_options
from alexnet.training.history import History, LrSchedule
from alexnet.training.module import AlexNetModule
from alexnet.training.preemption import Preemption
from measuring import Parts, Stopwatch, as_plain, interleaved, one_core, print_table, save

EPOCHS = 3


def run_loop(job: Job, pack: Pack, folder: Path) -> Parts:
    """Train as a run does."""
    watch, history = Stopwatch(), History(folder)
    module, data = AlexNetModule(job.config, job.tree, pack), PackDataModule(pack, job.config)
    trainer = L.Trainer(
        **trainer_options(job.config.hardware, SINGLE_PROCESS, WholeCheckpoints(folder)),
        max_epochs=EPOCHS,
        limit_val_batches=0,
        logger=False,
        callbacks=[
            history,
            LrSchedule(job.config, history),
            RunDisplay(Console(file=StringIO()), history, live=False),
            Preemption(folder),
            *checkpoint_callbacks(folder, history),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
    )
    with watch.part("all"):
        trainer.fit(module, data)
    return watch.parts


def plain_loop(job: Job, pack: Pack) -> Parts:
    """Train as long without Lightning's loop; every epoch has the first one's images."""
    watch = Stopwatch()
    module, data = AlexNetModule(job.config, job.tree, pack), PackDataModule(pack, job.config)
    optimizer = module.configure_optimizers()
    module.train()
    with watch.part("all"):
        for _ in range(EPOCHS):
            for batch_idx, batch in enumerate(data.train_dataloader()):
                optimizer.zero_grad()
                module.training_step(batch, batch_idx).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    data.close()
    return watch.parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    register()
    job = check(["hardware.accelerator=cpu", "hardware.threads=1", *options.overrides])
    pack = preflight(job)  # draws the images of the demo, if that has not been done
    silence_lightning()
    one_core()
    with TemporaryDirectory() as folder:
        ways = {
            "a plain loop": partial(plain_loop, job, pack),
            "the run's loop": partial(run_loop, job, pack, Path(folder)),
        }
        seconds = {name: parts["all"] for name, parts in interleaved(ways, rounds=options.rounds).items()}
    plain, ours = seconds.values()
    steps = EPOCHS * -(-len(pack.splits["train"]) // job.config.optimizer.batch_size)
    header = ["three epochs in", "on the processor, s", "by the clock, s"]
    print_table(header, [[name, f"{spent.cpu:.2f}", f"{spent.wall:.2f}"] for name, spent in seconds.items()])
    ratio, beside = ours.cpu / plain.cpu, 1e3 * (ours.cpu - plain.cpu) / steps
    print(f"{steps} steps, lightning {L.__version__}: {ratio:.3f} times the processor, {beside:.2f} ms more per step")
    print(save("overhead", options.rounds, as_plain(seconds), steps=steps))


if __name__ == "__main__":
    main()
