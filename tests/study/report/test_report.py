"""The printed table, the Markdown and the CSV files of made-up studies."""

import csv
import io
import json
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alexnet.config.schema import Errors, Target
from alexnet.errors import UserError
from alexnet.runs.collect import collect
from alexnet.runs.directory import PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.result import Energy, GitState, TrainingFacts
from alexnet.study.comparison import compare
from alexnet.study.report.report import FILES, print_table, report
from alexnet.study.table_columns import COMPARISON_COLUMNS, RUNS_COLUMNS
from alexnet.study.wording import escape_latex, shown_points, shown_seeds
from alexnet.terminal import Terminal
from tests.study.made_up import predictions, result, save, study, unfinished

DOCUMENT = Path(__file__).parents[3] / "docs" / "result-files.md"


def printed(*paths: Path, width: int = 100, output: Path | None = None, **choice: str) -> str:
    """What a report prints into a file."""
    buffer = io.StringIO()
    console = Terminal(file=buffer, width=width)
    report(paths, output=output, split=choice.get("split"), view=choice.get("view", "ten_crop"), console=console)
    return buffer.getvalue()


def small_study(folder: Path, seeds: int = 2) -> Path:
    for seed in range(seeds):
        save(folder, result(seed=seed), predictions(300 - seed, 100))
        save(folder, result("no_lrn", seed), predictions(320, 110, first=seed))
    return folder


def test_no_figure_is_cut_at_any_width(tmp_path: Path) -> None:
    (table,) = compare(collect([study(tmp_path)]).runs, split=None, view="ten_crop")
    for width in (80, 100, 140):
        buffer = io.StringIO()
        print_table(table, Terminal(file=buffer, width=width))
        text = buffer.getvalue()
        assert "\N{HORIZONTAL ELLIPSIS}" not in text
        assert "\x1b" not in text
        shown = text.partition("\n\n")[0]  # the table; remarks follow
        rows = [line for line in shown.splitlines() if re.search(r"top-[15]\b.*\d\.\d\d ", line)]
        assert len(rows) == 14
        interval = r"\[[+-]\d+\.\d\d, [+-]\d+\.\d\d\]"
        for line in rows[2:]:
            assert re.search(rf" \d+\.\d\d +[+-]\d+\.\d\d +{interval} +(<0\.001|[01]\.\d{{3}})", line)
        assert max(map(len, rows)) <= width


@pytest.mark.parametrize(("width", "left_out"), [(60, "Paper, Holm p, Error"), (40, "Paper, Holm p, Error, Interval")])
def test_a_narrow_terminal_has_whole_figures_of_fewer_columns(tmp_path: Path, width: int, left_out: str) -> None:
    (table,) = compare(collect([study(tmp_path)]).runs, split=None, view="ten_crop")
    print_table(table, Terminal(file=(buffer := io.StringIO()), width=width))
    shown = buffer.getvalue().partition("not shown here")[0]
    assert f"not shown here: {left_out}" in " ".join(buffer.getvalue().split())
    assert max(map(len, shown.splitlines())) <= width and "\N{HORIZONTAL ELLIPSIS}" not in shown
    assert len(re.findall(r"top-[15] +[+-]\d+\.\d\d ", shown)) == 12


def test_a_baseline_alone_has_its_error_on_a_narrow_terminal(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    text = printed(tmp_path, width=40)
    assert re.search(r"baseline +top-1 30\.00\n", text) and "not shown here" not in text and "Delta: " not in text


def test_row_of_known_figures(tmp_path: Path) -> None:
    text = printed(small_study(tmp_path, seeds=3))
    assert "Experiment demo, recipe paper, data shapes: 1,000 test images, ten crops, seeds 0-2" in text
    top1, top5 = (line.split() for line in text.splitlines() if "+" in line and "top-" in line)
    assert top1[:4] == ["no_lrn", "top-1", "32.00", "+2.10"]  # seeds that all rows share stand in the title
    assert top1[-3:] == ["+1.4", "as", "claimed"]
    assert top5[:5] == ["section", "3.3", "top-5", "11.00", "+1.00"]
    assert top5[-3:] == ["+1.2", "as", "claimed"]


def test_what_few_seeds_cannot_say_is_said(tmp_path: Path) -> None:
    words = {1: "one seed: for this pair of networks only", 2: "there is no verdict", 3: None}
    for seeds, said in words.items():
        text = " ".join(printed(small_study(tmp_path / str(seeds), seeds=seeds)).split())
        assert [word for word in words.values() if word and word in text] == ([said] if said else [])
        assert ("too few seeds" in text.split("Error: percent")[0]) == (seeds < 3)
        assert "if other seeds and other images were drawn" in text


def test_what_the_columns_mean_is_said_once_for_tables_of_the_same_words(tmp_path: Path) -> None:
    for key in ("9f3c", "11aa"):
        for ablation in ("baseline", "no_lrn"):
            made = replace(result(ablation), pairing_key=key, run=f"{ablation}-{key}")
            save(tmp_path, made, predictions(300 if ablation == "baseline" else 320, 100))
    text = printed(tmp_path)
    assert text.count("Experiment demo") == 2
    assert text.count("Error: percent") == 1


def test_flags_are_in_every_output(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path, result(seed=seed), predictions(300 - seed, 100))
        wrong = 960 if seed == 2 else 340  # at chance: 19 in 20
        save(tmp_path, result("no_lrn", seed), predictions(wrong, 110, first=seed))
    text = " ".join(printed(tmp_path, width=1000).split())
    line = "2 of 3 runs learned, 3 of 3 of the baseline"
    assert f"no_lrn, top-1, flagged: {line}" in text
    for name in ("comparison.md", "comparison.html", "comparison.csv"):
        assert line in (tmp_path / name).read_text()
    page = (tmp_path / "comparison.html").read_text()
    assert "Of 1 ablation: 1 flagged (no_lrn)." in page


def test_unfinished_and_damaged_runs_are_shown(tmp_path: Path) -> None:
    small_study(tmp_path)
    save(tmp_path, unfinished(result("no_color"), "failed", "loss [inf] is not a number"))
    for seed in (7, 8):
        (save(tmp_path, result(seed=seed), predictions(300, 100)) / RESULT_FILE).write_text("{")
    text = printed(tmp_path, width=1000)
    assert "no_color seed 0 (shapes-no_color-seed0-1a2b): failed: loss [inf] is not a number\n" in text
    (warning,) = (line for line in text.splitlines() if line.startswith("Warning: 2 unreadable runs were skipped: "))
    assert "seed7" in warning and "seed8" in warning
    assert "2 unreadable runs were skipped" in (tmp_path / "comparison.md").read_text()


def test_what_training_took_is_added_up_over_the_runs_that_tell(tmp_path: Path) -> None:
    silent = printed(small_study(tmp_path / "silent"))
    assert "device-hours" not in silent
    facts = TrainingFacts(epochs=1, steps=1, seconds=1.0, images_per_second=1.0, rate_drops=())
    energy = Energy(cpu_joules=1.8e6, source="processors by RAPL")
    told = (facts, replace(facts, device_hours=1.5), replace(facts, device_hours=2.0, energy=energy))
    for seed, one in enumerate(told):
        save(tmp_path / "told", replace(result(seed=seed), training=one), predictions(300, 100, first=seed))
    save(tmp_path / "told", unfinished(result(seed=3), "failed", "training diverged in epoch 2"))
    cost = "Training took 3.5 device-hours (known for 2 of 4 runs), 0.5 kWh of processors, with all that ran on them "
    cost += "(1 of 4 runs); of runs side by side, each counts what all of them took."
    assert cost in " ".join(printed(tmp_path / "told").split())
    for name in ("comparison.md", "comparison.html"):
        assert cost in (tmp_path / "told" / name).read_text()


def test_targets_of_the_paper_are_named(tmp_path: Path) -> None:
    target = Target(paper=Errors(top1=37.5, top5=17.0), log=Errors())
    save(tmp_path, replace(result(), target=target), predictions(300, 100))
    told = "top-1 37.5 % (paper), top-5 17.0 % (paper)"
    assert f"Errors to compare the baseline with: {told}." in printed(tmp_path)
    assert told in (tmp_path / "comparison.html").read_text()


def test_nothing_readable_is_refused(tmp_path: Path) -> None:
    (save(tmp_path, result(), predictions(300, 100)) / RESULT_FILE).write_text("{")
    with pytest.raises(UserError, match="1 unreadable run was skipped"):
        printed(tmp_path)


def test_output_folder(tmp_path: Path) -> None:
    names = ["comparison.csv", "comparison.html", "comparison.md", "comparison.svg", "comparison_runs.csv"]
    small_study(tmp_path / "runs")
    assert f"Written to {tmp_path / 'runs'}: comparison.csv" in printed(tmp_path / "runs", width=60)
    assert sorted(path.name for path in (tmp_path / "runs").glob("comparison*")) == names
    printed(*(tmp_path / "runs").glob("shapes*"), output=tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == names
    with pytest.raises(UserError, match="cannot be written"):
        printed(tmp_path / "runs", output=tmp_path / "runs" / "comparison.md")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_comparison_csv(tmp_path: Path) -> None:
    printed(small_study(tmp_path, seeds=3))
    baseline, row = rows(tmp_path / "comparison.csv")
    assert list(row) == list(COMPARISON_COLUMNS)
    assert (baseline["ablation"], baseline["top1_delta"]) == ("baseline", "")
    assert float(baseline["top1_error"]) == pytest.approx(29.9)
    assert (row["ablation"], row["section"], row["seeds"], row["images"]) == ("no_lrn", "3.3", "0 1 2", "1000")
    assert (row["top1_paper"], row["top5_log"]) == ("1.4", "1.152")
    assert float(row["top1_delta"]) == pytest.approx(2.1)
    assert float(row["top1_low"]) < 2.1 < float(row["top1_high"])
    assert row["top1_holm_p"] == row["top1_p"]  # the only ablation
    assert (row["top1_direction"], row["top1_size"]) == ("as claimed", "(other data or recipe)")
    assert int(row["top1_seeds_needed_low"]) <= int(row["top1_seeds_needed"]) <= int(row["top1_seeds_needed_high"])
    assert float(row["top1_resolvable"]) > 0 and row["top1_no_seeds"] == ""
    assert "few discordant images" in row["top1_flags"]
    assert {baseline[f"top1_{name}"] for name in ("holm_p", "direction", "seeds_needed", "resolvable")} == {""}


def test_runs_csv(tmp_path: Path) -> None:
    small_study(tmp_path)
    save(tmp_path, unfinished(result("no_color"), "interrupted", "Ctrl-C"))
    save(tmp_path, result("no_lrn", 5), predictions(310, 100))
    printed(tmp_path)
    found = rows(tmp_path / "comparison_runs.csv")
    assert list(found[0]) == list(RUNS_COLUMNS)
    runs = {(row["ablation"], row["seed"]): row for row in found}
    assert len(found) == len(runs) == 6
    pair = runs["no_lrn", "1"]
    assert pair["baseline_run"] == "shapes-baseline-seed1-1a2b"
    assert (pair["top1_error"], pair["top1_baseline_error"]) == ("32.0", "29.9")
    assert (pair["top1_only_run_wrong"], pair["top1_only_baseline_wrong"]) == ("22", "1")
    assert float(pair["top1_mcnemar_p"]) == pytest.approx(2 * 24 / 2**23)
    assert runs["no_color", "0"]["status"] == "interrupted"
    assert (runs["no_lrn", "5"]["top1_error"], runs["no_lrn", "5"]["top1_delta"]) == ("31.0", "")


def test_document_names_every_column() -> None:
    section = DOCUMENT.read_text().split("## Files of a comparison")[1].split("\n## ")[0]
    common, comparison, runs = (re.findall(r"`([a-z_<>0-9]+)`", part) for part in blocks(section))
    for documented, columns in ((comparison, COMPARISON_COLUMNS), (runs, RUNS_COLUMNS)):
        spelled = {name.replace("<k>", k) for name in (*common, *documented) for k in ("top1", "top5")}
        assert spelled == set(columns)


def blocks(section: str) -> tuple[str, str, str]:
    head, rest = section.split("Both CSV files begin with")[1].split("`comparison.csv`, one line")
    comparison, runs = rest.split("`comparison_runs.csv`, one line")
    return head, comparison, runs


def test_markdown_holds_the_table_and_the_commands(tmp_path: Path) -> None:
    small_study(tmp_path)
    git = GitState(revision="abc123", dirty=True)
    save(tmp_path, replace(result("no_lrn", 5), git=git), predictions(310, 100))
    printed(tmp_path)
    text = (tmp_path / "comparison.md").read_text()
    assert "| no_lrn | 0, 1, 5 | top-1 | 31.67 | +1.72 | [" in text
    assert "# shapes-no_lrn-seed5-1a2b, at abc123 with changes\npython train.py '+ablation=[no_lrn]' seed=5\n" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {17}
    assert "| +1.4 | +1.37 | too few seeds | (other data or recipe) | " in text
    assert "Seeds needed: in every arm, to find the claimed number" in text


@pytest.mark.parametrize(
    ("seeds", "shown"),
    [([], ""), ([3], "3"), ([1, 0], "0, 1"), ([0, 1, 2], "0-2"), ([9, 0, 1, 2, 5, 6], "0-2, 5, 6, 9")],
)
def test_shown_seeds(seeds: list[int], shown: str) -> None:
    assert shown_seeds(seeds) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (1.4, "+1.4"), (1.0, "+1.0"), (1.152, "+1.15"), (-0.394, "-0.39")]
)
def test_shown_points(value: float | None, shown: str) -> None:
    assert shown_points(value) == shown


def test_files_are_written_before_anything_is_printed(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        report(
            [small_study(tmp_path)], output=None, split=None, view="ten_crop", console=Terminal(file=Closed(), width=80)
        )
    assert sorted(path.name for path in tmp_path.glob("comparison*")) == sorted(FILES)


def test_a_stranger_s_message_does_not_reach_the_terminal_as_an_escape_sequence(tmp_path: Path) -> None:
    small_study(tmp_path)
    save(tmp_path, unfinished(result("no_color"), "failed", "\x1b[31mred\x1b]0;title\x07"))
    assert "\x1b" not in printed(tmp_path)


def test_a_report_without_any_usable_run_says_why(tmp_path: Path) -> None:
    (save(tmp_path, result(), predictions(300, 100)) / PREDICTIONS_FILE).unlink()
    assert "predictions.npz: missing" in printed(tmp_path, width=1000)
    for name in ("comparison.md", "comparison.html"):
        assert "predictions.npz: missing" in (tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.slow  # half a minute of a core, most of it to make the runs
def test_report_on_100_runs_of_50_000_images_is_quick_and_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for arm in range(20):
        for seed in range(5):
            one = replace(result("baseline", seed), ablation=f"arm{arm:02}" if arm else "baseline", run=f"{arm}-{seed}")
            wrong = 20_000 + 100 * arm + int(rng.integers(100))
            save(tmp_path / "runs", one, predictions(wrong, 9_000, images=50_000, first=int(rng.integers(500))))
    code = "from alexnet.commands.main import main; main()"
    command = [sys.executable, "-c", code, "report", str(tmp_path / "runs")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "arm19" in (tmp_path / "runs" / FILES[0]).read_text()
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20
    assert after.ru_maxrss < 1_000_000  # KiB, of the largest child


def test_formats_for_papers_hold_the_same_figures(tmp_path: Path) -> None:
    small_study(tmp_path / "runs", seeds=3)
    output = tmp_path / "paper"
    console = Terminal(file=io.StringIO(), width=100)
    report([tmp_path / "runs"], output=output, split=None, view="ten_crop", console=console, all_formats=True)
    (table,) = json.loads((output / "comparison.json").read_text())
    with (output / "comparison.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [row["ablation"] for row in table["rows"]] == ["baseline", "no_lrn"]
    assert float(lines[1]["top1_delta"]) == table["rows"][1]["top1_delta"]
    assert len(table["runs"]) == 6 and table["headline"]
    assert r"intervals (95 \%) in percentage points" in (output / "comparison.tex").read_text()
    rows = [line for line in (output / "comparison.tex").read_text().splitlines() if line.endswith(r"\\")]
    assert {re.sub(r"\\.", "", line).count("&") for line in rows} == {7}
    assert rf"no\_lrn & top-1 & {float(lines[1]['top1_error']):.2f} & +" in rows[3]
    for name, start in (("comparison.pdf", b"%PDF"), ("comparison.png", b"\x89PNG")):
        assert (output / name).read_bytes().startswith(start)


def test_json_has_the_name_of_a_run_that_is_no_utf_8(tmp_path: Path) -> None:
    save(tmp_path, replace(result("baseline", 0), run="\udcff"), predictions(10, 5))
    console = Terminal(file=io.StringIO(), width=100)
    report([tmp_path], output=tmp_path, split=None, view="ten_crop", console=console, all_formats=True)
    assert json.loads((tmp_path / "comparison.json").read_bytes())[0]["runs"][0]["run"] == "\udcff"


def test_names_of_strangers_are_text_in_latex() -> None:
    assert escape_latex("a_b%{c}\\input $1 & ~#^") == (
        r"a\_b\%\{c\}\textbackslash{}input \$1 \& \textasciitilde{}\#\textasciicircum{}"
    )
    assert escape_latex("[-1.20, +0.30] <0.001") == "[$-$1.20, +0.30] $<$0.001"
    assert escape_latex("top-1, 2012-07") == "top-1, 2012-07"
