"""Averages of probabilities against numpy, their weights, and which nets belong together."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats

from alexnet.errors import UserError
from alexnet.runs.arrays import ViewPredictions, read_probabilities, write_probabilities
from alexnet.study.paper.ensemble import (
    START,
    common_split,
    ensemble,
    plain_mean,
    ranks,
    read_members,
    read_nets,
    report_ensemble,
    single_errors,
    tuned_weights,
)
from alexnet.study.statistics import error_interval, mean_interval
from tests.study.made_up import result, unfinished

Probabilities = NDArray[np.float32]


def drawn(seed: int, members: int, images: int, classes: int) -> tuple[list[Probabilities], NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    found = [rng.dirichlet(np.ones(classes), images).astype(np.float32) for _ in range(members)]
    return found, rng.integers(0, classes, images).astype(np.int32)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6), members=st.integers(1, 4), images=st.integers(2, 30), classes=st.integers(2, 12),
    weights=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)  # fmt: skip
def test_ranks_are_those_of_a_stable_sort(
    seed: int, members: int, images: int, classes: int, weights: list[float]
) -> None:
    nets, labels = drawn(seed, members, images, classes)
    scores = sum(w * net.astype(np.float64) for w, net in zip(weights, nets, strict=False))
    order = np.argsort(-np.asarray(scores), axis=1, kind="stable")
    expected = (order == labels[:, None]).argmax(axis=1)
    np.testing.assert_array_equal(ranks(nets, weights[:members], labels), expected)


def test_an_average_differs_from_the_vote_of_top_fives() -> None:
    """A class that is second for both nets is first for their mean."""
    nets = [np.array([[0.5, 0.0, 0.4, 0.1]], np.float32), np.array([[0.0, 0.5, 0.4, 0.1]], np.float32)]
    together = plain_mean(nets, np.array([2], np.int32))
    assert together.errors["top1"].percent == 0
    assert [errors["top1"].percent for errors in single_errors(nets, np.array([2], np.int32))] == [100, 100]
    assert together.contrasts["top1"].to_mean == -100 and together.contrasts["top1"].to_best.delta == -100


def test_equal_scores_do_not_count_as_right() -> None:
    nets = [np.full((10, 10), 0.1, np.float32)]
    assert ensemble("mean", nets, [0.0], np.arange(10, dtype=np.int32)).errors["top5"].percent == 50


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_tuned_weights_are_no_worse_and_lie_on_the_grid(seed: int) -> None:
    nets, labels = drawn(seed, 3, 40, 12)
    weights = tuned_weights(nets, labels)

    def wrong(chosen: tuple[float, ...]) -> int:
        return int((ranks(nets, chosen, labels) >= 5).sum())

    assert wrong(weights) <= wrong((START,) * 3)
    assert all(0 <= weight <= 1 and round(20 * weight, 9).is_integer() for weight in weights)
    assert any(tuned_weights(nets, labels % 5))  # weights of 0 would be right on the first five classes


def test_tuning_finds_the_net_that_knows() -> None:
    """One net knows every label, the other is sure of a wrong one in so many words that the mean is wrong."""
    labels = np.arange(12, dtype=np.int32)
    knows = np.full((12, 12), 0.05, np.float32)
    knows[np.arange(12), labels] = 0.45
    misleads = np.full((12, 12), 0.0, np.float32)
    for shift in range(1, 6):
        misleads[np.arange(12), (labels + shift) % 12] = 0.5 + 0.01 * shift  # beyond what a net says, to be decisive
    even = plain_mean([knows, misleads], labels)
    weights = tuned_weights([knows, misleads], labels)
    assert even.errors["top5"].percent == 100
    assert ensemble("tuned", [knows, misleads], weights, labels).errors["top5"].percent == 0


@pytest.mark.parametrize(("wrong", "images"), [(0, 20), (3, 20), (1000, 5000), (20, 20)])
def test_the_interval_of_an_error_is_wilson_s(wrong: int, images: int) -> None:
    expected = stats.binomtest(wrong, images).proportion_ci(0.95, method="wilson")
    found = error_interval(wrong, images)
    assert found.low == pytest.approx(100 * expected.low, abs=1e-9)
    assert found.high == pytest.approx(100 * expected.high, abs=1e-9)


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    values = np.random.default_rng(3).normal(2, 30, 400)
    expected = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    np.testing.assert_allclose(mean_interval(values), expected)


def save(
    folder: Path,
    name: str,
    *,
    seed: int,
    splits: tuple[str, ...] = ("val", "test"),
    print_: str = "d1",
    classes: int = 7,
) -> Path:
    directory = folder / name
    directory.mkdir(parents=True)
    answers = {}
    for number, split in enumerate(splits):
        (probabilities,), _ = drawn(seed + number, 1, 20, classes)
        labels = drawn(number, 1, 20, classes)[1]
        answers[split] = {"ten_crop": ViewPredictions.from_top(labels, [[0]] * 20, [[1.0]] * 20, probabilities)}
    names = [f"class {number}" for number in range(classes)]
    write_probabilities(directory, answers, net=name, fingerprint=print_, class_names=names)
    return directory


def test_members_are_found_in_folders_and_read_back(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path / "runs", f"net{seed}", seed=100 * seed)
    nets = read_nets([tmp_path / "runs", tmp_path / "runs" / "net1"])
    assert [header.net for header in nets.values()] == ["net0", "net1", "net2"]
    assert common_split(nets, None) == "test" and common_split(nets, "val") == "val"
    members, labels = read_members(nets, "test", "ten_crop")
    np.testing.assert_array_equal(members[2], drawn(201, 1, 20, 7)[0][0])
    np.testing.assert_array_equal(labels, drawn(1, 1, 20, 7)[1])


def test_nets_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one = save(tmp_path, "one", seed=0)
    with pytest.raises(UserError, match="other images or classes"):
        read_nets([one, save(tmp_path, "two", seed=1, print_="d2")])
    with pytest.raises(UserError, match="of one net, one"):
        read_nets([one, save(tmp_path / "copy", "one", seed=0)])
    for numerics in (0, 1):
        directory = save(tmp_path / "numerics", f"net{numerics}", seed=numerics)
        replace(result(seed=numerics), numerics=numerics).write(directory)
    with pytest.raises(UserError, match=r"net0 \(NUMERICS 0\), .*net1 \(NUMERICS 1\)"):
        read_nets([tmp_path / "numerics"])
    valued = save(tmp_path, "three", seed=3, splits=("val",))
    assert common_split(read_nets([one, valued]), None) == "val"
    with pytest.raises(UserError, match="no probabilities for test"):
        common_split(read_nets([one, valued]), "test")
    with pytest.raises(UserError, match="not a folder"):
        read_nets([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="in it or below"):
        read_nets([tmp_path / "empty"])


def test_damaged_probabilities_are_named(tmp_path: Path) -> None:
    directory = save(tmp_path, "one", seed=0)
    file = directory / "probabilities.npz"
    with pytest.raises(UserError, match="no probabilities for test/center"):
        read_probabilities(directory, "test", "center")
    content = file.read_bytes()
    for damage in (content[:-100], b"", content.replace(b"version", b"velsion")):
        file.write_bytes(damage)
        with pytest.raises(UserError, match="damaged"):
            read_nets([directory])
    scores = np.array([[2.0, -1.0], [0.5, 0.25]], np.float32)  # the first row adds up to 1
    for rows in (scores[:1], scores[1:]):
        answers = {"test": {"center": ViewPredictions.from_top([0], [[0]], [[1.0]], rows)}}
        write_probabilities(directory, answers, net="one", fingerprint="d1", class_names=["a", "b"])
        with pytest.raises(UserError, match="test/center: no probabilities: a number is negative, or a row does not"):
            read_probabilities(directory, "test", "center")


@pytest.mark.parametrize("classes", [7, 3])
def test_report_ensemble_writes_what_it_prints(tmp_path: Path, classes: int) -> None:
    for seed in range(2):
        save(tmp_path / "runs", f"net{seed}|x", seed=100 * seed, classes=classes)
    console = Console(file=io.StringIO(), width=200)
    report_ensemble([tmp_path / "runs"], split=None, view="ten_crop", output=tmp_path / "out", console=console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    found = json.loads((tmp_path / "out" / "ensemble.json").read_text())
    assert (found["nets"], found["split"], found["images"]) == (["net0|x", "net1|x"], "test", 20)
    assert [one["name"] for one in found["ensembles"]] == ["mean", "tuned weights"]
    mean = found["ensembles"][0]
    assert mean["weights"] == [0.5, 0.5]
    text = (tmp_path / "out" / "ensemble.md").read_text()
    row = f"{mean['errors']['top1']['percent']:.2f} | [{mean['errors']['top1']['interval'][0]:.2f}, "
    assert "\n2 nets on 20 test images, ten crops.\n" in text
    assert f"| mean of all | {row}" in text and "| net0\\|x |" in text
    assert "mean of all" in printed and "Mean, top-1: " in printed and "Written to" in printed
    few = classes < 5
    assert ("top-5" in text.split("Fewer than five")[0]) != few == ("Fewer than five classes" in printed)


def test_report_ensemble_refuses_one_net_and_nets_without_probabilities(tmp_path: Path) -> None:
    one = save(tmp_path, "one", seed=0)
    with pytest.raises(UserError, match="at least two nets"):
        report_ensemble([one], split=None, view="ten_crop", output=None, console=Console(file=io.StringIO()))
    bare = tmp_path / "bare"
    bare.mkdir()
    for directory in (bare, save(tmp_path, "begun", seed=1)):  # the latter as `evaluate --predictions` leaves it
        unfinished(result(), "failed", "diverged").write(directory)
        with pytest.raises(UserError, match=rf"{directory.name} has not finished \(failed\)"):
            read_nets([one, directory])
    result().write(bare)
    with pytest.raises(UserError, match="holds the five most probable classes only"):
        read_nets([one, bare])
