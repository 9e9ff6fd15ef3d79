"""Runs whose network lies on two processes: the numbers, the files and the checkpoints of one device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet.errors import UserError
from alexnet.results import RESULT_FILE, read_result
from alexnet.training.run import preflight
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


def kept(directory: Path) -> list[str]:
    """The rows of metrics.csv with their times, which tell whether an epoch was trained again."""
    (directory / RESULT_FILE).unlink()
    return (directory / "metrics.csv").read_text().splitlines()


def groups(directory: Path) -> Any:
    return checkpoint(directory)["optimizer_states"][0]["param_groups"]


def test_two_devices_continue_what_one_began_and_the_reverse(tiny: MakeJob, tmp_path: Path) -> None:
    mixed, alone, longer = (tmp_path / name for name in ("mixed", "alone", "longer"))
    execute(tiny("schedule.epochs=1", "schedule.drops=[]"), mixed)
    before = kept(mixed)
    result, _ = execute(tiny(TWO), mixed)
    assert result.device.startswith("2 processes, each on cpu")
    expected, _ = execute(tiny(), alone)
    assert result.errors == expected.errors and result.parameters == expected.parameters
    assert groups(mixed) == groups(alone)
    assert_close(alone, mixed)

    after = kept(mixed)
    assert len(after) == len(before) + 1 and after[: len(before)] == before
    further = ("schedule.epochs=3", "schedule.drops=[1]")
    execute(tiny(*further), mixed)
    execute(tiny(*further), longer)
    assert_close(longer, mixed)
    assert kept(mixed)[: len(after)] == after


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
def test_other_runs_execute(tiny: MakeJob, tmp_path: Path, overrides: tuple[str, ...], within: float) -> None:
    execute(tiny(TWO, *overrides), tmp_path / "two")
    alone = [override for override in overrides if not override.startswith("trainer")]
    execute(tiny(*alone), tmp_path / "one")
    assert read_result(tmp_path / "two").status == "finished"
    assert_close(tmp_path / "one", tmp_path / "two", within=within)


def test_a_net_with_one_column_is_refused(tiny: MakeJob) -> None:
    with pytest.raises(UserError, match="columns=one has one: choose columns=two"):
        preflight(tiny(TWO, "columns=one"))
