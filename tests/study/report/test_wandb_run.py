"""The comparison's own W&B run, read back from its offline file and held against the CSV files of the report."""

import csv
import io
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from wandb.proto.wandb_internal_pb2 import Record

from alexnet.config.values import WandbConfig
from alexnet.study.comparison import compare
from alexnet.study.report.report import FILES, load_runs, report
from alexnet.study.report.wandb_run import run_id
from tests.offline_runs import config, exit_codes, media, records, run_record, summary, table
from tests.study.made_up import predictions, result, save, study, unfinished

OFFLINE = WandbConfig(mode="offline", project="ablations", entity="lab")


def published(folder: Path, destination: WandbConfig = OFFLINE) -> str:
    """What a report prints that also goes to W&B."""
    screen = io.StringIO()
    console = Console(file=screen, width=200)
    report([folder], output=None, split=None, view="ten_crop", console=console, wandb=destination)
    return screen.getvalue()


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same(cell: str, value: Any) -> bool:
    """A cell of a CSV file and a value of a W&B table are the same fact."""
    if value is None:
        return cell == ""
    return math.isclose(float(cell), value, rel_tol=1e-12) if isinstance(value, float | int) else cell == value


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """A study of seven ablations and a failed run, reported once."""
    folder = study(tmp_path_factory.mktemp("study"), seeds=2)
    save(folder, unfinished(result("no_lrn", 9), "failed", "diverged"))
    assert "W&B comparison: " in published(folder)
    return folder, records(folder)


def test_the_run_stands_in_the_group_of_the_runs_it_compares(logged: tuple[Path, list[Record]]) -> None:
    folder, found = logged
    run = run_record(found)
    assert (run.job_type, run.run_group, run.project, run.entity) == ("comparison", "demo-9f3c", "ablations", "lab")
    assert {"comparison", "no_lrn", "no_dropout", "isolated_columns", "paper", "demo", "shapes"} <= set(run.tags)
    assert not any("+" in tag for tag in run.tags)
    assert exit_codes(found) == [0]
    values = config(found)
    assert (values["pairing_key"], values["fingerprint"], values["images"]) == ("9f3c", "d1", 1000)
    assert (values["split"], values["view"]) == ("test", "ten_crop")
    assert values["runs"] == sorted(path.parent.name for path in folder.glob("*/result.json"))


def test_the_deltas_are_those_of_the_csv_file(logged: tuple[Path, list[Record]]) -> None:
    folder, found = logged
    expected = {line["ablation"]: line for line in lines(folder / "comparison.csv")}
    rows = table(folder, found, "deltas")
    assert len(rows) == 2 * len(expected) == 14
    for row in rows:
        line, measure = expected[row["ablation"]], row["measure"]
        assert (row["section"], row["seeds"]) == (line["section"], line["seeds"])
        figures = {column.removeprefix("top1_") for column in line if column.startswith("top1_")}
        assert row.keys() - figures == {"ablation", "section", "seeds", "lr", "measure"}
        for column in figures:
            assert same(line[f"{measure}_{column}"], row[column]), column


def test_each_delta_is_judged(logged: tuple[Path, list[Record]]) -> None:
    folder, found = logged
    rows = {(row["ablation"], row["measure"]): row for row in table(folder, found, "deltas")}
    no_lrn, without_number, baseline = (rows[name, "top1"] for name in ("no_lrn", "no_dropout", "baseline"))
    assert no_lrn["p"] <= no_lrn["holm_p"] <= 1
    assert no_lrn["direction"] in ("as claimed", "not resolved", "opposite", "too few seeds")
    assert without_number["direction"] in ("worse", "not resolved", "too few seeds") and without_number["size"] == ""
    assert [baseline[name] for name in ("delta", "holm_p", "direction", "seeds_needed")] == [None] * 4


def test_the_runs_are_those_of_the_csv_file(logged: tuple[Path, list[Record]]) -> None:
    folder, found = logged
    expected = lines(folder / "comparison_runs.csv")
    rows = table(folder, found, "runs")
    assert len(rows) == len(expected) == 15
    for line, row in zip(expected, rows, strict=True):
        for column, value in row.items():
            assert same(line[column], value), column


def test_the_summary_holds_each_delta_beside_the_paper_s(logged: tuple[Path, list[Record]]) -> None:
    folder, found = logged
    values = summary(found)
    for line in lines(folder / "comparison.csv"):
        for measure in ("top1", "top5"):
            assert same(line[f"{measure}_error"], values[f"error/{line['ablation']}/{measure}"])
            assert same(line[f"{measure}_delta"], values.get(f"delta/{line['ablation']}/{measure}"))
            for figure in ("low", "high", "p", "paper", "log", "run_sd"):
                assert same(line[f"{measure}_{figure}"], values.get(f"delta/{line['ablation']}/{measure}_{figure}"))
    assert values["delta/no_lrn/top1_paper"] == 1.4


def test_the_report_s_files_are_there_whatever_becomes_of_the_originals(logged: tuple[Path, list[Record]]) -> None:
    folder, found = logged
    assert media(folder, found, "report") == (folder / "comparison.html").read_text(encoding="utf-8")
    assert media(folder, found, "intervals") == (folder / "comparison.svg").read_text(encoding="utf-8")
    (artifact,) = (record.artifact for record in found if record.artifact.type == "comparison")
    entries = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    assert set(entries) == {*FILES} and len(entries) == 5
    for name, copy in entries.items():
        assert copy.read_bytes() == (folder / name).read_bytes() and "offline-run" in str(copy)


def test_a_repeated_comparison_is_the_same_run_and_another_is_another(tmp_path: Path) -> None:
    def identity(folder: Path, view: str = "ten_crop") -> str:
        (group,) = compare(load_runs(folder).runs, split=None, view=view)
        return run_id(group)

    one = save(tmp_path, unfinished(result("no_lrn"), "failed", "no"))
    save(tmp_path, result(), predictions(300, 100))
    before = identity(tmp_path)
    shutil.rmtree(one)
    save(tmp_path, result("no_lrn"), predictions(310, 100))
    assert identity(tmp_path) == before
    save(tmp_path, result("no_lrn", 1), predictions(311, 100))
    assert identity(tmp_path) != before


def crooked(folder: Path) -> Path:
    """Names that a file name of this program cannot have, but a copied result file can."""
    name = "größe/" + "n" * 80
    for ablation, wrong in (("baseline", 300), (name, 320)):
        run = replace(
            result(), ablation=ablation, experiment="a/b #1", run=f"run-{wrong}", pairing_key="a/b:" + "x" * 99
        )
        save(folder, run, predictions(wrong, 100))
    return folder


def none_finished(folder: Path) -> Path:
    save(folder, unfinished(result(), "interrupted", "Ctrl-C"))
    return folder


def one_run(folder: Path) -> Path:
    save(folder, result(), predictions(300, 100))
    return folder


@pytest.mark.parametrize(("make", "rows"), [(crooked, 4), (none_finished, 0), (one_run, 2)])
def test_odd_studies_are_logged_too(tmp_path: Path, make: Callable[[Path], Path], rows: int) -> None:
    assert "Warning" not in published(make(tmp_path))
    found = records(tmp_path)
    assert len(table(tmp_path, found, "deltas")) == rows
    assert len(table(tmp_path, found, "runs")) == max(rows // 2, 1)
    if make is crooked:
        assert summary(found)["delta/größe/" + "n" * 80 + "/top1"] == 2.0


def test_every_table_of_a_report_is_a_run_and_wandb_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one_run(tmp_path)
    other = replace(result(), pairing_key="other", run="other")
    save(tmp_path, other, predictions(300, 100))
    published(tmp_path)
    groups = {run_record(records(run)).run_group for run in (tmp_path / "wandb").glob("offline-run-*")}
    assert groups == {"demo-9f3c", "demo-other"}
    assert capfd.readouterr() == ("", "")


def test_trouble_with_wandb_is_one_line_after_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError("no server\nand more")

    monkeypatch.setattr("wandb.init", refuse)
    last = published(one_run(tmp_path)).splitlines()[-1]
    assert last == "Warning: the comparison is not on W&B: OSError: no server"
    assert (tmp_path / "comparison.csv").is_file()
    monkeypatch.undo()
    assert "Invalid project name" in published(tmp_path, WandbConfig(mode="offline", project="a/b"))


def test_a_run_that_breaks_off_is_closed_as_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> SimpleNamespace:
        raise OSError("disk full")

    monkeypatch.setattr("alexnet.study.report.wandb_run.summary", full)
    assert "OSError: disk full" in published(one_run(tmp_path))
    assert exit_codes(records(tmp_path)) == [1]


def test_nothing_is_logged_unless_asked_for(tmp_path: Path) -> None:
    text = published(one_run(tmp_path), WandbConfig(mode="disabled"))
    assert not re.search("W&B", text) and not (tmp_path / "wandb").exists()
