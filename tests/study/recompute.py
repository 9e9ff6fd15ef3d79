"""Recompute a comparison from the prediction files alone, by other means than the program's, and compare every figure.

Imports nothing of the program: plain sums over images, `scipy.stats`, the formulas of `docs/statistics.md`. For studies
without a plan, and for those whose plan has one look; the rates that its search chose are chosen again.

    python tests/study/recompute.py FOLDER [REPORT_FOLDER]

FOLDER holds the run directories, REPORT_FOLDER (the same unless given) the files of the comparison. Prints each
figure that differs and ends with exit code 1 if there is one.
"""

import csv
import json
import sys
from collections.abc import Collection
from html.parser import HTMLParser
from math import isclose, log, sqrt
from pathlib import Path

import numpy as np
from scipy import stats

TOP = {"top1": "top1_right", "top5": "top5_right"}


Runs = dict[tuple[str, int], tuple[str, dict, dict]]
"""(ablation, seed) -> directory name, measure -> bools, and claim."""


def read_results(folder: Path) -> list[tuple[Path, dict]]:
    """Directory and contents of every result file of a finished run."""
    found = [(path.parent, json.loads(path.read_text())) for path in sorted(folder.rglob("result.json"))]
    return [(path, result) for path, result in found if result["status"] == "finished"]


def search_of(result: dict) -> dict:
    """The search for rates of a run's plan; without seeds if there is none."""
    return (result.get("plan") or {}).get("search") or {"seeds": [], "grid": []}


def choose_rates(results: list[tuple[Path, dict]]) -> dict[str, dict]:
    """By arm, the baseline first: the held-out error in percent by rate, and the rate chosen."""
    cells: dict[str, dict[float, list[float]]] = {}
    searches = sorted(
        (result for _, result in results if result["seed"] in search_of(result)["seeds"]),
        key=lambda result: (result["ablation"] != "baseline", result["ablation"], result["lr"]),
    )
    for result in searches:
        error_of = 100 * result["errors"]["val"]["ten_crop"]["top1"]
        cells.setdefault(result["ablation"], {}).setdefault(result["lr"], []).append(error_of)
    chosen: dict[str, dict] = {}
    for arm, by_rate in cells.items():
        means = {rate: sum(errors) / len(errors) for rate, errors in by_rate.items()}
        lowest = min(means.values())
        if len(next(iter(by_rate.values()))) == 1:
            images = searches[0]["errors"]["val"]["ten_crop"]["images"]
            slack = sqrt(lowest * (100 - lowest) / images)
        else:
            spread = sum(np.var(errors, ddof=1) for errors in by_rate.values()) / len(by_rate)
            slack = sqrt(spread / len(next(iter(by_rate.values()))))
        grid = search_of(searches[0])["grid"]
        near = chosen["baseline"]["chosen"] if chosen else sorted(grid)[len(grid) // 2]
        alike = [rate for rate, mean in means.items() if mean <= lowest + slack]
        best = min(alike, key=lambda rate: (round(abs(log(rate) - log(near)), 6), means[rate]))
        chosen[arm] = {"errors": means, "chosen": best}
    return chosen


def read_runs(results: list[tuple[Path, dict]], rates: dict[str, dict]) -> tuple[Runs, Runs]:
    """The runs of the study at the rates that are judged, and those at the other rate; of copies the first."""
    judged: Runs = {}
    others: Runs = {}
    seen = set()
    own_claims: dict[str, list[bool]] = {}
    for _, result in results:
        if result["seed"] not in search_of(result)["seeds"]:
            says = any(claim.get("rate") == "own" for claim in result["claims"].values())
            own_claims.setdefault(result["ablation"], []).append(says)
    for folder, result in results:
        if result["seed"] in search_of(result)["seeds"]:
            continue
        runs = judged
        if rates:
            shared, own = rates["baseline"]["chosen"], rates[result["ablation"]]["chosen"]
            said = own_claims[result["ablation"]]
            of_own = sum(said) > len(said) / 2
            if result["lr"] not in (shared, own):
                continue
            runs = judged if result["lr"] == (own if of_own else shared) else others
        split = "test" if "test" in result["errors"] else "val"
        with np.load(folder / "predictions.npz") as file:
            labels, best = file[f"{split}/labels"], file[f"{split}/ten_crop/top5_classes"]
            answers = best.tobytes(), file[f"{split}/ten_crop/top5_probabilities"].tobytes()
        right = {
            "top1": np.array([int(label) == int(five[0]) for label, five in zip(labels, best, strict=True)]),
            "top5": np.array([int(label) in map(int, five) for label, five in zip(labels, best, strict=True)]),
        }
        key = result["ablation"], *answers
        if key not in seen:
            claim = result["claims"].get(result["ablation"], {})
            runs[result["ablation"], result["seed"]] = (result["run"], right, claim)
        seen.add(key)
    return judged, others


def error(right: np.ndarray) -> float:
    return 100 * sum(not one for one in right) / len(right)


def pair_figures(baseline: np.ndarray, ablated: np.ndarray) -> dict[str, float]:
    """One seed: delta, Bonett-Price interval, McNemar."""
    n = len(baseline)
    worse = sum(a and not b for a, b in zip(baseline, ablated, strict=True))
    better = sum(b and not a for a, b in zip(baseline, ablated, strict=True))
    p, q = (worse + 1) / (n + 2), (better + 1) / (n + 2)
    half = stats.norm.ppf(0.975) * sqrt((p + q - (p - q) ** 2) / (n + 2))
    return {
        "delta": 100 * (worse - better) / n,
        "low": max(100 * (p - q - half), -100),
        "high": min(100 * (p - q + half), 100),
        "only_run_wrong": worse,
        "only_baseline_wrong": better,
        "mcnemar_p": stats.binomtest(worse, worse + better, 0.5).pvalue if worse + better else 1.0,
    }


def family_figures(
    arms: dict[str, list[np.ndarray]], combinations: Collection[str] = ()
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Of every ablation of one measure: delta, interval, p, and what its power follows from; and of `combinations` of
    two the same beyond the sum of their deltas."""
    wrong = {name: np.array([[100.0 * (not one) for one in run] for run in runs]) for name, runs in arms.items()}
    n = wrong["baseline"].shape[1]
    df = {name: len(table) - 1 for name, table in wrong.items()}
    own, rest = {}, {}
    for name, table in wrong.items():
        rows, columns = table.mean(axis=1), table.mean(axis=0)
        if df[name]:
            own[name] = sum((rows - rows.mean()) ** 2) / df[name]
            left = sum(((table[i] - rows[i] - columns + table.mean()) ** 2).sum() for i in range(len(table)))
            rest[name] = left / (df[name] * (n - 1))
    if not own:
        return {name: one_pair(arms["baseline"][0], runs[0]) for name, runs in arms.items() if name != "baseline"}, {}
    usual = sum(rest.values()) / len(rest)
    rest = {name: rest.get(name, usual) for name in wrong}

    def pooled(names: set[str]) -> tuple[float, int]:
        whole = sum(df[name] for name in names)
        return sum(df[name] * own[name] for name in names) / whole if whole else 0.0, whole

    out = set()
    for name in own:
        spread, dof = pooled(set(own) - {name})
        least = sum(df[b] * rest[b] / n for b in own if b != name) / dof if dof else 0.0
        if max(spread, least) > 1e-18 and stats.f.sf(own[name] / max(spread, least), df[name], dof) < 0.01:
            out.add(name)
    out = set() if out == set(own) else out
    spread, whole = pooled(set(own) - out)
    prior = {name: 0 if name in out else min(4, whole) for name in wrong}
    dof = {name: df[name] + prior[name] for name in wrong}
    moderated = {
        name: max((df[name] * own.get(name, 0.0) + prior[name] * spread) / dof[name], rest[name] / n) for name in wrong
    }

    def weigh(weights: dict[str, int]) -> dict[str, float]:
        """A weighted sum of arms; without a spread nothing."""
        sides = {side: moderated[side] / len(wrong[side]) for side in weights}
        noise = sum(rest[side] / len(wrong[side]) for side in sides)
        shift = sum(weight * wrong[side].mean(axis=0) for side, weight in weights.items())
        of_images = max(sum((shift - shift.mean()) ** 2) / (n - 1) - noise, 0.0) / n
        of_seeds = sum(sides.values())
        if of_seeds < 1e-18:
            return {}
        limit = sum(dof[side] for side in sides if side in out) + (0 if set(sides) <= out else whole)
        nu = min(of_seeds**2 / sum(part**2 / dof[side] for side, part in sides.items()), limit)
        nu *= ((of_seeds + of_images) / of_seeds) ** 2
        delta, se, most = shift.mean(), sqrt(of_seeds + of_images), 100 * len(weights) / 2
        half = stats.t.ppf(0.975, nu) * se
        return {
            "delta": delta,
            "low": max(delta - half, -most),
            "high": min(delta + half, most),
            "p": 2 * stats.t.sf(abs(delta) / se, nu),
            "narrow": stats.t.ppf(0.95, nu) * se,
            "of_images": of_images,
        }

    figures = {}
    for name in wrong:
        if name == "baseline":
            continue
        found = weigh({name: 1, "baseline": -1})
        design = {
            "run_sd": sqrt(moderated[name]),
            "spread": [max(moderated[s] if s in out else spread, rest[s] / n) for s in (name, "baseline")],
            "whole": whole,
            "arms": len(wrong),
        }
        figures[name] = found | design if found else one_pair(arms["baseline"][0], arms[name][0])
    beyond = {}
    for name in combinations:
        first, second = name.split("+")
        beyond[name] = weigh({name: 1, first: -1, second: -1, "baseline": 1})
    return figures, beyond


def one_pair(baseline: np.ndarray, ablated: np.ndarray) -> dict[str, float]:
    first = pair_figures(baseline, ablated)
    return {name: first[name] for name in ("delta", "low", "high")} | {"p": first["mcnemar_p"]}


def holm(p_values: dict[str, float]) -> dict[str, float]:
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return adjusted


def direction(figures: dict[str, float], claim: float | None, margin: float | None, runs: int) -> str:
    if runs < 3:
        return "too few seeds"
    if figures["holm_p"] < 0.05:
        if not claim:
            return "worse" if figures["delta"] > 0 else "better"
        return "as claimed" if figures["delta"] * claim > 0 else "opposite"
    inside = margin is not None and abs(figures["delta"]) + figures.get("narrow", 100) < margin
    return "no effect" if inside else "not resolved"


def power(figures: dict, seeds: tuple[int, int], delta: float, whole: float) -> float:
    """Chance of a p below 5 % over all ablations for a true `delta`."""
    parts = [v / s for v, s in zip(figures["spread"], seeds, strict=True)]
    total = sum(parts)
    nu = min(total**2 / sum(p**2 / (s - 1 + min(4, whole)) for p, s in zip(parts, seeds, strict=True)), whole)
    nu *= ((total + figures["of_images"]) / total) ** 2
    level = 0.05 / figures["tests"]
    return float(stats.nct.sf(stats.t.isf(level / 2, nu), nu, delta / sqrt(total + figures["of_images"])))


class HeadlineTable(HTMLParser):
    """The cells of the page's table: a row of headings, then a row of texts for each ablation and measure."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.ablation, self.inside, self.cell, self.code = "", False, False, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.inside = ("class", "headline") in attrs
        elif self.inside and tag == "tr":
            self.rows.append([])
        elif self.inside and (("scope", "col") in attrs or (tag == "td" and ("rowspan", "2") not in attrs)):
            self.rows[-1].append("")
            self.cell = True
        elif self.inside and tag == "code":
            self.ablation, self.code = "", True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
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


def check_pairs(folder: Path, runs: Runs, check: Checker) -> None:
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


def check_means(folder: Path, runs: Runs, check: Checker) -> dict[tuple[str, str], dict[str, float]]:
    """Every line of `comparison.csv`; returns the recomputed figures of each (ablation, measure)."""
    lines = list(csv.DictReader((folder / "comparison.csv").read_text().splitlines()))
    seeds = {line["ablation"]: [int(seed) for seed in line["seeds"].split()] for line in lines}
    recomputed: dict[tuple[str, str], dict[str, float]] = {}
    for measure in TOP:
        arms = {name: [runs[name, seed][1][measure] for seed in found] for name, found in seeds.items()}
        combined = [line["ablation"] for line in lines if line[f"{measure}_interaction"]]
        figures, beyond = family_figures(arms, combined)
        tests = {name: one["p"] for name, one in figures.items()}
        adjusted = holm(tests | {f"{name} beyond": one["p"] for name, one in beyond.items()})
        for name, runs_of in arms.items():
            mean = sum(map(error, runs_of)) / len(runs_of)
            known = {"holm_p": adjusted[name], "tests": len(adjusted)} if name in adjusted else {}
            if name in beyond:
                known |= {f"interaction_{key}": beyond[name][key] for key in ("low", "high")}
                known |= {"interaction": beyond[name]["delta"], "interaction_holm_p": adjusted[f"{name} beyond"]}
            recomputed[name, measure] = {"error": mean} | figures.get(name, {}) | known
    for line in lines:
        claim = runs[line["ablation"], seeds[line["ablation"]][0]][2]
        counts = len(seeds[line["ablation"]]), len(seeds["baseline"])
        for measure in TOP:
            check_line(line, measure, recomputed[line["ablation"], measure], claim, counts, check)
    return recomputed


def check_line(
    line: dict[str, str], measure: str, figures: dict, claim: dict, counts: tuple[int, int], check: Checker
) -> None:
    where = f"{line['ablation']} {measure}"
    for name, value in figures.items():
        if f"{measure}_{name}" in line:
            check.number(f"{where} {name}", line[f"{measure}_{name}"], float(value), 1e-6)
    if "p" not in figures:
        return
    given = [claim.get(source, {}).get(measure) for source in ("paper", "log")]
    number = next((one for one in given if one is not None), None)
    in_words = {"worse": 1.0, "better": -1.0}.get(claim.get("paper", {}).get("relation", ""))
    margin = claim.get("margin", {}).get(measure)
    expected = direction(figures, in_words if number is None else number, margin, min(counts))
    check.text(f"{where} direction", line[f"{measure}_direction"], expected)
    if "spread" not in figures:
        return
    for column, added in (("resolvable", 0), ("resolvable_with_more", 5)):
        least, seeds = line[f"{measure}_{column}"], (counts[0] + added, counts[1] + added)
        reached = power(figures, seeds, float(least or 100), figures["whole"] + added * figures["arms"])
        fits = abs(reached - 0.8) < 0.005 if least else reached < 0.8
        check.text(f"{where} power at {column}", f"{least}: {reached:.4f}", "0.8", fits)
    if needed := line[f"{measure}_seeds_needed"]:
        chances = [
            power(figures, (count, count), abs(number), figures["arms"] * (count - 1))
            for count in (int(needed), int(needed) - 1)
        ]
        check.text(f"{where} seeds needed", needed, "enough", chances[0] >= 0.8)
        check.text(f"{where} seeds needed", needed, "fewest", needed == "3" or chances[1] < 0.8)


def check_page(folder: Path, recomputed: dict[tuple[str, str], dict[str, float]], check: Checker) -> None:
    """The headline table of `comparison.html`, as text."""
    table = HeadlineTable()
    table.feed((folder / "comparison.html").read_text(encoding="utf-8"))
    (_, *headings), *rows = [[cell.replace("\u2212", "-") for cell in row] for row in table.rows if row]
    check.text("rows of the page", str(len(rows)), str(len(recomputed)))
    for name, measure, *cells in rows:
        figures, seen = recomputed[name, measure.replace("-", "")], dict(zip(headings[2:], cells, strict=False))
        where = f"page {name} {measure}"
        check.text(f"{where} error", seen["Error"], f"{figures['error']:.2f}")
        if "p" in figures:
            shown = f"{figures['delta']:+.2f} [{figures['low']:+.2f}, {figures['high']:+.2f}]"
            check.text(f"{where} delta and interval", seen["Delta and interval"], shown)
            check.text(f"{where} p", seen["p"], shown_p(figures["p"]))
            check.text(f"{where} Holm p", seen["Holm p"], shown_p(figures["holm_p"]))


def check_rates(folder: Path, rates: dict[str, dict], judged: Runs, others: Runs, check: Checker) -> None:
    """The notes of `comparison.md` on the search for rates, and on the ablations at the other of two."""
    notes = (folder / "comparison.md").read_text(encoding="utf-8").replace("\\", "").splitlines()
    for arm, found in rates.items():
        errors = ", ".join(f"{rate}: {error:.2f}" for rate, error in sorted(found["errors"].items()))
        edge = ", at the edge of the grid" if found["chosen"] in (min(found["errors"]), max(found["errors"])) else ""
        expected = f"- {arm}: held-out error by rate {errors}; chosen {found['chosen']}{edge}."
        check.text(f"{arm} search", expected if expected in notes else "no such note", expected)
    baselines = {key: run for key, run in judged.items() if key[0] == "baseline"}
    for measure in TOP:
        arms: dict[str, list[np.ndarray]] = {}
        for (name, _), (_, right, _) in sorted((baselines | others).items()):
            arms.setdefault(name, []).append(right[measure])
        for name, figures in family_figures(arms)[0].items() if len(arms) > 1 else ():
            shown = f"{figures['delta']:+.2f} [{figures['low']:+.2f}, {figures['high']:+.2f}] (95 %)"
            found = [
                note for note in notes if note.startswith(f"- {name}, {measure.replace('top', 'top-')}, at the rate")
            ]
            check.text(f"{name} {measure} at the other rate", str([shown in note for note in found]), "[True]")


def main(folder: Path, report: Path) -> int:
    check = Checker()
    results = read_results(folder)
    rates = choose_rates(results)
    runs, others = read_runs(results, rates)
    check_pairs(report, runs, check)
    check_page(report, check_means(report, runs, check), check)
    check_rates(report, rates, runs, others, check)
    print(f"{len(runs)} runs: {check.agreed} figures agree, {check.wrong} differ")
    return 1 if check.wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[-1])))
