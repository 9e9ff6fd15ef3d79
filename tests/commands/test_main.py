"""The `alexnet` command: its tables, its files, and its mistakes in one line."""

import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from alexnet.commands.main import main
from alexnet.config.values import WandbConfig
from alexnet.data.pack.pack import open_pack
from alexnet.errors import CLOSED_OUTPUT
from alexnet.runs.study_plan import read_plan
from tests.data.samples import class_folders
from tests.study.made_up import predictions, result, save


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a command that ends with 1."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    printed = capsys.readouterr()
    assert caught.value.code == 1
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    return printed.err


def test_describe_shows_layers_and_follows_classes_and_ablations(capsys: pytest.CaptureFixture[str]) -> None:
    """Parameters of other nets: tests/net/test_alexnet.py."""

    def total(*arguments: str) -> int:
        main(["describe", *arguments])
        lines.extend(line for line in capsys.readouterr().out.splitlines() if line.strip())
        assert "total" in lines[-1]
        return int(re.findall(r"[\d,]{3,}", lines[-1])[0].replace(",", ""))

    lines: list[str] = []
    full = total()
    assert full == 60_965_224
    rows = [re.sub(r"\s+", " ", line).strip() for line in lines]
    assert any(row.startswith("conv1, relu 11/4/0,3") and "55 x 55" in row for row in rows)
    assert total("+ablation=one_column", "experiment=ilsvrc2012", "--classes", "10") == 59_798_312 - 990 * 4097
    assert total("scale=small") < full / 10


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    for mistyped, hint in (
        ("repot", ": did you mean report?"),
        ("trian", ": did you mean train?"),
        ("xyz", "; choose from: checklist, codes, "),
    ):
        with pytest.raises(SystemExit):
            main([mistyped, "runs"])
        assert f"alexnet: error: {mistyped}: no such command{hint}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("report --splt", "--splt: there is no such option: did you mean --split?"),
        ("report --splt=test runs", "--splt: there is no such option: did you mean --split?"),
        ("evaluate run pack --predict out", None),  # shortened
        ("checklist runs --ouptut x", "--ouptut: there is no such option: did you mean --output?"),
        ("runs --frobnicate", "--frobnicate: there is no such option; choose from: --help"),
        ("report -x runs", "-x: there is no such option; choose from: --all-formats, "),
        ("report -onew run", None),  # with its value
        ("report runs --view center_crop", "--view center_crop: there is no such choice: did you mean ten_crop?"),
        ("--versoin", "--versoin: there is no such option: did you mean --version?"),
        ("train -x", "-x: there is no such option; choose from: --cfg, "),
        ("train --cfg seed=1", "--cfg: a value is needed"),
        ("train --cgf job", "--cgf: there is no such option: did you mean --cfg?"),
    ],
)
def test_a_mistyped_option_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, said: str | None
) -> None:
    monkeypatch.setattr("sys.argv", ["alexnet"])
    assert (said or "run: no") in error_of(capsys, *command.split())


def test_mistakes_in_describe_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean columns" in error_of(capsys, "describe", "colums=one")
    assert "use larger crops" in error_of(capsys, "describe", "scale=small", "scale.crop_size=2")
    assert "choose a smaller scale" in error_of(capsys, "describe", "scale.fc_width=10000000")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("describe --classes 0", "--classes 0: must be at least 1"),
        ("describe --classes -5", "--classes -5: must be at least 1"),
        ("describe --classes many", "--classes many: a whole number is needed"),
        ("describe --classes 9999999", "--classes 9999999: must be at most 1,000,000"),
        ("prepare images pack --quality 0", "quality=0 must lie between 1 and 100"),
        ("prepare images pack --seed -1", "--seed -1: must be at least 0"),
        ("plan plan.yaml --ablations no_lrn --margin inf", "--margin inf: a finite number is needed"),
        ("plan plan.yaml --ablations no_lrn --margin=-1", "margin: -1.0 is not between 0 and 100"),
        ("plan plan.yaml --ablations no_lrn --seeds 5,9999999", "looks: an arm has 1,000 seeds at most"),
        ("plan plan.yaml --ablations no_lrn --baseline-seeds 2", "a verdict needs three seeds of both arms"),
        ("plan plan.yaml --ablations no_lrn --baseline-seeds 9999999", "looks: an arm has 1,000 seeds at most"),
        ("plan plan.yaml --ablations no_lrn --seeds six", "--seeds and --levels are numbers"),
        ("plan plan.yaml --ablations no_lrn --rates 0.01", "error: --rates: an odd number"),
        ("figure1 runs --error 0", "--error 0: must be above 0"),
        ("codes --bits 12 run pack", "--bits 12: must be a multiple of 8"),
        ("codes --epochs 0 run pack", "--epochs 0: must be at least 1"),
        ("similar --codes 0 run pack", "--codes 0: must be at least 8"),
        ("similar -k 0 run pack", "-k 0: must be at least 1"),
    ],
)
def test_a_number_without_meaning_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    assert said in error_of(capsys, *command.split())


def test_plan_refuses_an_arm_that_no_run_would_belong_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.yaml"
    refused = error_of(capsys, "plan", str(file), "--ablations", "none")
    assert "--ablations none: its runs are called baseline" in refused and not file.exists()
    for epochs in ("0", "5"):
        assert "add --rates" in error_of(capsys, "plan", str(file), "--ablations", "no_lrn", "--search-epochs", epochs)
    assert "is a folder; name the file" in error_of(capsys, "plan", str(tmp_path), "--ablations", "no_lrn")
    main(["plan", str(file), "--ablations", "no_lrn, no_dropout", "schedule.epochs=30"])
    assert read_plan(file).ablations == ("no_lrn", "no_dropout")
    assert read_plan(file).overrides == ("schedule.epochs=30",)


def test_prepare_makes_a_pack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = class_folders(tmp_path / "images", splits=("",), count=6)
    main(["prepare", str(source), str(tmp_path / "pack"), "--size", "16", "--val-fraction", "0.34", "--workers", "1"])
    pack = open_pack(tmp_path / "pack")
    assert pack.image_size == 16 and {name: len(split) for name, split in pack.splits.items()} == {
        "train": 20,
        "val": 10,
    }
    assert "train 20, val 10" in capsys.readouterr().err


def test_mistakes_in_prepare_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(tmp_path / "no") in error_of(capsys, "prepare", str(tmp_path / "no"), str(tmp_path / "pack"))
    source = class_folders(tmp_path / "images", splits=("train",))
    assert "0" in error_of(capsys, "prepare", str(source), str(tmp_path / "pack"), "--size", "0")
    main(["prepare", str(source), str(tmp_path / "pack"), "--size", "8", "--workers", "1"])
    capsys.readouterr()
    assert "pack" in error_of(capsys, "prepare", str(source), str(tmp_path / "pack"), "--size", "8")


def test_mistakes_in_report_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    assert str(tmp_path) in error_of(capsys, "report", str(tmp_path))
    assert "nowhere" in error_of(capsys, "report", str(tmp_path / "nowhere"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "result.json").write_text("{")
    assert "result.json" in error_of(capsys, "report", str(tmp_path / "run"))
    one = save(tmp_path, result(), predictions(300, 100))
    assert "has other runs too: pass it whole, or add -o FOLDER" in error_of(capsys, "report", str(one))
    main(["report", str(one), "-o", str(tmp_path / "page")])
    assert (tmp_path / "page" / "comparison.md").is_file() and not (tmp_path / "comparison.md").exists()
    assert os.environ["MPLBACKEND"] == "agg"  # else matplotlib, once it is imported, would have no such backend


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        (["--run-sd", "top1=0.25"], "go together"),
        (["--run-sd-source", "a friend"], "go together"),
        (["--run-sd", "top1=1", "--run-sd", "top1=2", "--run-sd-source", "a friend"], "--run-sd top1=2: not"),
        (["--run-sd", "top1=0.25", "--run-sd-source", " "], "go together"),
        *(
            (["--run-sd", wrong, "--run-sd-source", "a friend"], f"--run-sd {wrong}: not points by measure")
            for wrong in (
                "0.25",
                "top2=1",
                "top1=",
                "top1=0",
                "top1=-1",
                "top1=nan",
                "top1=51",
                "top1=0.3;top5=0.2",
            )
        ),
        (["--run-sd", "top1=1,top1=2", "--run-sd-source", "a friend"], "--run-sd top1=2: not points by measure"),
        (["--run-sd", "top1=1,top2=2", "--run-sd-source", "a friend"], "--run-sd top2=2: not points by measure"),
        (["--run-sd", "top2=1", "--run-sd-source", "a friend"], "give top1, top5 or both"),
        (["--run-sd", "", "--run-sd-source", "a friend"], "--run-sd (empty): not points by measure"),
        (["--run-sd", "top1=0.25,top5=.2", "--run-sd-source", "a friend"], "no result.json"),
    ],
)
def test_a_stated_spread_has_numbers_and_a_source(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stated: list[str], said: str
) -> None:
    assert said in error_of(capsys, "report", str(tmp_path), *stated)


def test_report_logs_to_wandb_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged: tests/study/report/test_wandb_run.py."""
    asked: list[WandbConfig] = []
    monkeypatch.setattr("alexnet.study.report.report.publish", lambda *given: asked.append(given[2]))
    save(tmp_path, result(), predictions(300, 100))
    main(["report", str(tmp_path), "--wandb", "offline", "--project", "mine", "--entity", "lab"])
    assert asked == [WandbConfig(mode="offline", project="mine", entity="lab")]


def test_mistakes_with_wandb_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, result(), predictions(300, 100))
    assert "add --wandb" in error_of(capsys, "report", str(tmp_path), "--project", "mine")
    monkeypatch.setattr("alexnet.runs.wandb_names.api_key", lambda _: None)
    assert "wandb login" in error_of(capsys, "report", str(tmp_path), "--wandb", "online")
    workspace = ("workspace", str(tmp_path), "--entity", "lab", "--project", "mine")
    assert "wandb login" in error_of(capsys, *workspace)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.delitem(sys.modules, "alexnet.study.report.wandb_workspace", raising=False)
    assert "--extra dashboards" in error_of(capsys, *workspace)


def test_an_unknown_command_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["trian"], ["report", "x", "--view"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert "usage: alexnet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("plan", "file, --ablations\n"),
        ("plan --ablations no_lrn", "required: file\n"),
        ("", "name a command: alexnet --help lists them"),
    ],
)
def test_all_that_is_missing_is_named(capsys: pytest.CaptureFixture[str], command: str, missing: str) -> None:
    with pytest.raises(SystemExit):
        main(command.split())
    assert missing in capsys.readouterr().err


def test_help_that_nobody_reads_any_more_needs_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("sys.argv", ["alexnet"])
    monkeypatch.setattr("sys.stdout", SimpleNamespace(write=write))
    for arguments in (["train", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == CLOSED_OUTPUT


def test_train_names_the_program_that_was_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package that is installed alone has no train.py."""
    for program, shown in (("/opt/bin/alexnet", "alexnet train"), ("train.py", "python train.py")):
        monkeypatch.setattr("sys.argv", [program])
        main(["train", "--help"])
        assert f"{shown} +ablation=no_lrn " in capsys.readouterr().out
