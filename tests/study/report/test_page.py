"""The page of made-up studies: whole HTML, the figures of the comparison, nothing unescaped, nothing from elsewhere."""

import re
import shlex
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from alexnet.commands.main import main
from alexnet.config.schema import Claim, Effect
from alexnet.runs.arrays import FirstLayer, write_first_layer
from alexnet.runs.collect import collect
from alexnet.runs.result import GitState, PretrainedFacts
from alexnet.study.assessment import StatedSpread
from alexnet.study.charts import LIGHT, comparison_figure
from alexnet.study.comparison import ComparisonTable, compare
from alexnet.study.report.page import latex, markdown, page
from alexnet.study.report.report import compare_runs
from tests.study.made_up import predictions, result, save, study, unfinished

VOID = {"br", "img", "meta", "wbr"}
HEADER = (
    "epoch,step,rate,train_loss,train_top1_error,train_top5_error,val_loss,val_top1_error,val_top5_error,"
    "seconds,images_per_second"
)
NASTY = (
    "<script>alert(\"1\")</script> & 'x' \N{RIGHT-TO-LEFT OVERRIDE}\N{HEBREW LETTER ALEF} \N{PILE OF POO} é \x07 \ud800"
)
SHOWN = NASTY.replace("\x07", r"\x07").replace("\ud800", r"\ud800").replace("\u202e", r"\u202e")


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, text, and rows of cells; fails where tags cross."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(name)) is not None]

    def count(self, tag: str, kind: str = "") -> int:
        return sum(one == tag and kind in (attributes.get("class") or "") for one, attributes in self.elements)


def tables(folder: Path) -> list[ComparisonTable]:
    return compare(collect([folder]).runs, split=None, view="ten_crop")


def source(folder: Path) -> str:
    return page(tables(folder), collect([folder]).warning, folder=folder)


def add_curve(directory: Path, *errors: tuple[float, float | str], drop: int = 99) -> None:
    lines = [
        f"{epoch},{epoch + 1},{0.01 if epoch < drop else 0.001},4,{train},50,4,{val},50,3,500"
        for epoch, (train, val) in enumerate(errors)
    ]
    (directory / "metrics.csv").write_text("\n".join([HEADER, *lines]) + "\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with everything that a page may hold."""
    folder = tmp_path_factory.mktemp("study")
    study(folder, seeds=2)
    for number, directory in enumerate(sorted(folder.iterdir())):
        add_curve(directory, (90, 91), (80, 82), (70, 75), drop=2)
        kernels = np.random.default_rng(number).normal(size=(8, 3, 5, 5)).astype(np.float32)
        write_first_layer(directory, FirstLayer(kernels=kernels, columns=1 if "one_column" in directory.name else 2))
    save(folder, unfinished(result("no_color", 7), "failed", "no memory"))
    (folder / "broken").mkdir()
    (folder / "broken" / "result.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def written(whole: Path) -> str:
    return source(whole)


def test_it_is_whole_and_needs_nothing_else(written: str) -> None:
    seen = Page(written)
    repeated = [name for name, count in Counter(seen.attributes("id")).items() if count > 1]
    assert repeated == []
    targets = {link.removeprefix("#") for link in seen.attributes("href")}
    assert all(link.startswith("#") for link in seen.attributes("href"))
    referred = {name for value in seen.attributes("aria-labelledby") for name in value.split()}
    assert targets | referred <= set(seen.attributes("id"))
    assert all(value.startswith("data:image/png;base64,") for value in seen.attributes("src"))
    assert not re.search(r"https?://|@import|url\((?!#)", written)
    assert [tag for tag, _ in seen.elements if re.fullmatch(r"h[1-6]", tag)][:3] == ["h1", "h2", "h3"]
    assert {attributes.get("scope") for tag, attributes in seen.elements if tag == "th"} <= {"col", "row", "rowgroup"}


def test_minus_signs_of_figures_are_alike_and_the_title_names_the_folder(whole: Path, written: str) -> None:
    assert "/".join(whole.parts[-2:]) in written.partition("<title>")[2].partition("</title>")[0]
    text = re.sub("<(svg|details).*?</\\1>", "", written, flags=re.DOTALL)
    assert re.search(r"\N{MINUS SIGN}\d.* \(95 %\) beyond the sum", text)
    assert not re.search(r"[ \[]-\d+\.\d\d\b", Page(text).text)


def test_it_is_the_same_when_made_again(whole: Path, written: str) -> None:
    assert source(whole) == written


def test_the_table_holds_the_figures_of_the_group(whole: Path, written: str) -> None:
    (group,) = tables(whole)
    rows = [[cell.replace("\N{MINUS SIGN}", "-") for cell in row] for row in Page(written).rows]
    table = [row for row in rows if {"top-1", "top-5"} & set(row)]
    assert len(table) == 2 * len(group.rows)
    lines = iter(table)
    for row in group.rows:
        for measure, name in (("top1", "top-1"), ("top5", "top-5")):
            line = next(lines)
            figures = line[line.index(name) :]
            assert figures[5] == f"{row.errors[measure]:.2f}"
            if not row.assessments:
                assert figures[1] == ""
                continue
            judged = row.assessments[measure]
            assert figures[1] == f"{judged.delta:+.2f} [{judged.interval.low:+.2f}, {judged.interval.high:+.2f}]"
            for shown, p in zip(figures[6:8], (judged.holm_p, judged.p), strict=True):
                assert shown == ("<0.001" if p < 0.001 else f"{p:.3f}")
            assert figures[2] == judged.direction + (
                ", flagged" if judged.doubts and "few" not in judged.direction else ""
            )
            effect = judged.outlook.min_detectable_effect
            assert figures[9] == ("" if effect is None else f"{effect:.2f}")
            more = judged.outlook.with_more_seeds
            assert figures[10] == ("" if more is None else f"{more:.2f}")


def marks(root: ElementTree.Element, color: str) -> list[float]:
    """Where the round marks of the chart are that are filled or bordered in a color, left to right."""
    space = "{http://www.w3.org/2000/svg}"
    uses = [one for one in root.iter(f"{space}use") if color in (one.get("style") or "")]
    return sorted(float(one.get("x", "")) for one in uses if float(one.get("y", "")) > 150)  # below the legend


def test_chart_puts_each_delta_where_the_axis_says(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    save(tmp_path, result("no_dropout"), predictions(320, 110))  # no claims, so that the marks are the means
    root = ElementTree.fromstring(comparison_figure(tables(tmp_path)))
    texts = [(one.text or "", float(one.get("x", ""))) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    boundary = next(x for words, x in texts if words == "delta")  # the right edge of the first panel
    points = marks(root, LIGHT["ours"])
    assert len(points) == 2
    for expected, point, is_second in ((2.0, points[0], False), (1.0, points[1], True)):
        ticks = {
            float(words.replace("\N{MINUS SIGN}", "-")): x
            for words, x in texts
            if re.fullmatch(r"[+\N{MINUS SIGN}]?\d+(\.\d)?", words) and (x > boundary) == is_second
        }
        low, high = min(ticks), max(ticks)
        assert point == pytest.approx(ticks[0] + (ticks[high] - ticks[low]) / (high - low) * expected, abs=0.02)


def test_a_picture_is_xml_and_small(whole: Path) -> None:
    drawn = comparison_figure(tables(whole))
    ElementTree.fromstring(drawn)
    assert len(drawn) < 100_000 and "var(" not in drawn


def test_an_effect_far_beyond_the_others_is_an_arrow(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    for ablation, wrong in (("no_lrn", 310), ("no_color", 305), ("one_column", 312), ("no_dropout", 990)):
        save(tmp_path, result(ablation), predictions(wrong, wrong // 3))
    drawn = comparison_figure(tables(tmp_path))
    root = ElementTree.fromstring(drawn)
    assert ">+69.00<" in drawn
    assert len(marks(root, LIGHT["ours"])) == 2 * 3 + 2  # in each panel three means, and an arrow for the fourth


def test_without_a_baseline_there_is_no_chart(tmp_path: Path) -> None:
    save(tmp_path, replace(result("no_lrn"), lr=0.01), predictions(310, 100))
    seen = Page(source(tmp_path))
    assert seen.count("svg", "chart") == 0
    assert "No baseline run for no_lrn" in seen.text and "31.00" in seen.text
    assert "the baseline at the learning rate" not in seen.text
    assert "No ablation has a baseline" in comparison_figure(tables(tmp_path))


def test_runs_that_all_failed_make_a_page(tmp_path: Path) -> None:
    save(tmp_path, unfinished(result("no_lrn"), "failed", "no memory"))
    seen = Page(source(tmp_path))
    assert "1 run did not finish" in seen.text and "no memory" in seen.text
    assert seen.count("table") == 1  # what the ablation changes


def test_one_seed_is_said(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    save(tmp_path, result("no_lrn"), predictions(314, 112))
    text = Page(source(tmp_path)).text
    assert "too few seeds" in text and "the spread between runs is unknown" in text
    assert "the delta of these very networks may lie" in " ".join(text.split())
    assert "trained several times" not in text and "judged from all arms" not in text and "Detectable" not in text


def test_runs_that_start_from_one_net_are_said_to_vary_less(tmp_path: Path) -> None:
    start = PretrainedFacts(run="net", data_fingerprint="d1", weights="w", taken=("conv1",), fresh=(), left_behind=())
    for folder, given in (("drawn", None), ("tuned", start)):
        for ablation in ("baseline", "no_lrn"):
            save(tmp_path / folder, replace(result(ablation), pretrained=given), predictions(300, 100))
        (table,) = compare(collect([tmp_path / folder]).runs, split=None, view="ten_crop")
        said = "The runs start from the weights of net: how much runs vary, by which all is judged, holds nothing of"
        assert (said in markdown([table])) == (said in page([table], None, folder=tmp_path)) == (given is not None)


def test_a_stated_run_sd_has_its_own_words(tmp_path: Path) -> None:
    save(tmp_path, result(), predictions(300, 100))
    for ablation, wrong in (("no_lrn", 314), ("no_dropout", 390), ("no_dropout+no_lrn", 410)):
        save(tmp_path, result(ablation), predictions(wrong, 112))
    stated = StatedSpread(run_sd={"top1": 0.8, "top5": 0.5}, source="ten runs of a friend")
    comparison = compare_runs(tmp_path, stated=stated)
    written = page(comparison.tables, None, folder=tmp_path)
    for text in (Page(written).text, markdown(comparison.tables), str(comparison), latex(comparison.tables)):
        said = " ".join(text.split())
        assert not re.search("judged from all arms|several times|Holm|exact McNemar|spread between runs", said)
        assert "too few seeds" in said and not {"p", "none", "Detectable"} & {
            cell for row in Page(written).rows for cell in row
        }
    for text in (Page(written).text, markdown(comparison.tables), str(comparison)):
        assert "how much runs vary is taken from the run sd that was stated" in " ".join(text.split())
    assert "run sd assumed): too few seeds for a verdict on the direction." in written
    assert "Of 3 ablations: 3 with too few seeds for a verdict (no_lrn, no_dropout, no_dropout+no_lrn)." in written


def test_commands_are_for_the_folder_of_the_page_and_for_the_network_of_its_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, result("no_lrn"), predictions(314, 112))
    text = " ".join(Page(page(tables(tmp_path), None, folder=tmp_path)).text.split())
    assert "alexnet figures shapes-no_lrn-seed0-1a2b --pack PACK, called in the folder of this page" in text
    (described,) = re.findall(r"alexnet (describe .*--classes=20)", text)
    printed = []
    for arguments in (described, "describe scale=small --classes=20"):
        main(shlex.split(arguments))
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_names_may_be_broken_at_their_underscores(written: str) -> None:
    assert "<code><bdi>no_<wbr>dropout+<wbr>no_<wbr>lrn</bdi></code></th>" in written


def test_nothing_is_unescaped(tmp_path: Path) -> None:
    claim = Claim(title=NASTY, section=NASTY, statement=NASTY, paper=Effect(top1=1.0), log=Effect(top1=1.0))
    nasty = {
        "experiment": NASTY,
        "recipe": NASTY,
        "device": NASTY,
        "versions": {NASTY: NASTY},
        "git": GitState(revision=NASTY, dirty=True),
        "command": "python train.py '<script>' \"a b\"",
        "pairing_key": NASTY,
    }
    data = replace(result().data, name=NASTY, fingerprint=NASTY)
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    for number, name in enumerate(("baseline", NASTY)):
        claims = {} if name == "baseline" else {name: claim}
        changes = {} if name == "baseline" else {NASTY: (NASTY, None)}
        run = replace(result(), ablation=name, run=f"r{number}", claims=claims, changes=changes, data=data, **nasty)
        directory = save(folder, run, predictions(300 + 10 * number, 100))
        (directory / "metrics.csv").write_text(f"{HEADER}\n{NASTY[:30]}\n")
    save(folder, unfinished(replace(run, run="r2", seed=3), "failed", NASTY))
    text = source(tmp_path)
    text.encode()  # no lone surrogates
    seen = Page(text)
    assert seen.count("script") == 1 and seen.count("img") == 0
    assert seen.text.count(SHOWN) > 10
    assert "python train.py '<script>' \"a b\"" in seen.text
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)
    ElementTree.fromstring(comparison_figure(tables(tmp_path)))
    for line in markdown(tables(tmp_path)).split("The runs and their commands")[0].splitlines():
        assert "<script>" not in line.replace("\\<", "")


def test_curves_of_what_can_be_read(tmp_path: Path) -> None:
    first = save(tmp_path, result(), predictions(300, 100))
    second = save(tmp_path, result("no_lrn"), predictions(310, 100))
    save(tmp_path, result("one_column"), predictions(310, 100))
    add_curve(first, (90, 91), (80, 82), (70, 72.5), drop=2)
    add_curve(second, (95, ""), (85, ""))
    with (second / "metrics.csv").open("a") as file:
        file.write("2,half")
    seen = Page(source(tmp_path))
    assert seen.count("figure") == 3  # the deltas, and two charts of curves
    assert "metrics.csv: damaged after epoch 2" in seen.text
    assert "shapes-one_column-seed0-1a2b: metrics.csv: missing" in seen.text
    assert ["baseline seed 0", "3", "70.00", "72.50", "72.50 after 3"] in seen.rows
    assert ["no_lrn seed 0", "2", "85.00", "", ""] in seen.rows
    charts = source(tmp_path).partition('<div class="charts">')[2].partition("</div>")[0]
    curves = Counter(re.findall(r"fill: none;[^\"]*stroke: var\(--(ours|claim|muted|log)\)", charts))
    # Validation, training, the baseline's validation behind, and a change of the learning rate.
    assert curves == {"ours": 1, "claim": 2, "muted": 1, "log": 1}


def test_kernels_of_what_can_be_read(tmp_path: Path) -> None:
    first = save(tmp_path, result(), predictions(300, 100))
    second = save(tmp_path, result("one_column"), predictions(310, 100))
    save(tmp_path, result("no_lrn"), predictions(310, 100))
    grey = np.ones((2, 3, 2, 2), dtype=np.float32)
    red = grey * np.array([1, 0, 0], dtype=np.float32)[:, None, None]
    write_first_layer(first, FirstLayer(kernels=np.concatenate([grey, red]), columns=2))
    write_first_layer(second, FirstLayer(kernels=red, columns=1))
    seen = Page(source(tmp_path))
    assert seen.count("img") == 3
    # Two of the six splits of four kernels are this one and its mirror.
    assert ["baseline", "0", "4", "0.000", "0.667", "+0.67", "0.333"] in seen.rows
    assert ["one_column", "0", "2", "0.667", "", "", ""] in seen.rows
    assert "1 finished run without a first layer" in seen.text


def test_differences_between_runs_are_flagged(tmp_path: Path) -> None:
    git = GitState(revision="abc", dirty=False)
    first = replace(result(), git=git, versions={"torch": "2.11"}, precision="32-true")
    save(tmp_path, first, predictions(300, 100))
    other = replace(result("no_lrn"), git=replace(git, dirty=True), versions={"torch": "2.12"}, device="gpu")
    other = replace(other, precision="bf16-mixed")
    save(tmp_path, other, predictions(310, 100))
    text = Page(source(tmp_path)).text
    assert "These runs do not differ by ablation and seed alone" in text
    assert "torch: 2.11 (baseline seed 0); 2.12 (no_lrn seed 0)" in text
    assert "this page lists them under What differs" in text and "the HTML report" not in text
    assert "precision: 32-true (baseline seed 0); bf16-mixed (no_lrn seed 0)" in text
    assert "device: cpu (baseline seed 0); gpu (no_lrn seed 0)" in text
    assert "code: abc (baseline seed 0); abc with uncommitted changes (no_lrn seed 0)" in text
    assert "lrn.layers" in text and "[1, 2]" in text


def test_every_run_can_be_traced(whole: Path, written: str) -> None:
    from hashlib import sha256

    seen = Page(written).text
    for run in collect([whole]).runs:
        assert run.result.command in seen
        assert sha256((run.directory / "result.json").read_bytes()).hexdigest() in seen
    predicted = whole / "shapes-no_lrn-seed0-1a2b" / "predictions.npz"
    assert sha256(predicted.read_bytes()).hexdigest() in seen
    assert "Warning: 1 unreadable run was skipped" in seen and str(whole / "broken") in seen


def test_runs_of_one_name_in_two_folders_keep_their_own_anchors(tmp_path: Path) -> None:
    for part, key in (("a", "k1"), ("b", "k2")):
        save(tmp_path / part, replace(result(), pairing_key=key), predictions(300, 100))
    seen = Page(source(tmp_path))
    assert [name for name in seen.attributes("id") if name.startswith("run-")] == ["run-1", "run-2"]


@pytest.mark.slow
def test_a_hundred_runs_of_the_paper_s_size_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(100):
        ablation = "baseline" if number < 5 else f"change{number // 5}"
        directory = save(tmp_path, result(ablation, number % 5), predictions(300 + number, 100))
        add_curve(directory, *((90 - epoch / 2, 91 - epoch / 2) for epoch in range(90)))
        kernels = rng.normal(size=(96, 3, 11, 11)).astype(np.float32)
        write_first_layer(directory, FirstLayer(kernels=kernels, columns=2))
    text = source(tmp_path)
    assert len(text.encode()) < 3_000_000
    assert "Further pictures are left out" in text or Page(text).count("img") == 40
