"""Commands about trained networks, on real runs."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

import alexnet
from alexnet.commands.main import main
from alexnet.data.pack.pack import open_pack
from alexnet.runs.arrays import read_predictions, read_probabilities
from alexnet.runs.result import read_result
from alexnet.trained.network import load_trained
from alexnet.trained.weights import read_weights
from tests.commands.test_main import error_of
from tests.data.samples import class_folders

SVG = "{http://www.w3.org/2000/svg}"


def json_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> object:
    capsys.readouterr()
    main([str(argument) for argument in arguments])
    return json.loads(capsys.readouterr().out)


def test_evaluate_says_what_the_run_said(trained: Path, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = json_of(capsys, "evaluate", trained, pack, "--json")
    assert isinstance(said, dict)
    stated = json.loads((trained / "result.json").read_text())["errors"]
    assert said["errors"] == stated and set(stated) == {"val", "test"}


def test_evaluate_writes_what_the_run_wrote(trained: Path, pack: Path, tmp_path: Path) -> None:
    main(["evaluate", str(trained / "checkpoints" / "last.ckpt"), str(pack), "--predictions", str(tmp_path / "out")])
    for view in ("center", "ten_crop"):
        labels, ours = read_probabilities(tmp_path / "out", "test", view)
        for mine, theirs in zip((labels, ours), read_probabilities(trained, "test", view), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        top = read_predictions(trained, "test", view)
        chosen = np.take_along_axis(ours, top.top5_classes.astype(int), axis=1)
        np.testing.assert_array_equal(chosen, top.top5_probabilities)
        np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-5)


def test_evaluate_refuses_other_classes_and_other_folders(
    runs: Path,
    trained: Path,
    pack: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main(["prepare", str(class_folders(tmp_path / "other")), str(tmp_path / "pack"), "--size", "32"])
    capsys.readouterr()
    assert "does not have 5 of the 5 classes" in error_of(capsys, "evaluate", str(trained), str(tmp_path / "pack"))
    other = str(runs / "runs" / "seed1")
    assert "is about seed1: choose another folder" in error_of(
        capsys, "evaluate", str(trained), str(pack), "--predictions", other
    )
    best = str(trained / "checkpoints" / "best.ckpt")  # the run's errors are those of its last
    assert f"is about {trained.name}: choose another folder" in error_of(
        capsys, "evaluate", best, str(pack), "--predictions", str(trained)
    )
    file = tmp_path / "other.txt"
    file.touch()
    for options, said in (
        (("--real", str(file), "--split", "val"), "as ReaL labels, give the published real.json"),
        (("--predictions", str(file)), "cannot be written: a file is where its folder should be"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr("alexnet.trained.evaluate.evaluate_pack", None)  # refused before it
            assert said in error_of(capsys, "evaluate", str(trained), str(pack), *options)
    monkeypatch.setattr("alexnet.commands.figures.first_layer", None)
    assert "cannot be written: a file" in error_of(capsys, "figures", str(trained), "-o", str(file))
    assert "no checkpoints/last.ckpt" in error_of(capsys, "evaluate", str(tmp_path), str(pack))
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes((trained / "checkpoints" / "last.ckpt").read_bytes()[:5000])
    assert ": damaged, or not a checkpoint" in error_of(capsys, "evaluate", str(damaged), str(pack))


def test_predict_agrees_with_the_pack(
    trained: Path, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint alone, copied elsewhere, and image files that the pack's own pixels were written to."""
    checkpoint = tmp_path / "alone.ckpt"
    shutil.copy(trained / "checkpoints" / "last.ckpt", checkpoint)
    opened = open_pack(pack)
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, pixels in zip(files, opened.splits["test"].gather(np.arange(3)), strict=True):
        Image.fromarray(pixels).save(file)
    for view in ("center", "ten_crop"):
        entries = json_of(capsys, "predict", checkpoint, *files, "--view", view, "--json")
        assert isinstance(entries, list)
        stated = read_predictions(trained, "test", view)
        for place, entry in enumerate(entries):
            names = [guess["class"] for guess in entry["predictions"]]
            assert names == [opened.class_names[number] for number in stated.top5_classes[place]]
            found = [guess["probability"] for guess in entry["predictions"]]
            np.testing.assert_allclose(found, stated.top5_probabilities[place], rtol=1e-4)


def test_predict_names_unreadable_images_and_goes_on(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (inside := tmp_path / "above" / "inside").mkdir(parents=True)
    good, bad, missing = inside / "good [x].png", inside / "bad.png", inside / "missing.png"
    Image.fromarray(np.full((50, 70, 3), 90, np.uint8)).save(good)
    bad.write_text("no image")
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["predict", str(trained), str(bad), str(good), str(missing), "--picture", str(tmp_path / "out.svg")])
    printed = capsys.readouterr()
    assert caught.value.code == 1
    assert printed.err.splitlines() == [
        f"error: {missing}: no such file",
        f"error: {bad}: not an image",
    ]
    assert "%" in printed.out and printed.out.startswith(f"{good}\n")
    assert len(ET.parse(tmp_path / "out.svg").findall(f".//{SVG}image")) == 1
    assert ".svg" in error_of(capsys, "predict", str(trained), str(good), "--picture", "out.bmp")
    for folder, said in ((trained, "pass it first"), (inside, f"{inside}/*.jpg"), (inside.parent, "/*/*.jpg")):
        assert said in error_of(capsys, "predict", str(good), str(folder))
    main(["predict", str(trained), *[str(good)] * 65, "--picture", str(tmp_path / "out.svg")])
    assert capsys.readouterr().err == f"note: {tmp_path / 'out.svg'} shows the first 64 of 65 images\n"
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(b"")
    with pytest.raises(SystemExit):  # before the network is looked at
        main(["predict", str(damaged), str(missing)])
    assert capsys.readouterr().err == f"error: {missing}: no such file\n"
    for command in (("predict", str(good), "--picture", str(bad / "out.svg")), ("export", str(bad / "out.onnx"))):
        assert "cannot be written: a file" in error_of(capsys, command[0], str(damaged), *command[1:])


def test_predict_says_what_is_unusual_about_a_file_and_keeps_its_path_whole(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / ("a folder with quite a long name, " * 5)
    folder.mkdir()
    plain, turned = folder / "plain.png", folder / "turned.jpg"
    image = Image.fromarray(np.full((50, 70, 3), 90, np.uint8))
    image.save(plain)
    orientation = Image.Exif()
    orientation[ExifTags.Base.Orientation] = 6
    image.convert("L").save(turned, exif=orientation)
    capsys.readouterr()
    main(["predict", str(trained), str(plain), str(turned)])
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [f"note: {turned}: greyscale, EXIF orientation ignored"]
    lines = printed.out.splitlines()
    assert [lines[0], lines[6]] == [str(plain), str(turned)] and len(lines) == 13
    assert lines[12].startswith("seed0 was trained on 60 images of shapes, 20 classes")
    classes = alexnet.load_trained(trained).class_names
    assert all(line.split(" %  ")[1] in classes for line in [*lines[1:6], *lines[7:12]])
    entries = json_of(capsys, "predict", trained, plain, turned, "--json")
    assert isinstance(entries, list)
    assert [entry["notes"] for entry in entries] == [[], ["greyscale", "EXIF orientation ignored"]]


def test_classes_are_called_what_a_file_says(
    trained: Path, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, names = tmp_path / "one.png", tmp_path / "words.txt"
    Image.fromarray(open_pack(pack).splits["test"].gather(np.arange(1))[0]).save(image)
    (plain,) = json_of(capsys, "predict", trained, image, "--json")  # type: ignore[misc]
    first, second = (guess["class"] for guess in plain["predictions"][:2])
    names.write_text(f"another\tword\n\n{first}\tblue moon, moon\n")
    (spoken,) = json_of(capsys, "predict", trained, image, "--json", "--class-names", names)  # type: ignore[misc]
    assert [guess["class"] for guess in spoken["predictions"][:2]] == ["blue moon, moon", second]
    names.write_text(f"{first}\tcrane\n{second}\tcrane\n")
    (spoken,) = json_of(capsys, "predict", trained, image, "--json", "--class-names", names)  # type: ignore[misc]
    assert [guess["class"] for guess in spoken["predictions"][:2]] == [f"crane ({first})", f"crane ({second})"]
    names.write_text("another\tword\n")
    for wrong in (names, tmp_path / "none.txt"):
        assert f"--class-names {wrong}" in error_of(
            capsys, "predict", str(trained), str(image), "--class-names", str(wrong)
        )


def test_figures_draw_kernels_guesses_and_neighbours(
    trained: Path, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["figures", str(trained), "--output", str(tmp_path / "one")])
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["figure3.svg"]
    assert "--pack PACK" in capsys.readouterr().out
    main(["figures", str(trained), "--pack", str(pack), "--output", str(tmp_path / "all"), "--mistakes"])
    images = {file.name: len(ET.parse(file).findall(f".//{SVG}image")) for file in sorted((tmp_path / "all").iterdir())}
    assert images == {"figure3.svg": 2, "figure4_left.svg": 8, "figure4_right.svg": 35}
    # Of a mistake the true class is never the first bar.
    opened = open_pack(pack)
    texts = [text.text for text in ET.parse(tmp_path / "all" / "figure4_left.svg").iter(f"{SVG}text")]
    titled = [number for number, text in enumerate(texts[1:], start=1) if number % 11 == 1]
    assert all(texts[number] in opened.class_names and texts[number] != texts[number + 1] for number in titled)


@pytest.mark.parametrize("layout", ["grouped", "columns"])
def test_safetensors_come_back_bit_for_bit(trained: Path, tmp_path: Path, layout: str) -> None:
    safetensors = pytest.importorskip("safetensors")
    file = tmp_path / "net.safetensors"
    main(["export", str(trained), str(file), "--layout", layout])
    with safetensors.safe_open(file, framework="pt") as opened:
        assert ("conv2a.weight" in opened.keys()) == (layout == "columns")  # noqa: SIM118
    before, after = read_weights(trained / "checkpoints" / "last.ckpt"), read_weights(file)
    assert before.config == after.config and before.class_names == after.class_names
    assert before.tensors.keys() == after.tensors.keys()
    assert all(torch.equal(value, after.tensors[name]) for name, value in before.tensors.items())
    assert load_trained(file).name == "net"


def test_onnx_computes_the_net_s_logits_of_any_number_of_images(trained: Path, pack: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    file = tmp_path / "net.onnx"
    main(["export", str(trained), str(file)])
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    _, answers = read_probabilities(trained, "test", "center")
    images = open_pack(pack).splits["test"].gather(np.arange(7))
    for count in (1, 7):
        logits = session.run(["logits"], {"images": images[:count]})[0].astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), answers[:count], atol=1e-5)
    names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
    assert names == open_pack(pack).class_names


def test_export_refuses_what_it_cannot_write(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ".safetensors or .onnx" in error_of(capsys, "export", str(trained), str(tmp_path / "net.pt"))
    assert "--layout" in error_of(capsys, "export", str(trained), str(tmp_path / "net.onnx"), "--layout", "columns")


def test_ensemble_and_tables_of_runs(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["ensemble", str(runs / "runs"), "--output", str(tmp_path)])
    said = json.loads((tmp_path / "ensemble.json").read_text())
    answers = [read_probabilities(runs / "runs" / name, "test", "ten_crop") for name in said["nets"]]
    mean = np.mean([one.astype(np.float64) for _, one in answers], axis=0)
    wrong = mean.argmax(axis=1) != answers[0][0]
    assert said["ensembles"][0]["errors"]["top1"]["percent"] == pytest.approx(100 * wrong.mean())
    assert [one["name"] for one in said["ensembles"]] == ["mean", "tuned weights"]
    for name, errors in zip(said["nets"], said["members"], strict=True):
        stated = read_result(runs / "runs" / name).errors["test"]["ten_crop"]
        assert errors["top1"]["percent"] == pytest.approx(100 * stated.top1)
        assert errors["top5"]["percent"] == pytest.approx(100 * stated.top5)
    main(["tables", str(runs / "runs"), "--output", str(tmp_path)])
    assert f"{100 * wrong.mean():.2f}" in (tmp_path / "tables.md").read_text()
    without = tmp_path / "without"
    shutil.copytree(runs / "runs" / "seed0", without, ignore=shutil.ignore_patterns("probabilities.npz"))
    assert f"alexnet evaluate {without} PACK" in error_of(capsys, "ensemble", str(without), str(runs / "runs"))
