"""Whether a queued job runs the code and the choices of the moment at which it was queued."""

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from alexnet.config.compose import ABLATIONS, CONF
from alexnet.errors import UserError

VARIABLE = "ALEXNET_QUEUED_SOURCE"
"""Hands the digest to the jobs: launchers and schedulers pass the environment on."""
PACKAGE = Path(__file__).parents[1]


def source_digest(folders: Iterable[Path]) -> str:
    """Hash the package's code, its choices, and those in the user's own folders."""
    digest = sha256()
    for folder in (PACKAGE, CONF, ABLATIONS, *folders):
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.yaml")]):
            digest.update(f"{file} ".encode() + sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def note_source(hydra: Any) -> None:
    """Note the code and choices for the jobs that are about to be queued."""
    os.environ[VARIABLE] = source_digest(_folders(hydra))


def check_source(hydra: Any) -> None:
    """Refuse a queued job whose code or choices have changed since; a `UserError`."""
    noted = os.environ.get(VARIABLE)
    if noted is not None and noted != source_digest(_folders(hydra)):
        raise UserError("the code or the choices in conf/ changed after this job was queued: give the command again")


def _folders(hydra: Any) -> list[Path]:
    sources = hydra.runtime.config_sources
    return sorted(Path(one.path) for one in sources if one.schema == "file" and Path(one.path) != CONF)
