"""Runs whose network lies on two processes: the numbers, the files and the checkpoints of one device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from alexnet.config.job import Job
from alexnet.errors import UserError
from alexnet.results import RESULT_FILE, Result, read_result
from alexnet.training.run import preflight, run
from tests.training.conftest import MakeJob, checkpoint, execute, state

TWO = "placement=two_devices"


def assert_close(one: Path, other: Path, *, within: float = 1e-5) -> None:
    """Two runs ended alike but for rounding: weights, velocities and probabilities, over the largest of each."""
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert float((value - second[key]).abs().max()) <= within * float(value.abs().max()), key
    for file in ("first_layer.npz", "probabilities.npz"):
        with np.load(one / file) as mine, np.load(other / file) as theirs:
            assert mine.files == theirs.files
            for name in (name for name in mine.files if mine[name].dtype.kind == "f"):
                np.testing.assert_allclose(theirs[name], mine[name], rtol=0, atol=within)


def on_two_devices(job: Job, directory: Path) -> tuple[Result, str]:
    """As `execute`; what other processes print goes through a file."""
    directory.mkdir(exist_ok=True)
    screen = directory / "screen.txt"
    with screen.open("w", encoding="utf-8") as file:
        result = run(job, directory, console=Console(file=file, width=120))
    return result, screen.read_text(encoding="utf-8")


def groups(directory: Path) -> Any:
    return checkpoint(directory)["optimizer_states"][0]["param_groups"]


def test_two_devices_continue_what_one_began_and_the_reverse(tiny: MakeJob, tmp_path: Path) -> None:
    mixed, alone, longer = (tmp_path / name for name in ("mixed", "alone", "longer"))
    execute(tiny("schedule.epochs=1", "schedule.drops=[]"), mixed)
    (mixed / RESULT_FILE).unlink()
    result, screen = on_two_devices(tiny(TWO), mixed)
    assert screen.count("epoch ") == 1 and result.device.startswith("2 processes, each on cpu")
    expected, _ = execute(tiny(), alone)
    assert result.errors == expected.errors and result.parameters == expected.parameters
    assert groups(mixed) == groups(alone)
    assert_close(alone, mixed)

    (mixed / RESULT_FILE).unlink()
    further = ("schedule.epochs=3", "schedule.drops=[1]")
    _, screen = execute(tiny(*further), mixed)
    assert screen.count("epoch ") == 1
    execute(tiny(*further), longer)
    assert_close(longer, mixed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "within"),
    [
        (("trainer=ddp", "trainer.replicas=2"), 1e-5),
        (("trainer=ddp", "trainer.replicas=3", "optimizer.batch_size=29"), 1e-5),  # the last batch has two images
        (("columns=isolated", "recipe=source_2012", "schedule=epochs_20", "schedule.scaled_to=2"), 1e-5),
        (("head=bottleneck", "depth=six", "hardware.compile=true"), 1e-5),
        (("hardware.precision=bf16-mixed",), 0.05),
    ],
    ids=["two copies", "three copies, few images", "source", "compiled", "bfloat16"],
)
def test_other_runs_on_two_devices(tiny: MakeJob, tmp_path: Path, overrides: tuple[str, ...], within: float) -> None:
    on_two_devices(tiny(TWO, *overrides), tmp_path / "two")
    alone = [override for override in overrides if not override.startswith("trainer")]
    execute(tiny(*alone), tmp_path / "one")
    assert read_result(tmp_path / "two").status == "finished"
    assert_close(tmp_path / "one", tmp_path / "two", within=within)


def test_a_net_with_one_column_is_refused(tiny: MakeJob) -> None:
    with pytest.raises(UserError, match="columns=one has one: choose columns=two"):
        preflight(tiny(TWO, "columns=one"))
