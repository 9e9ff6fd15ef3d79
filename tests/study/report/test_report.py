"""The printed table, the Markdown and the CSV files of made-up studies."""

import csv
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from alexnet.config.schema import Errors, Target
from alexnet.errors import UserError
from alexnet.runs.collect import collect
from alexnet.runs.directory import PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.result import GitState
from alexnet.study.columns import COMPARISON_COLUMNS, RUNS_COLUMNS
from alexnet.study.comparison import compare
from alexnet.study.report.report import FILES, print_table, report
from alexnet.study.wording import shown_points, shown_seeds
from tests.study.made_up import predictions, result, save, study, unfinished

DOCUMENT = Path(__file__).parents[3] / "docs" / "result-files.md"


def printed(*paths: Path, width: int = 100, output: Path | None = None, **choice: str) -> str:
    """What a report prints into a file."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=width)
    report(paths, output=output, split=choice.get("split"), view=choice.get("view", "ten_crop"), console=console)
    return buffer.getvalue()


def small_study(folder: Path, seeds: int = 2) -> Path:
    for seed in range(seeds):
        save(folder, result(seed=seed), predictions(300 - seed, 100))
        save(folder, result("no_lrn", seed), predictions(320, 110))
    return folder


def test_no_figure_is_cut_at_any_width(tmp_path: Path) -> None:
    (table,) = compare(collect([study(tmp_path)]).runs, split=None, view="ten_crop")
    for width in (60, 80, 100, 140):
        buffer = io.StringIO()
        print_table(table, Console(file=buffer, width=width))
        text = buffer.getvalue()
        assert "\N{HORIZONTAL ELLIPSIS}" not in text
        assert "\x1b" not in text
        rows = [line for line in text.splitlines() if re.search(r"top-[15]\b.*\d\.\d\d ", line)]
        assert len(rows) == 14
        interval = r"\[[+-]\d+\.\d\d, [+-]\d+\.\d\d\]"
        for line in rows[2:]:
            assert re.search(rf" \d+\.\d\d +[+-]\d+\.\d\d +{interval} +(<0\.001|[01]\.\d{{3}})", line)
        assert max(map(len, rows)) <= max(width, 80)


def test_row_of_known_figures(tmp_path: Path) -> None:
    text = printed(small_study(tmp_path))
    assert "Experiment demo, recipe paper, data shapes: 1,000 test images, ten_crop, seeds 0, 1" in text
    top1, top5 = (line.split() for line in text.splitlines() if "+" in line and "top-" in line)
    assert top1[:4] == ["no_lrn", "top-1", "32.00", "+2.05"]  # seeds that all rows share stand in the title
    assert top1[-3:] == ["+1.4", "+1.37", "agrees"]
    assert top5[:5] == ["section", "3.3", "top-5", "11.00", "+1.00"]
    assert top5[-3:-1] == ["+1.2", "+1.15"]


def test_what_one_seed_cannot_say_is_said(tmp_path: Path) -> None:
    warning = "how much the delta varies between seeds is unknown"
    assert warning in " ".join(printed(small_study(tmp_path / "one", seeds=1)).split())
    text = " ".join(printed(small_study(tmp_path / "two", seeds=2)).split())
    assert warning not in text
    assert "if other seeds and other images were drawn" in text


def test_a_verdict_on_one_seed_is_marked(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    save(tmp_path, result("no_lrn"), predictions(312, 100))
    text = printed(tmp_path)
    assert re.search(r"\+1\.4 +\+1\.37 +agrees\*", text)
    assert "* With one seed, interval, p and verdict allow for other images only" in " ".join(text.split())
    assert "for ImageNet even if the data here are not" in " ".join(text.split())
    markdown = (tmp_path / "comparison.md").read_text()
    assert "| agrees* | agrees* | the spread between seeds is unknown | unknown |" in markdown


def test_unfinished_unpaired_and_damaged_runs_are_shown(tmp_path: Path) -> None:
    small_study(tmp_path)
    save(tmp_path, unfinished(result("no_color"), "failed", "loss [inf] is not a number"))
    save(tmp_path, result("no_lrn", 5), predictions(310, 100))
    for seed in (7, 8):
        (save(tmp_path, result(seed=seed), predictions(300, 100)) / RESULT_FILE).write_text("{")
    text = printed(tmp_path, width=1000)
    assert "no_color seed 0 (shapes-no_color-seed0-1a2b): failed: loss [inf] is not a number\n" in text
    assert "No baseline run with seed 5 for no_lrn. To make it:\n    python train.py seed=5\n" in text
    last = text.splitlines()[-1]
    assert last.startswith("Warning: 2 unreadable runs were skipped: ")
    assert "seed7" in last
    assert "seed8" in last
    assert "2 unreadable runs were skipped" in (tmp_path / "comparison.md").read_text()


def test_targets_of_the_paper_are_named(tmp_path: Path) -> None:
    target = Target(paper=Errors(top1=37.5, top5=17.0), log=Errors())
    save(tmp_path, replace(result(), target=target), predictions(300, 100))
    assert "Errors to compare the baseline with: top-1 37.5 % (paper), top-5 17.0 % (paper)." in printed(tmp_path)


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
    printed(small_study(tmp_path))
    baseline, row = rows(tmp_path / "comparison.csv")
    assert list(row) == list(COMPARISON_COLUMNS)
    assert (baseline["ablation"], baseline["top1_error"], baseline["top1_delta"]) == ("baseline", "29.95", "")
    assert (row["ablation"], row["section"], row["seeds"], row["images"]) == ("no_lrn", "3.3", "0 1", "1000")
    assert (row["top1_paper"], row["top5_log"]) == ("1.4", "1.152")
    assert float(row["top1_delta"]) == pytest.approx(2.05)
    # 2.0 and 2.1: standard deviation 0.1 / sqrt 2, error 0.05, t(0.975, 1) = 12.706205
    assert float(row["top1_seed_sd"]) == pytest.approx(0.1 / 2**0.5)
    assert float(row["top1_seed_high"]) == pytest.approx(2.05 + 12.706205 * 0.05)
    assert float(row["top1_low"]) < 2.05 < float(row["top1_high"])
    assert row["top1_holm_p"] == row["top1_p"]  # the only ablation
    assert (row["top1_paper_verdict"], row["top1_log_verdict"]) == ("agrees", "agrees")
    # Nearly the same 20 of 1,000 images are discordant at both seeds: 2.8 sqrt(0.02 / 1000) is 1.25 points, below 1.4.
    assert (row["top1_seeds_needed"], row["top1_no_seeds"]) == ("2", "")
    assert float(row["top1_resolvable"]) > 0
    assert {baseline[f"top1_{name}"] for name in ("holm_p", "paper_verdict", "seeds_needed", "resolvable")} == {""}


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
    assert (pair["top1_only_run_wrong"], pair["top1_only_baseline_wrong"]) == ("21", "0")
    assert float(pair["top1_mcnemar_p"]) == pytest.approx(2 / 2**21)
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
    assert "| no_lrn | 0, 1 | top-1 | 32.00 | +2.05 | [" in text
    assert "- No baseline run with seed 5 for no_lrn. To make it: `python train.py seed=5`" in text
    assert "# shapes-no_lrn-seed5-1a2b, at abc123 with changes\npython train.py '+ablation=[no_lrn]' seed=5\n" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {15}
    assert "| +1.4 | +1.37 | agrees | agrees | " in text
    assert "Seeds needed: to separate the paper's number from 0" in text


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


def test_a_report_imports_no_framework_and_draws_only_when_it_must() -> None:
    heavy = "torch lightning hydra numba wandb matplotlib jinja2"
    code = "import sys, alexnet.study.report.report, alexnet.study.paper.tables, alexnet.study.paper.figure1;"
    code += f"sys.exit(' '.join(name for name in '{heavy}'.split() if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr.strip()) == (1, "")


def test_files_are_written_before_anything_is_printed(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        report(
            [small_study(tmp_path)], output=None, split=None, view="ten_crop", console=Console(file=Closed(), width=80)
        )
    assert sorted(path.name for path in tmp_path.glob("comparison*")) == sorted(FILES)


def test_a_stranger_s_message_does_not_reach_the_terminal_as_an_escape_sequence(tmp_path: Path) -> None:
    small_study(tmp_path)
    save(tmp_path, unfinished(result("no_color"), "failed", "\x1b[31mred\x1b]0;title\x07"))
    assert "\x1b" not in printed(tmp_path)


def test_a_report_without_any_usable_run_says_why(tmp_path: Path) -> None:
    (save(tmp_path, result(), predictions(300, 100)) / PREDICTIONS_FILE).unlink()
    assert "predictions.npz: missing" in printed(tmp_path)
    for name in ("comparison.md", "comparison.html"):
        assert "predictions.npz: missing" in (tmp_path / name).read_text(encoding="utf-8")
