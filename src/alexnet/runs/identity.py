"""Whose a directory is: it is used only for the run whose identity its result holds."""

import os
from pathlib import Path

from alexnet.config.schema import run_label
from alexnet.errors import UserError
from alexnet.runs.directory import RESULT_FILE
from alexnet.runs.result import Result, read_result


def refuse_other(path: Path, name: str, identity: str, found: str, found_identity: str | None) -> None:
    """Refuse a file of another run than the one of this name and identity.

    Raises:
        UserError: names both identities and what to do.
    """
    if found_identity != identity:
        raise UserError(
            f"{path} is of another run, {found} (identity {found_identity or 'unknown'}), not of {name} (identity"
            f" {identity}): leave out hydra.run.dir, or give a directory of its own, or move that run away"
        )


def finished_run(directory: Path, name: str, identity: str, *, restart: bool) -> Result | None:
    """Return the result of a run if it has finished and is not to be restarted, and None otherwise.

    Raises:
        UserError: the directory holds the result of another run, or one that cannot be read.
    """
    if not os.path.lexists(directory / RESULT_FILE):
        return None
    try:
        result = read_result(directory)
    except UserError:
        if restart:
            return None
        raise
    label = run_label(result.experiment, result.ablation, result.seed)
    is_told = label == name.rpartition("-")[0]  # a result may have been changed
    found = f"{label}, NUMERICS {result.numerics}"
    refuse_other(directory / RESULT_FILE, name, identity, found, result.identity if is_told else None)
    return result if result.status == "finished" and not restart else None
