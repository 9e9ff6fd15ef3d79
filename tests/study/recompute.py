"""Recompute a comparison from the prediction files alone, by other means than the program's, and compare every figure.

Imports nothing of the program: plain loops over images, `scipy.stats`, the formulas of `docs/statistics.md`.

    python tests/study/recompute.py FOLDER [REPORT_FOLDER]

FOLDER holds the run directories, REPORT_FOLDER (the same unless given) the files of the comparison. Prints each
figure that differs and ends with exit code 1 if there is one.
"""

import csv
import json
import sys
from html.parser import HTMLParser
from math import isclose, sqrt
from pathlib import Path

import numpy as np
from scipy import optimize, stats

TOP = {"top1": "top1_right", "top5": "top5_right"}


def read_runs(folder: Path) -> dict[tuple[str, int], tuple[str, dict]]:
    """(ablation, seed) -> directory name and measure -> list of bools, for every finished run."""
    runs = {}
    for path in sorted(folder.rglob("result.json")):
        result = json.loads(path.read_text())
        if result["status"] != "finished":
            continue
        split = "test" if "test" in result["errors"] else "val"
        with np.load(path.parent / "predictions.npz") as file:
            right = {}
            labels, best = file[f"{split}/labels"], file[f"{split}/ten_crop/top5_classes"]
            right["top1"] = [int(label) == int(five[0]) for label, five in zip(labels, best, strict=True)]
            right["top5"] = [int(label) in map(int, five) for label, five in zip(labels, best, strict=True)]
        runs[result["ablation"], result["seed"]] = (result["run"], right)
    return runs


def error(right: list[bool]) -> float:
    return 100 * sum(not one for one in right) / len(right)


def pair_figures(baseline: list[bool], ablated: list[bool]) -> dict[str, float]:
    """One seed: delta, Bonett-Price interval, McNemar."""
    n = len(baseline)
    worse = sum(a and not b for a, b in zip(baseline, ablated, strict=True))
    better = sum(b and not a for a, b in zip(baseline, ablated, strict=True))
    p, q = (worse + 1) / (n + 2), (better + 1) / (n + 2)
    half = stats.norm.ppf(0.975) * sqrt((p + q - (p - q) ** 2) / (n + 2))
    return {
        "delta": 100 * (worse - better) / n,
        "low": 100 * (p - q - half),
        "high": 100 * (p - q + half),
        "only_run_wrong": worse,
        "only_baseline_wrong": better,
        "mcnemar_p": stats.binomtest(worse, worse + better, 0.5).pvalue if worse + better else 1.0,
    }


def mean_figures(baselines: list[list[bool]], ablated: list[list[bool]]) -> dict[str, float]:
    """Mean delta, interval for seeds and images, p (docs/statistics.md); of one seed, those of its pair."""
    first = pair_figures(baselines[0], ablated[0])
    alone = {name: first[name] for name in ("delta", "low", "high")} | {"p": first["mcnemar_p"]}
    if len(baselines) == 1:
        return alone
    table = [
        [100 * (int(a) - int(b)) for a, b in zip(x, y, strict=True)] for x, y in zip(baselines, ablated, strict=True)
    ]
    s, n = len(table), len(table[0])
    mean = sum(map(sum, table)) / (s * n)
    by_seed = [sum(row) / n for row in table]
    by_image = [sum(row[j] for row in table) / s for j in range(n)]
    ms_seed = n * sum((m - mean) ** 2 for m in by_seed) / (s - 1)
    ms_image = s * sum((m - mean) ** 2 for m in by_image) / (n - 1)
    rest = sum((table[i][j] - by_seed[i] - by_image[j] + mean) ** 2 for i in range(s) for j in range(n))
    ms_rest = rest / ((s - 1) * (n - 1))
    if len({value for row in table for value in row}) == 1:  # not one image makes a difference
        return alone
    of_seeds = max(ms_seed, stats.chi2.ppf(0.025, s - 1) / (s - 1) * ms_rest) / (s * n)
    of_images = max(ms_image - ms_rest, 0) / (s * n)
    share = of_seeds / (of_seeds + of_images)
    weight = share if s == 2 else share**1.5

    def critical(p: float) -> float:
        return weight * stats.t.ppf(1 - p / 2, s - 1) + (1 - weight) * stats.norm.ppf(1 - p / 2)

    se = sqrt(of_seeds + of_images)
    wanted = abs(mean) / se
    p = optimize.brentq(lambda log_p: critical(np.exp(log_p)) - wanted, np.log(1e-15), 0, xtol=1e-12) if wanted else 0.0
    sd = sqrt(sum((m - mean) ** 2 for m in by_seed) / (s - 1))
    t = stats.t.ppf(0.975, s - 1)
    return {
        "delta": mean,
        "low": mean - critical(0.05) * se,
        "high": mean + critical(0.05) * se,
        "p": float(np.exp(p)),
        "var_seed": (max(ms_seed - ms_rest, 0) + ms_rest) / n,  # of one seed's delta: its own, and the rest over images
        "var_image": max(ms_image - ms_rest, 0) / (s * n),
        "seed_sd": sd,
        "seed_low": mean - t * sd / sqrt(s),
        "seed_high": mean + t * sd / sqrt(s),
    }


def holm(p_values: dict[str, float]) -> dict[str, float]:
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return adjusted


def verdict(low: float, high: float, claim: float) -> str:
    beside = low > 0 if claim > 0 else high < 0
    if low <= claim <= high:
        return "agrees" if beside else "not resolved"
    return "same sign" if beside else "disagrees"


def power(figures: dict[str, float], seeds: int, delta: float) -> float:
    """Chance of finding a true `delta` with `seeds`, by integration over the mean square between seeds."""
    of_seeds, of_images = figures["var_seed"] / seeds, figures["var_image"]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    seen = of_seeds * stats.chi2.ppf((nodes + 1) / 2, seeds - 1) / (seeds - 1)
    share = seen / (seen + of_images)
    weight = share if seeds == 2 else share**1.5
    critical = weight * stats.t.ppf(0.975, seeds - 1) + (1 - weight) * stats.norm.ppf(0.975)
    found = stats.norm.cdf((delta - critical * np.sqrt(seen + of_images)) / sqrt(of_seeds + of_images))
    return float(weights @ found / 2)


class HeadlineTable(HTMLParser):
    """The cells of the page's table, a row of texts for each ablation and measure."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.ablation, self.inside, self.cell, self.code = "", False, False, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.inside = ("class", "headline") in attrs
        elif self.inside and tag == "tr":
            self.rows.append([])
        elif self.inside and tag == "td" and ("rowspan", "2") not in attrs:
            self.rows[-1].append("")
            self.cell = True
        elif self.inside and tag == "code":
            self.ablation, self.code = "", True

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self.cell = False
        elif tag == "code":
            self.code = False
        elif tag == "table":
            self.inside = False
        elif self.inside and tag == "tr" and self.rows[-1]:
            self.rows[-1].insert(0, self.ablation)

    def handle_data(self, data: str) -> None:
        if self.code:
            self.ablation += data
        elif self.cell:
            self.rows[-1][-1] += data


class Checker:
    """Counts figures that agree, prints those that do not."""

    def __init__(self) -> None:
        self.agreed, self.wrong = 0, 0

    def number(self, what: str, reported: str, computed: float, tolerance: float = 1e-7) -> None:
        self.text(what, reported, repr(computed), isclose(float(reported), computed, rel_tol=tolerance, abs_tol=1e-9))

    def text(self, what: str, reported: str, computed: str, same: bool | None = None) -> None:
        if reported == computed if same is None else same:
            self.agreed += 1
        else:
            self.wrong += 1
            print(f"{what}: reported {reported!r}, recomputed {computed!r}")


def shown_p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def check_pairs(folder: Path, runs: dict, check: Checker) -> None:
    """Every line of `comparison_runs.csv`."""
    for line in csv.DictReader((folder / "comparison_runs.csv").read_text().splitlines()):
        key = line["ablation"], int(line["seed"])
        if key not in runs:
            continue
        for measure in TOP:
            right = runs[key][1][measure]
            check.number(f"{key} {measure} error", line[f"{measure}_error"], error(right))
            if line["baseline_run"]:
                figures = pair_figures(runs["baseline", key[1]][1][measure], right)
                for name, value in figures.items():
                    check.number(f"{key} {measure} {name}", line[f"{measure}_{name}"], value)


def check_means(folder: Path, runs: dict, check: Checker) -> dict[tuple[str, str], dict[str, float]]:
    """Every line of `comparison.csv`; returns the recomputed figures of each (ablation, measure)."""
    lines = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    recomputed: dict[tuple[str, str], dict[str, float]] = {}
    for line in lines:
        seeds = [int(seed) for seed in line["seeds"].split()]
        for measure in TOP:
            ablated = [runs[line["ablation"], seed][1][measure] for seed in seeds]
            figures = {"error": sum(map(error, ablated)) / len(seeds)}
            if line["ablation"] != "baseline":
                figures |= mean_figures([runs["baseline", seed][1][measure] for seed in seeds], ablated)
            recomputed[line["ablation"], measure] = figures
    for measure in TOP:
        adjusted = holm({name: f["p"] for (name, which), f in recomputed.items() if which == measure and "p" in f})
        for name, value in adjusted.items():
            recomputed[name, measure]["holm_p"] = value
    for line in lines:
        for measure in TOP:
            check_line(line, measure, recomputed[line["ablation"], measure], check)
    return recomputed


def check_line(line: dict[str, str], measure: str, figures: dict[str, float], check: Checker) -> None:
    where = f"{line['ablation']} {measure}"
    for name, value in figures.items():
        if f"{measure}_{name}" in line:
            check.number(f"{where} {name}", line[f"{measure}_{name}"], value, 1e-6)
    if "p" not in figures:
        return
    for source in ("paper", "log"):
        claim = line[f"{measure}_{source}"]
        expected = verdict(figures["low"], figures["high"], float(claim)) if claim else ""
        check.text(f"{where} {source} verdict", line[f"{measure}_{source}_verdict"], expected)
    if "var_seed" not in figures:
        return
    seeds = len(line["seeds"].split())
    reached = power(figures, seeds, float(line[f"{measure}_resolvable"]))
    check.text(f"{where} power at the resolvable delta", f"{reached:.4f}", "0.8", abs(reached - 0.8) < 0.005)
    if needed := line[f"{measure}_seeds_needed"]:
        claim = abs(float(line[f"{measure}_paper"]))
        enough = power(figures, int(needed), claim) > 0.795
        check.text(f"{where} seeds needed", needed, "enough", enough)
        if int(needed) > 2:
            check.text(f"{where} seeds needed", needed, "fewest", power(figures, int(needed) - 1, claim) < 0.805)


def check_page(folder: Path, recomputed: dict[tuple[str, str], dict[str, float]], check: Checker) -> None:
    """The headline table of `comparison.html`, as text."""
    table = HeadlineTable()
    table.feed((folder / "comparison.html").read_text(encoding="utf-8"))
    rows = [[cell.replace("\u2212", "-") for cell in row] for row in table.rows if row]
    check.text("rows of the page", str(len(rows)), str(len(recomputed)))
    for name, measure, shown_error, delta, interval, p, holm_p, *_ in rows:
        figures = recomputed[name, measure.replace("-", "")]
        where = f"page {name} {measure}"
        check.text(f"{where} error", shown_error, f"{figures['error']:.2f}")
        if "p" in figures:
            check.text(f"{where} delta", delta, f"{figures['delta']:+.2f}")
            check.text(f"{where} interval", interval, f"[{figures['low']:+.2f}, {figures['high']:+.2f}]")
            check.text(f"{where} p", p, shown_p(figures["p"]))
            check.text(f"{where} Holm p", holm_p, shown_p(figures["holm_p"]))


def main(folder: Path, report: Path) -> int:
    check = Checker()
    runs = read_runs(folder)
    check_pairs(report, runs, check)
    check_page(report, check_means(report, runs, check), check)
    print(f"{len(runs)} runs: {check.agreed} figures agree, {check.wrong} differ")
    return 1 if check.wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[-1])))
