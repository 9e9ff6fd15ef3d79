"""Two trained runs of a few seconds, which all tests of commands look into."""

from pathlib import Path

import pytest

from tests.conftest import checked
from tests.training.conftest import FEW, NARROW, execute


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pack `packs/...` and the runs `runs/seed0` and `runs/seed1`; do not write there."""
    folder = tmp_path_factory.mktemp("trained")
    for seed in (0, 1):
        job = checked(*NARROW, *FEW, f"data.packs={folder / 'packs'}", "optimizer.lr=0.001", f"seed={seed}")
        execute(job, folder / "runs" / f"seed{seed}")
    return folder


@pytest.fixture(scope="session")
def pack(runs: Path) -> Path:
    (found,) = (runs / "packs").glob("shapes-*")
    return found


@pytest.fixture
def trained(runs: Path) -> Path:
    """The run directory of seed 0."""
    return runs / "runs" / "seed0"
