"""What can be read of a `metrics.csv`, whole or not."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alexnet.runs.metrics import EpochRecord, lr_drops, read_metrics, write_metrics

HEADER = (
    "epoch,step,rate,train_loss,train_top1_error,train_top5_error,val_loss,val_top1_error,val_top5_error,seconds,"
    "images_per_second"
)
FIRST = "0,10,0.01,4.5,95.5,80,4.1,94.25,79,3,500"
FLOATS = ("rate", "train_loss", "train_top1_error", "train_top5_error", "seconds", "images_per_second")
SECOND = "1,20,0.001,4.1,90,75,3.9,89,70,3,500"


def write(folder: Path, *lines: str) -> Path:
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_every_epoch_is_read(tmp_path: Path) -> None:
    metrics = read_metrics(write(tmp_path, HEADER, FIRST, SECOND))
    assert metrics.problem is None
    errors = [(epoch.epoch, epoch.rate, epoch.train_top1_error, epoch.val_top1_error) for epoch in metrics.epochs]
    assert errors == [(0, 0.01, 95.5, 94.25), (1, 0.001, 90.0, 89.0)]
    assert lr_drops(metrics.epochs) == [metrics.epochs[1]]


def test_without_validation_images(tmp_path: Path) -> None:
    (epoch,) = read_metrics(write(tmp_path, HEADER, "0,10,0.01,4.5,95.5,80,,,,3,500")).epochs
    assert epoch.val_top1_error is None


def test_further_columns_do_not_matter(tmp_path: Path) -> None:
    assert len(read_metrics(write(tmp_path, f"{HEADER},power", f"{FIRST},7")).epochs) == 1


@pytest.mark.parametrize(
    "damaged",
    ["1,20,0.001,4.1,nan,75,3.9,89,70,3,500", "1,20,", "x", "1,20,0.001,4.1,90,75,3.9,high,70,3,500", FIRST, "\0"],
)
def test_what_stands_before_the_damage_is_kept(tmp_path: Path, damaged: str) -> None:
    metrics = read_metrics(write(tmp_path, HEADER, FIRST, damaged, "2,30,0.001,4,80,70,3,80,70,3,500"))
    assert [epoch.epoch for epoch in metrics.epochs] == [0]
    assert metrics.problem is not None and metrics.problem.startswith("metrics.csv: damaged after epoch 1: ")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [((HEADER,), "no epoch in it"), (("epoch,rate", "0,0.01"), "damaged after epoch 0: step: missing")],
)
def test_without_an_epoch(tmp_path: Path, lines: tuple[str, ...], problem: str) -> None:
    metrics = read_metrics(write(tmp_path, *lines))
    assert (metrics.epochs, metrics.problem) == ((), f"metrics.csv: {problem}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert read_metrics(tmp_path).problem == "metrics.csv: missing"


def test_bytes_that_are_no_text_are_damage(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    problem = read_metrics(tmp_path).problem
    assert problem is not None and "damaged" in problem


@given(
    records=st.lists(
        st.builds(
            EpochRecord,
            epoch=st.integers(0, 999),
            step=st.integers(0, 10**6),
            **{name: st.floats(0, 100) for name in FLOATS},
            **{name: st.none() | st.floats(0, 100) for name in ("val_loss", "val_top1_error", "val_top5_error")},
        ),
        unique_by=lambda record: record.epoch,
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back(tmp_path: Path, records: list[EpochRecord]) -> None:
    ordered = sorted(records, key=lambda record: record.epoch)
    write_metrics(tmp_path, ordered)
    assert read_metrics(tmp_path).epochs == tuple(ordered)
