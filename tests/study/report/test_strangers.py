"""Run directories as strangers and bad disks leave them: damage is named, links lead nowhere, texts are shown inert."""

import csv
import io
import json
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest

from alexnet.errors import UserError
from alexnet.runs.arrays import FirstLayer, write_first_layer
from alexnet.runs.collect import collect
from alexnet.runs.directory import CONFIG_FILE, FIRST_LAYER_FILE, METRICS_FILE, PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.metrics import write_metrics
from alexnet.runs.result import read_result
from alexnet.study.report.report import FILES, report
from alexnet.terminal import Terminal
from tests.study.made_up import epoch_record, predictions, result, save

MUTATIONS, DRAWN = 2000, 20
"""Of so many reports one draws its charts."""
RUN_FILES = (RESULT_FILE, CONFIG_FILE, METRICS_FILE, PREDICTIONS_FILE, FIRST_LAYER_FILE)
FLAG = re.compile("damaged|missing|changed|left out|skipped|cannot be read|not a regular|symbolic", re.IGNORECASE)
MARK = (
    '=HYPERLINK("x")\x1b]0;OWNED\x07\u202e\u200b<img src=x onerror=alert(1)> | [l](javascript:alert(3))\n```\n<script>'
)


def small_study(folder: Path, seeds: int = 2) -> list[Path]:
    """Baselines and runs of an ablation with all files of a finished run."""
    directories = []
    for seed in range(seeds):
        for name, wrong in (("baseline", 30), ("no_lrn", 34)):
            directory = save(folder, result(name, seed), predictions(wrong + seed, 10, images=100))
            (directory / CONFIG_FILE).write_text("schedule: {kind: multistep, epochs: 3}\n")
            write_metrics(directory, [epoch_record(epoch, train_set=None) for epoch in range(3)])
            kernels = np.random.default_rng(seed).standard_normal((4, 3, 3, 3)).astype(np.float32)
            write_first_layer(directory, FirstLayer(kernels=kernels, columns=2))
            read_result(directory).write(directory)  # with the checksums of the other files
            directories.append(directory)
    return directories


def shown(folder: Path, output: Path) -> list[str]:
    """All lines that a report prints and writes, but the checksums of files."""
    printed = io.StringIO()
    console = Terminal(file=printed, width=10_000)
    report([folder], output=output, split=None, view="ten_crop", console=console)
    texts = [printed.getvalue(), *((output / name).read_text(encoding="utf-8") for name in FILES)]
    return re.sub("SHA-256 [0-9a-f]{64}", "", "\n".join(texts)).splitlines()


def mutate(file: Path, chance: random.Random) -> None:
    data = file.read_bytes()
    place, other = chance.randrange(len(data)), chance.randrange(len(data))
    numbers = [*re.finditer(rb"\d+(\.\d+)?", data)]
    match chance.choice(["bit", "bit", "byte", "cut", "gone", "empty", "twice", "number", "number", "link", "folder"]):
        case "bit":
            data = data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
        case "byte":
            data = data[:place] + bytes([chance.randrange(256)]) + data[place:]
        case "cut":
            data = data[:place]
        case "empty":
            data = b""
        case "twice":
            data = data[:place] + data[min(place, other) :]
        case "number":
            found = chance.choice(numbers)
            number = chance.choice([b"0", b"-1", b"1", b"7", b"1e999", b"NaN", b"9" * 30, b'"1"', b"null", b"true"])
            data = data[: found.start()] + number + data[found.end() :]
        case kind:
            file.unlink()
            if kind == "link":
                file.symlink_to("elsewhere")
            elif kind == "folder":
                file.mkdir()
            return
    file.write_bytes(data)


def restore(file: Path, data: bytes) -> None:
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    file.unlink(missing_ok=True)
    file.write_bytes(data)


@pytest.mark.slow
def test_mutated_run_files_show_no_other_number_without_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, output, chance = small_study(tmp_path / "runs"), tmp_path / "out", random.Random(17)
    truth = set(shown(tmp_path / "runs", output))
    noticed = 0
    for number in range(MUTATIONS):
        file = chance.choice(runs) / chance.choice(RUN_FILES)
        data = file.read_bytes()
        mutate(file, chance)
        with monkeypatch.context() as patch:
            if number % DRAWN:
                patch.setattr("alexnet.study.report.report.comparison_figure", lambda _: "<svg/>")
                for chart in ("delta_chart", "error_chart"):
                    patch.setattr(f"alexnet.study.report.page.{chart}", lambda *_: "<svg/>")
            other = [line for line in shown(tmp_path / "runs", output) if line not in truth and "svg" not in line]
        flagged = any(file.parent.name in line and FLAG.search(line) for line in other)
        assert flagged or not other, (number, file.name, other[:5])
        noticed += flagged
        restore(file, data)
    assert set(shown(tmp_path / "runs", output)) == truth
    assert noticed > 0.9 * MUTATIONS


def test_report_over_links_in_place_of_its_files_leaves_their_targets_alone(tmp_path: Path) -> None:
    small_study(tmp_path / "runs")
    canary = tmp_path / "canary"
    canary.write_text("mine")
    for name in FILES:
        for place in (name, f".{name}.{os.getpid()}"):
            (tmp_path / "runs" / place).symlink_to(canary)
    shown(tmp_path / "runs", tmp_path / "runs")
    assert canary.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize(("kind", "said"), [("link", "symbolic link"), ("pipe", "not a regular")])
def test_report_neither_follows_links_nor_waits_for_pipes_in_runs(tmp_path: Path, kind: str, said: str) -> None:
    broken = dict(zip(RUN_FILES, small_study(tmp_path / "runs", seeds=4), strict=False))
    for name, run in broken.items():
        (run / name).rename(tmp_path / name)
        if kind == "link":
            (run / name).symlink_to(tmp_path / name)
        else:
            os.mkfifo(run / name)
    lines = shown(tmp_path / "runs", tmp_path / "out")
    assert [name for name, run in broken.items() if any(run.name in line and said in line for line in lines)] == [
        *RUN_FILES
    ]


def test_report_says_so_if_a_result_was_changed(tmp_path: Path) -> None:
    runs = small_study(tmp_path / "runs")
    facts = json.loads((runs[0] / RESULT_FILE).read_text())
    (runs[0] / RESULT_FILE).write_text(json.dumps(facts | {"parameters": 5}))
    changed = [line for line in shown(tmp_path / "runs", tmp_path / "out") if "Changed since the run wrote it" in line]
    assert changed and all(runs[0].name in line and runs[1].name not in line for line in changed)


def hostile_texts(value: object) -> object:
    """Put the mark into every text of a result but those that it is checked by."""
    if isinstance(value, dict):
        kept = ("status", "relation", "schema_version", "checksum", "files", "command")
        facts = {key: inner if key in kept else hostile_texts(inner) for key, inner in value.items()}
        named = ("versions", "environment", "changes", "claims")
        return {
            key: {MARK + name: one for name, one in inner.items()} if key in named else inner
            for key, inner in facts.items()
        }
    if isinstance(value, list):
        return [hostile_texts(inner) for inner in value]
    return MARK + value if isinstance(value, str) else value


def test_hostile_texts_are_inert_everywhere(tmp_path: Path) -> None:
    for directory in small_study(tmp_path / "runs"):
        facts = hostile_texts(json.loads((directory / RESULT_FILE).read_text()))
        (directory / RESULT_FILE).write_text(json.dumps(facts))
        (directory / CONFIG_FILE).write_text(MARK)
        directory.rename(directory.with_name(MARK + directory.name))
    printed = "\n".join(shown(tmp_path / "runs", tmp_path / "out"))
    assert "OWNED" in printed and not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e]", printed)
    for name in ("comparison.html", "comparison.svg"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "<img src=x" not in text and text.count("<script>") == name.endswith("html")
    for name in ("comparison.csv", "comparison_runs.csv"):
        cells = [cell for row in csv.reader(io.StringIO((tmp_path / "out" / name).read_text())) for cell in row]
        texts = [cell for cell in cells if not re.fullmatch(r"[-+.\de]*", cell)]
        assert texts and not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in texts)
    outside = re.sub(r"^(`{3,})\n.*?^\1$", "", (tmp_path / "out" / "comparison.md").read_text(), flags=re.S | re.M)
    assert "img src" in outside and not re.search(r"(?<!\\)<|(?<!\\)\]\(", outside)


def test_links_to_runs_are_listed_and_not_followed(tmp_path: Path) -> None:
    (other,) = small_study(tmp_path / "elsewhere")[:1]
    first = small_study(tmp_path / "runs")[0]
    (tmp_path / "runs" / "latest").symlink_to(first)
    (tmp_path / "runs" / "other").symlink_to(other)
    found = collect([tmp_path / "runs"])
    assert len(found.runs) == 4
    assert [line.partition(": ")[0] for line in found.unreadable] == [str(tmp_path / "runs" / "other")]


def test_folders_deeper_than_the_bound_are_listed(tmp_path: Path) -> None:
    small_study(tmp_path / "runs")
    small_study(tmp_path.joinpath("runs", *["deep"] * 40))
    found = collect([tmp_path / "runs"])
    assert len(found.runs) == 4 and "was not searched" in found.unreadable[0]


NESTED = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("text", [NESTED, '{"a": ' * 60 + "1" + "}" * 60, '{"seed": 0, "seed": 1}', "9" * 10_000])
def test_absurd_results_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / RESULT_FILE).write_text(text)
    with pytest.raises(UserError, match=RESULT_FILE) as refused:
        read_result(tmp_path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 1000
