"""`result.json` and `predictions.npz`: what is written is what is read, and anything else is refused by name."""

import dataclasses
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.config.schema import RELATIONS, Claim, Effect, Errors, Target
from alexnet.errors import UserError
from alexnet.runs.arrays import ViewPredictions, read_predictions, write_predictions
from alexnet.runs.directory import PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.result import (
    DataFacts,
    Energy,
    ErrorRates,
    GitState,
    LrDrop,
    PretrainedFacts,
    Result,
    TrainingFacts,
    finished_run,
    read_result,
)
from alexnet.runs.study_plan import Plan
from tests.conftest import few_open_files

DOCUMENT = Path(__file__).parents[2] / "docs" / "result-files.md"

words = st.text(max_size=8)
counts = st.integers(0, 10**6)
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)


def few(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(words, values, max_size=2)


points = st.builds(Errors, top1=st.none() | numbers, top5=st.none() | numbers)
effects = st.builds(
    Effect,
    top1=st.none() | numbers,
    top5=st.none() | numbers,
    relation=st.sampled_from(RELATIONS),
    experiments=st.lists(words, max_size=2),
    images=st.none() | counts,
)
plans = st.builds(
    Plan,
    name=words,
    overrides=st.just(("lrn=none",)),
    ablations=st.just(("no_lrn", "figure1/tanh")),
    margin=st.none() | st.floats(0, 100),
)
rates = st.builds(ErrorRates, images=st.integers(1, 10**6), top1=st.floats(0, 1), top5=st.floats(0, 1))
energies = st.builds(Energy, cpu_joules=st.none() | numbers, gpu_joules=st.none() | numbers, source=words)
training = st.builds(
    TrainingFacts,
    epochs=counts,
    steps=counts,
    seconds=numbers,
    images_per_second=numbers,
    rate_drops=st.lists(st.builds(LrDrop, epoch=counts, rate=numbers), max_size=3).map(tuple),
    device_hours=st.none() | numbers,
    energy=st.none() | energies,
)


layers = st.lists(words, max_size=3).map(tuple)
pretrained = st.builds(
    PretrainedFacts, run=words, data_fingerprint=words, weights=words, taken=layers, fresh=layers, left_behind=layers
)


@st.composite
def results(draw: st.DrawFn) -> Result:
    status = draw(st.sampled_from(["finished", "failed", "interrupted"]))
    finished = status == "finished"
    views = st.dictionaries(words, rates, min_size=1, max_size=2)
    return Result(
        status=status,
        message=None if finished else draw(words),
        run=draw(words),
        ablation=draw(st.text(min_size=1, max_size=8)),
        recipe=draw(words),
        experiment=draw(words),
        seed=draw(counts),
        pairing_key=draw(words),
        changes=draw(few(st.tuples(json_values, json_values))),
        claims=draw(few(st.builds(Claim, title=words, section=words, statement=words, paper=effects, log=effects))),
        target=draw(st.builds(Target, paper=points, log=points)),
        data=draw(st.builds(DataFacts, name=words, fingerprint=words, classes=counts, images=few(counts))),
        errors=draw(st.dictionaries(words, views, min_size=1, max_size=2)) if finished else {},
        training=draw(st.none() | training),
        parameters=draw(counts),
        versions=draw(few(words)),
        device=draw(words),
        git=draw(st.none() | st.builds(GitState, revision=words, dirty=st.booleans())),
        command="python train.py '+ablation=[no_lrn,no_dropout]'",
        pretrained=draw(st.none() | pretrained),
        precision=draw(st.none() | words),
        plan=draw(st.none() | plans),
    )


@given(results())
@settings(max_examples=40, deadline=None)
def test_result_comes_back_as_written(result: Result) -> None:
    with tempfile.TemporaryDirectory() as folder:
        result.write(Path(folder))
        assert read_result(Path(folder)) == result
        assert [path.name for path in Path(folder).iterdir()] == [RESULT_FILE]


def example() -> dict[str, Any]:
    """The example of the schema, as parsed JSON."""
    unknown = {"top1": None, "top5": None}
    return {
        "schema_version": 1,
        "status": "finished",
        "message": None,
        "run": "shapes-no_lrn-seed0-1a2b3c4d",
        "ablation": "no_lrn",
        "recipe": "paper",
        "experiment": "demo",
        "seed": 0,
        "pairing_key": "9f3c",
        "changes": {"lrn.layers": [[1, 2], []]},
        "claims": {
            "no_lrn": {
                "title": "LRN",
                "section": "3.3",
                "statement": "It helps.",
                "paper": {"top1": 1.4, "top5": 1.2},
                "log": {"top1": 1.37, "top5": 1.152},
            }
        },
        "target": {"paper": unknown, "log": unknown},
        "data": {"name": "shapes", "fingerprint": "d1", "classes": 20, "images": {"train": 3000, "test": 1000}},
        "errors": {"test": {"center": {"images": 1000, "top1": 0.31, "top5": 0}}},
        "training": {
            "epochs": 30,
            "steps": 720,
            "seconds": 140.2,
            "images_per_second": 810.0,
            "rate_drops": [{"epoch": 20, "rate": 0.001}],
        },
        "parameters": 123456,
        "versions": {"python": "3.11.7"},
        "device": "cpu",
        "git": {"revision": "abc123", "dirty": False},
        "command": "python train.py +ablation=no_lrn",
    }


def save_json(folder: Path, raw: object) -> Path:
    (folder / RESULT_FILE).write_text(json.dumps(raw))
    return folder


def test_example_is_read(tmp_path: Path) -> None:
    result = read_result(save_json(tmp_path, example()))
    assert result.changes == {"lrn.layers": ([1, 2], [])}
    assert result.claims["no_lrn"].log.top5 == 1.152
    assert result.errors["test"]["center"] == ErrorRates(images=1000, top1=0.31, top5=0.0)
    assert result.training is not None
    assert result.training.rate_drops == (LrDrop(epoch=20, rate=0.001),)


@pytest.mark.parametrize("field", ["pretrained", "precision", "plan"])
def test_a_file_from_before_a_field_existed_is_read(tmp_path: Path, field: str) -> None:
    raw = example()
    assert field not in raw
    older = read_result(save_json(tmp_path, raw))
    assert getattr(older, field) is None
    assert read_result(save_json(tmp_path, raw | {field: None})) == older


def put(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(raw: dict[str, Any]) -> None:
        for name in path[:-1]:
            raw = raw[name]
        raw[path[-1]] = value

    return change


REFUSED: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda raw: raw.pop("device"), "device: missing"),
    (lambda raw: raw["data"].pop("classes"), "data.classes: missing"),
    (put("sede", value=1), "sede: unknown field"),
    (put("claims", "no_lrn", "note", value=""), "claims.no_lrn.note: unknown field"),
    (put("schema_version", value=2), "schema_version: 2 is unknown; this program reads 1"),
    (put("schema_version", value=True), "schema_version: a whole number is needed, not True"),
    (put("status", value="done"), "status: 'done' is not one of: finished, failed, interrupted"),
    (put("seed", value="0"), "seed: a whole number is needed, not '0'"),
    (put("seed", value=False), "seed: a whole number is needed, not False"),
    (put("seed", value=1.0), "seed: a whole number is needed, not 1.0"),
    (put("seed", value=-1), "seed: -1 is negative"),
    (put("run", value=None), "run: a string is needed, not None"),
    (put("ablation", value=""), "ablation: empty"),
    (put("git", "dirty", value=0), "git.dirty: true or false is needed, not 0"),
    (put("training", "seconds", value=True), "training.seconds: a number is needed, not True"),
    (put("training", "rate_drops", value={}), "training.rate_drops: a list is needed, not {}"),
    (put("training", "rate_drops", value=[{"epoch": 1}]), "training.rate_drops[0].rate: missing"),
    (put("changes", "lrn.layers", value=[1]), "changes.lrn.layers: a list of 2 is needed, not of 1"),
    (put("versions", value=[]), "versions: a JSON object is needed, not []"),
    (
        put("errors", "test", "center", "top1", value=1.3),
        "errors.test.center.top1: 1.3 is not a fraction between 0 and 1",
    ),
    (put("errors", "test", "center", "top5", value=-0.1), "errors.test.center.top5: -0.1 is not a fraction"),
    (put("errors", "test", "center", "images", value=0), "errors.test.center.images: 0 is not a count"),
    (put("errors", value={}), "errors: a finished run has some"),
    (put("message", value="why"), "message: a finished run has none"),
    (put("status", value="failed"), "message: a finished run has none, any other has one"),
    (put("command", value="python 'train.py"), "command: not a shell command"),
    (put("claims", value="x" * 99), "claims: a JSON object is needed, not '" + "x" * 36 + "..."),
    (
        put("claims", "no_lrn", "paper", "relation", value="eqals"),
        "claims.no_lrn.paper.relation: 'eqals' is not one of: equals",
    ),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused_field_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    raw = example()
    change(raw)
    with pytest.raises(UserError) as caught:
        read_result(save_json(tmp_path, raw))
    assert f"{tmp_path / RESULT_FILE}: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "a JSON object is needed"),
        (b'{"seed": NaN}', "NaN is not a JSON number"),
    ],
)
def test_damaged_result_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / RESULT_FILE).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_result(tmp_path)


def test_number_beyond_range_is_refused(tmp_path: Path) -> None:
    text = json.dumps(example()).replace("140.2", "1e999")
    (tmp_path / RESULT_FILE).write_text(text)
    with pytest.raises(UserError, match=r"training\.seconds: a number is needed, not inf"):
        read_result(tmp_path)


def test_missing_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"result\.json: missing"):
        read_result(tmp_path)


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    result = read_result(save_json(tmp_path, example()))
    broken = dataclasses.replace(result, changes={"optimizer.lr": (0.01, float("nan"))})
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.write(tmp_path)
    assert read_result(tmp_path) == result


def field_names(kind: Any, prefix: str = "") -> list[str]:
    """Dotted names of all fields as the document writes them."""
    arguments = get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        dot = f"{prefix}." if prefix else ""
        return [name for entry in hints for name in field_names(hints[entry], f"{dot}{entry}")]
    if get_origin(kind) is dict:
        return field_names(arguments[1], f"{prefix}.*")
    if get_origin(kind) is tuple and arguments[-1] is Ellipsis:
        return field_names(arguments[0], f"{prefix}[]")
    if type(None) in arguments and dataclasses.is_dataclass(arguments[0]):
        return [prefix, *field_names(arguments[0], prefix)]
    return [prefix]


def test_document_lists_every_field() -> None:
    documented = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert documented == field_names(Result)


@st.composite
def seen(draw: st.DrawFn) -> ViewPredictions:
    images, classes = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    top = min(classes, 5)
    order = [draw(st.permutations(range(classes)))[:top] for _ in range(images)]
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    chances = draw(st.lists(st.floats(0, 1, width=32), min_size=images * top, max_size=images * top))
    return ViewPredictions.from_top(labels, order, np.reshape(chances, (images, top)))


@given(seen())
@settings(max_examples=40, deadline=None)
def test_predictions_come_back_as_written(written: ViewPredictions) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_predictions(Path(folder), {"test": {"center": written, "ten_crop": written}})
        read = read_predictions(Path(folder), "test", "ten_crop")
    for name in ("labels", "top5_classes", "top5_probabilities", "top1_correct", "top5_correct"):
        array, original = getattr(read, name), getattr(written, name)
        assert array.dtype == original.dtype
        np.testing.assert_array_equal(array, original)


def small() -> ViewPredictions:
    return ViewPredictions.from_top([0, 1, 2], [[0, 1, 2], [0, 1, 2], [1, 0, 3]], [[0.7, 0.2, 0.1]] * 3)


def test_right_and_wrong_by_hand() -> None:
    view = small()
    assert view.top1_correct.tolist() == [True, False, False]
    assert view.top5_correct.tolist() == [True, True, False]
    assert view.top5_classes[0].tolist() == [0, 1, 2, -1, -1]
    assert view.top5_probabilities[0, 3:].tolist() == [0, 0]
    assert view.error_rates() == ErrorRates(images=3, top1=2 / 3, top5=None)  # of three classes


def test_archive_holds_the_documented_arrays(tmp_path: Path) -> None:
    write_predictions(tmp_path, {"val": {"center": small()}})
    with np.load(tmp_path / PREDICTIONS_FILE, allow_pickle=False) as file:
        found = {name: (file[name].dtype.name, file[name].shape) for name in file.files}
    assert found == {
        "val/labels": ("int32", (3,)),
        "val/center/top5_classes": ("int32", (3, 5)),
        "val/center/top5_probabilities": ("float32", (3, 5)),
        "val/center/top1_right": ("bool", (3,)),
        "val/center/top5_right": ("bool", (3,)),
    }


def test_a_diverged_net_can_be_recorded(tmp_path: Path) -> None:
    view = ViewPredictions.from_top([1], [[0]], [[np.nan]])
    write_predictions(tmp_path, {"test": {"center": view}})
    assert np.isnan(read_predictions(tmp_path, "test", "center").top5_probabilities[0, 0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": np.zeros((3, 1), np.int32)},
        {"labels": np.zeros(0, np.int32)},
        {"labels": np.zeros(3, np.int64)},
        {"labels": np.full(3, -1, np.int32)},
        {"top5_classes": np.zeros((3, 4), np.int32)},
        {"top5_classes": np.zeros((3, 5), np.int64)},
        {"top5_probabilities": np.zeros((2, 5), np.float32)},
        {"top5_probabilities": np.zeros((3, 5))},
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    write_predictions(tmp_path, {"test": {"center": small()}})
    with np.load(tmp_path / PREDICTIONS_FILE) as file:
        arrays = {name: wrong.get(name.rpartition("/")[2], file[name]) for name in file}
    np.savez_compressed(tmp_path / PREDICTIONS_FILE, **arrays)
    with pytest.raises(UserError, match=f"damaged: .*{next(iter(wrong))}: "):
        read_predictions(tmp_path, "test", "center")


def test_views_of_a_split_share_their_labels(tmp_path: Path) -> None:
    other = ViewPredictions.from_top([0, 1, 1], [[0]] * 3, [[1.0]] * 3)
    with pytest.raises(ValueError, match="split test have different labels"):
        write_predictions(tmp_path, {"test": {"center": small(), "ten_crop": other}})
    assert not list(tmp_path.iterdir())


def test_missing_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"predictions\.npz: missing"):
        read_predictions(tmp_path, "test", "center")
    write_predictions(tmp_path, {"test": {"center": small()}})
    with pytest.raises(UserError, match="holds no predictions for val/center"):
        read_predictions(tmp_path, "val", "center")


def npy(value: Any) -> bytes:
    import io

    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense", npy(np.zeros(3)), npy(np.array([{}]))])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PREDICTIONS_FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"predictions\.npz: damaged"):
        read_predictions(tmp_path, "test", "center")


def test_every_damaged_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    write_predictions(tmp_path, {"test": {"center": small()}})
    path = tmp_path / PREDICTIONS_FILE
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            read = read_predictions(tmp_path, "test", "center")
        except UserError:
            continue
        np.testing.assert_array_equal(read.top5_classes, small().top5_classes)
        np.testing.assert_array_equal(read.labels, small().labels)


def test_contradicting_flags_are_refused(tmp_path: Path) -> None:
    write_predictions(tmp_path, {"test": {"center": small()}})
    with np.load(tmp_path / PREDICTIONS_FILE) as file:
        arrays = dict(file)
    arrays["test/center/top1_right"] = ~arrays["test/center/top1_right"]
    np.savez_compressed(tmp_path / PREDICTIONS_FILE, **arrays)
    with pytest.raises(UserError, match="test/center/top1_right: does not follow"):
        read_predictions(tmp_path, "test", "center")


def test_an_empty_result_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(b"")
    with pytest.raises(UserError, match="remove it to continue from the last checkpoint, or start over with restart"):
        finished_run(tmp_path, "run", "identity", restart=False)


def test_a_result_that_the_machine_refuses_is_not_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(b"{}")
    said = "cannot be read: Too many open files; mend that, and repeat the command"
    with pytest.raises(UserError, match=said), few_open_files():
        finished_run(tmp_path, "run", "identity", restart=False)
