"""The checkpoints of a run: how they are written, and which one it resumes from."""

import io
from hashlib import sha256
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from rich.console import Console

from alexnet.config.identity import NUMERICS
from alexnet.config.job import Job
from alexnet.data.pack.pack import Pack
from alexnet.errors import START_OVER, UserError, first_line
from alexnet.files import replace_file, sync_folder
from alexnet.runs.directory import BEST, CHECKPOINTS, COMPUTED, LAST, WANDB, last_checkpoint, previous_checkpoint
from alexnet.runs.metrics import EpochRecord
from alexnet.runs.result import refuse_other
from alexnet.trained.weights import read_checkpoint
from alexnet.training.hardware import most_threads
from alexnet.training.history import History
from alexnet.untrusted import refuse_link


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, beside their place; the one before stays until the next.

    Lightning's own writer goes through `TMPDIR` and, where that is another file system, writes over the old file.
    """

    def __init__(self, directory: Path) -> None:
        self._previous = previous_checkpoint(directory)
        self._sound: Path | None = None
        """The checkpoint that this process has read or written: a damaged one must not replace the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        assert storage_options is None
        path, buffer = Path(path), sealed(checkpoint)
        path.parent.mkdir(exist_ok=True)
        replace_file(path, buffer.getbuffer(), former=self._previous if self._sound == path else None)
        self._sound = path

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        self._sound = Path(path)
        return super().load_checkpoint(path, *arguments, **options)


def sealed(checkpoint: dict[str, Any]) -> io.BytesIO:
    """Save a checkpoint as torch does, its SHA-256 as the comment at the end of the archive, which torch passes over.

    A run resumes from what it has written alone: a change of the optimizer's state, say, would be in no result.
    """
    torch.save(checkpoint, buffer := io.BytesIO())
    digest = sha256(buffer.getbuffer()[:-2]).hexdigest().encode()  # the last two bytes are the comment's length
    buffer.seek(-2, io.SEEK_END)
    buffer.write(len(digest).to_bytes(2, "little") + digest)
    return buffer


def _read_sealed(path: Path) -> dict[str, Any]:
    """Read a checkpoint that `sealed` made; UserError if it is damaged, or has been written by anything else."""
    saved = read_checkpoint(path)
    content = np.memmap(path, np.uint8, "r").data
    if sha256(content[:-66]).hexdigest().encode() != bytes(content[-64:]):
        raise UserError(f"{path} is of another version of this program, or has been changed")
    return saved


def checkpoint_callbacks(directory: Path, history: History) -> list[L.Callback]:
    """`last.ckpt` after every epoch, and `best.ckpt` by validation error; each is replaced in one step."""
    folder = directory / CHECKPOINTS
    last = ModelCheckpoint(folder, filename=LAST, enable_version_counter=False, save_on_train_epoch_end=True)
    return [last, BestCheckpoint(folder, history)]


class BestCheckpoint(Checkpoint):
    """Keeps the last checkpoint as the best one if it is: the same file under a second name, at no cost.

    Nothing writes into a checkpoint: the next one is another file, renamed over the last. Must come after the callback
    that saves the last. All of its state is the history: a run killed between the two makes up for it when resumed.
    """

    def __init__(self, folder: Path, history: History) -> None:
        self.last, self.best = (folder / f"{name}.ckpt" for name in (LAST, BEST))
        self.history = history

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        records = self.history.records
        if records and records[-1].step == trainer.global_step:  # the checkpoint is that of an epoch's end
            assert trainer.ckpt_path is not None
            self._keep(trainer, Path(trainer.ckpt_path))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._keep(trainer, self.last)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._keep(trainer, self.last)  # without a last epoch to train: no training has started

    def _keep(self, trainer: L.Trainer, checkpoint: Path) -> None:
        errors = [record.val_top1_error for record in self.history.records if record.val_top1_error is not None]
        if not (trainer.is_global_zero and errors and errors.index(min(errors)) == len(errors) - 1):
            return
        partial = self.best.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        try:
            partial.hardlink_to(checkpoint)
        except OSError:  # the file system has no hard links
            replace_file(self.best, checkpoint.read_bytes())
        else:
            partial.replace(self.best)
            partial.unlink(missing_ok=True)  # renaming one name of a file to another of the same does nothing
            sync_folder(self.best.parent)


def refuse_links(directory: Path) -> None:
    """Refuse symbolic links where a run would write or read behind them: a received directory may hold some.

    Also a folder in the place of a file, which would be met at the end of training.
    """
    checkpoints = list((directory / CHECKPOINTS).glob("*.ckpt"))
    for path in (directory / CHECKPOINTS, directory / WANDB, *checkpoints):
        refuse_link(path)
    for path in (*checkpoints, *(directory / name for name in COMPUTED)):
        if path.is_dir():
            raise UserError(f"{path}: a folder lies in the place of a file; move it away")


def discard_unfinished(directory: Path) -> None:
    """Remove what a killed process left half-written."""
    folder = directory / CHECKPOINTS
    for leftover in (*folder.glob(".*.ckpt.*"), *folder.glob("*.partial"), *directory.glob(".*.*.[0-9]*")):
        if leftover.is_symlink() or not leftover.is_dir():
            leftover.unlink()


def checkpoint_to_resume(
    job: Job, directory: Path, pack: Pack, console: Console
) -> tuple[Path | None, int | None, Any]:
    """Return the checkpoint to resume from, if there is one, and the CPU threads and facts that it was computed with.

    It is the one before the last where the last is damaged. UserError: all are damaged; or it is of another run, other
    images, code of other NUMERICS, or a version that keeps something else.
    """
    last, previous = last_checkpoint(directory), previous_checkpoint(directory)
    if not (last.exists() or previous.exists()):
        return None, None, None
    path = last
    try:
        saved = _read_sealed(last)
    except UserError as error:
        if not previous.exists():
            raise UserError(f"{error}; {START_OVER}") from error
        path, fault = previous, str(error)
        try:
            saved = _read_sealed(previous)
        except UserError:
            raise UserError(f"{fault}, and {previous.name} cannot be used either; {START_OVER}") from error
        console.print(f"{fault}; continuing from {previous.name}")
    trained = saved["alexnet"]
    if (numerics := trained.get("numerics", 0)) != NUMERICS:
        text = f"{path} is of NUMERICS {numerics}, and this code computes other numbers, NUMERICS {NUMERICS}"
        raise UserError(f"{text}; {START_OVER}")
    refuse_other(path, job.name, job.identity, trained.get("run", "unnamed"), trained.get("identity"))
    if trained["data_fingerprint"] != pack.fingerprint:
        raise UserError(f"{path} was trained on other images than {pack.path} holds now; {START_OVER}")
    try:  # Lightning would leave out what is missing, without a word
        callbacks = saved["callbacks"]
        _ = [EpochRecord(**record) for record in callbacks["History"]["records"]]
        _ = callbacks["History"]["under_way"], callbacks["Preemption"]["under_way"]
        _ = saved["loops"], saved["optimizer_states"]
        console.print(f"continuing after step {saved['global_step']:,}")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is of another version of this program ({first_line(error)}); {START_OVER}") from error
    threads = trained.get("threads")  # those of earlier versions do not say
    threads = threads if isinstance(threads, int) and 0 < threads <= most_threads() else None
    return path, threads, trained.get("facts")
