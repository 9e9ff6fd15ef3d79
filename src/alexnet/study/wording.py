"""Words of a comparison, the same in the terminal, in files and in charts; `table_columns` has its columns."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from alexnet.errors import plural, printable
from alexnet.runs.collect import Run
from alexnet.runs.result import BASELINE
from alexnet.runs.summary import VIEW_NAMES
from alexnet.study.assessment import SOURCES
from alexnet.study.comparison import AblationRow, ComparisonTable
from alexnet.study.flags import Flag, shown_p
from alexnet.study.learning_rates import Rates
from alexnet.study.statistics import Estimate, Interval
from alexnet.study.verdict import RESOLVED, Direction
from alexnet.study.worded_claims import EARLY

Record = dict[str, object]
"""Figures of a line of a table, by column."""
MINUS = "\N{MINUS SIGN}"
MEASURE_NAMES = {"top1": "top-1", "top5": "top-5"}
SPLITS = {"test": "test", "val": "validation"}
UNPRINTED = {"log": "the authors' log", "source": "the authors' source"}
"""Sources of claims that no section of the paper makes."""
_ENDINGS = {
    Direction.AS_CLAIMED: ", in the claimed direction",
    Direction.OPPOSITE: ", against the claimed direction",
    Direction.WORSE: "; nothing is claimed of the direction",
    Direction.BETTER: "; nothing is claimed of the direction",
    Direction.NO_EFFECT: ": no effect, to within the margin of its claim's file or of the plan",
    Direction.NOT_RESOLVED: ": not resolved, it may be chance",
    Direction.TOO_FEW_SEEDS: ": too few seeds for a verdict on the direction",
    Direction.DEPENDS: ": the direction depends on the learning rate",
}
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~&$]|^[#+=-]|(?<![^\W_])_|_(?![^\W_])|(?<=:)//|(?<=www)\.|@")
"""What means something in a line of Markdown, and what makes a link of bare addresses."""
_LATEX = {char: f"\\{char}" for char in "#$%&_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$"
}  # fmt: skip
_FORMULA = re.compile(r"(^|;)(\s*)(?=[=+@\-\uff1d\uff0b\uff0d\uff20])")
"""Where a spreadsheet sees the begin of a formula; in some countries cells end at semicolons."""


def escape_markdown(text: str) -> str:
    """Escape a name or message for a line of Markdown."""
    return _MARKDOWN.sub(r"\\\g<0>", printable(" ".join(text.split())))


def escape_latex(text: str) -> str:
    """Escape a name or message for LaTeX, on one line; a minus sign before a digit becomes a real one."""
    escaped = "".join(_LATEX.get(char, char) for char in printable(" ".join(text.split())))
    return re.sub(r"(?<![\w.])[-\u2212](?=\d)", "$-$", escaped)


def escape_csv(value: object) -> object:
    """Put an apostrophe before what a spreadsheet would take for a formula; numbers stay."""
    return _FORMULA.sub(r"\1\2'", printable(value)) if isinstance(value, str) else value


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """Return a table of cells in Markdown; the columns in `left` hold words, the others numbers."""
    rules = ["---" if place in left else "---:" for place in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rules, *rows))


def csv_text(columns: Sequence[str], records: Iterable[Record]) -> str:
    """Return a table as CSV; a missing or unknown figure is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: escape_csv(value) for name, value in record.items()} for record in records)
    return text.getvalue()


def signed(value: float) -> str:
    """Format a difference in points with a real minus sign."""
    return f"{value:+z.2f}".replace("-", MINUS)


def shown_points(value: float | None) -> str:
    """Format a claimed delta with the decimals of the claim, at most two."""
    return "" if value is None else f"{round(value, 2):+}"


def shown_interval(interval: Interval) -> str:
    """Format an interval in points."""
    return f"[{interval.low:+z.2f}, {interval.high:+z.2f}]"


def shown_ends(interval: Interval) -> str:
    """Format an interval of errors or ratios."""
    return f"[{interval.low:.2f}, {interval.high:.2f}]"


def shown_estimate(estimate: Estimate) -> str:
    """Format an estimate in points with its interval, which is not that of a plan's look."""
    return f"{float(estimate.value):+z.2f} {shown_interval(estimate.interval())} (95 %)"


def shown_seeds(seeds: Iterable[int]) -> str:
    """Format seeds, three or more consecutive ones as a range: `0-2, 7`."""
    parts: list[str] = []
    # Along consecutive seeds, seed minus rank stays the same.
    for _, ranked in groupby(enumerate(sorted(seeds)), key=lambda pair: pair[1] - pair[0]):
        run = [seed for _, seed in ranked]
        parts += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run)
    return ", ".join(parts)


def named_seeds(seeds: Iterable[int]) -> str:
    """Format distinct seeds with their word: `seeds 0-2`, `seed 3`."""
    distinct = set(seeds)
    return f"{'seed' if len(distinct) == 1 else 'seeds'} {shown_seeds(distinct)}"


def row_title(row: AblationRow) -> str:
    """Return the ablation's title, those of a combination joined, or its name if it has none."""
    if row.ablation == BASELINE:
        return "Baseline"
    return " + ".join(claim.title for claim in row.runs[0].run.result.claims.values()) or row.ablation


def section(row: AblationRow) -> str:
    """Return `section 3.3`, one of `UNPRINTED`, or an empty string for a row without a claim."""
    if row.claim is None:
        return ""
    named = row.claim.section
    return f"section {named}" if named[:1].isdigit() else UNPRINTED.get(named, named)


def heading(table: ComparisonTable) -> str:
    """Return `cifar10, recipe paper`, with the data unless they are a folder or named like the experiment."""
    data = "" if table.data in (table.experiment, "folder") else f" on {table.data}"
    overrides = f", {table.distinguished_by}" if table.distinguished_by else ""
    return f"{table.experiment}{data}, recipe {table.recipe}{overrides}"


def counted_images(table: ComparisonTable) -> str:
    """Return `5,000 validation images, ten crops`."""
    split, view = SPLITS.get(table.split, table.split), VIEW_NAMES.get(table.view, table.view)
    return f"{table.images:,} {split} images, {view}"


def title(table: ComparisonTable) -> str:
    """Return what the table is about, in one line."""
    about = f"Experiment {table.experiment}, recipe {table.recipe}, data {table.data}"
    about += f", {table.distinguished_by}" if table.distinguished_by else ""
    if not table.rows:
        return f"{about}: no finished run to compare"
    counted = named_seeds(seed for row in table.rows for seed in row.seeds)
    return f"{about}: {counted_images(table)}, {counted}"


def target_line(table: ComparisonTable) -> str | None:
    """Return the absolute errors that the paper and the log give for the baseline; None if they give none."""
    known = [
        f"{MEASURE_NAMES[measure]} {value:.1f} % ({source})"
        for source in SOURCES
        for measure in MEASURE_NAMES
        if (value := getattr(getattr(table.target, source), measure)) is not None
    ]
    return f"Errors to compare the baseline with: {', '.join(known)}." if known else None


def finding(row: AblationRow) -> str:
    """Return what an ablation with assessments does to the error, and how sure that is, in a sentence."""
    measure, one = next(iter(row.assessments.items()))
    (low, high), delta, verb, sign = one.interval, one.delta, "changes", "+"
    if one.direction in RESOLVED:
        verb, sign = ("rises" if delta > 0 else "falls"), "-"
        low, delta, high = (low, delta, high) if delta > 0 else (-high, -delta, -low)
    shown, *ends = (f"{value:{sign}z.2f}".replace("-", MINUS) for value in (delta, low, high))
    basis = f"; Holm p {p}" if (p := shown_p(one.holm_p)) else ", run sd assumed"
    doubtful = one.doubts and one.direction is not Direction.TOO_FEW_SEEDS
    return (
        f"The {MEASURE_NAMES[measure]} error {verb} by {shown} points ({100 * one.confidence:g} % interval"
        f" {' to '.join(ends)}{basis}){_ENDINGS[one.direction]}."
        f"{' Flagged: the verdict is in doubt.' if doubtful else ''}"
    )


def remarks(table: ComparisonTable) -> list[str]:
    """Return the lines on the whole study, on what is flagged, and on single ablations."""
    lines = study_lines(table) + rate_lines(table)
    flagged: dict[str, list[str]] = {}
    for row in table.rows:
        for line in flag_lines(row):
            flagged.setdefault(line, []).append(row.ablation)
    lines += [f"{', '.join(names)}, {line}" for line, names in flagged.items()]
    return lines + [f"{row.ablation}, {line}" for row in table.rows for line in row_lines(row)]


def study_lines(table: ComparisonTable) -> list[str]:
    """Return a line on the plan, one on weights that all runs start from, and one on the gain of ten crops."""
    lines = [plan_line(table)] if table.compared else []
    starts = dict.fromkeys(start.run for run in table.runs if (start := run.result.pretrained))
    if lines and starts:
        what = f"The runs start from the weights of {' and '.join(starts)}"
        lines.append(f"{what}: how much runs vary, by which all is judged, holds nothing of how pre-training varies.")
    for gains in (row.gains for row in table.rows if row.ablation == BASELINE and row.gains):
        said = [
            f"{MEASURE_NAMES[measure]} "
            + (f"{float(gain.value):.2f} {shown_ends(gain.interval())}" if (gain := gains.get(measure)) else "unknown")
            for measure in table.measures
        ]
        what = "The baseline's error with the center crop minus that with ten, in points with 95 % intervals"
        lines.append(f"{what}: {', '.join(said)}.")
    return lines


def flag_lines(row: AblationRow) -> list[str]:
    """Return a line for each flag: `top-1 and top-5, flagged: ...`."""
    measures: dict[Flag, list[str]] = {}
    for measure, assessment in row.assessments.items():
        for flag in assessment.flags:
            measures.setdefault(flag, []).append(MEASURE_NAMES[measure])
    return [f"{' and '.join(named)}{', flagged' * flag.doubt}: {flag.text}." for flag, named in measures.items()]


def row_lines(row: AblationRow) -> list[str]:
    """Return a line for each measure of what a claim says in words, for a combination, and for a step."""
    lines = worded_lines(row)
    for measure, one in row.assessments.items():
        name = MEASURE_NAMES[measure]
        if one.interaction is not None and one.interaction_holm_p is not None:
            basis = f"Holm p {p}" if (p := shown_p(one.interaction_holm_p)) else "run sd assumed"
            lines.append(f"{name}: {shown_estimate(one.interaction)} beyond the sum of its parts, {basis}.")
        if one.step is not None:
            step = f"{shown_estimate(one.step.change)} from {one.step.before}"
            lines.append(f"{name}: {step}; one step of a path, outside of the table's tests.")
    return lines


def worded_lines(row: AblationRow) -> list[str]:
    """Return one line for each measure of what a claim says in words."""
    lines = []
    for measure, change in row.worded.items():
        claimed = row.claim.measures[measure] if row.claim else ""
        word = str(change.direction(claimed)) if claimed else ""
        word += f", as the claim is that it {claimed}" if word == Direction.OPPOSITE else ""
        interval = f" {shown_ends(change.interval)} (95 %)" if change.interval else ""
        sides = f"{change.ablated:.1f}, the baseline {change.baseline:.1f}"
        if change.level is None:
            name = "reported error minus training error" if measure == "gap" else "training error"
            said = f"{name}, in points: {sides}: {change.value:+z.2f}{interval}, {word}; training errors are of the "
            crops = "last epoch's crops, with dropout where there is any, which raises them"
            said += f"{crops if change.of_crops else 'whole training set, in evaluation mode'}."
        else:
            level = f"validation error of {change.level:.1f} % (the lowest that every run reaches)"
            if measure == "epochs_to_loss":
                level = f"training loss of {change.level:.2f} ({EARLY:g} of that of guessing)"
            times = f"{'over ' * change.at_least}{change.value:.2f} times"
            said = f"epochs to a {level}: {sides}: {times}{interval}, {word}."
        lines.append(said)
    return lines


def plan_line(table: ComparisonTable) -> str:
    """Say what was fixed before the first run."""
    if table.plan:
        return f"This study followed the plan {table.plan.name} ({table.plan.hash}), fixed before its first run."
    if any(run.result.plan for run in table.runs):
        return "These runs are of several plans, none of which holds for all of them."
    found = dict.fromkeys(run.result.lr for run in table.runs if run.result.lr is not None)
    rates = f", and the learning rate, {' or '.join(map(str, found))}, was not searched for" if found else ""
    return f"No plan was fixed before the first run{rates}."


def rate_lines(table: ComparisonTable) -> list[str]:
    """Say how the learning rates were chosen, and what an ablation does at the other of two; empty without a search."""
    if (rates := table.rates) is None:
        return []
    lines = [search_line(rates)]
    for name, arm in rates.arms.items():
        errors = ", ".join(f"{rate}: {shown_search_error(error)}" for rate, error in arm.errors.items())
        edge = ", at the edge of the grid" if arm.at_edge else ""
        lost = ", though a run diverged at each" if arm.diverged else ""
        lines.append(f"{name}: held-out error by rate {errors}; chosen {arm.chosen}{edge}{lost}.")
    return lines + [f"{row.ablation}, {line}" for row in table.rows for line in own_rate_lines(rates, row)]


def search_line(rates: Rates) -> str:
    """Say which rates were tried, by which images they were judged, and which all arms share."""
    search = rates.search
    length = f" of {plural(search.epochs, 'epoch')}" if search.epochs else ""
    line = (
        f"Learning rates: {plural(len(rates.grid) * len(search.seeds), 'run')}{length} for every arm"
        f" ({', '.join(map(str, rates.grid))}; {named_seeds(search.seeds)}), judged by {rates.images:,} held-out"
        f" training images, none of which is counted in the table. Shared by all: {rates.shared}, the baseline's best."
    )
    if added := [str(rate) for rate in rates.grid if rate not in search.grid]:
        line += f" The plan's grid had no {' and no '.join(added)}: an arm's best was at its edge, and all went beyond."
    if len(search.seeds) == 1:
        line += (
            " With one seed the spread between runs is unknown: rates as good as the best, to within the standard error"
            " of the images, count as equal, and of them the nearest to the shared one is chosen."
        )
    return line


def shown_search_error(error: float) -> str:
    """Format the held-out error of a rate, in percent."""
    return "diverged" if math.isinf(error) else f"{error:.2f}"


def own_rate_lines(rates: Rates | None, row: AblationRow) -> list[str]:
    """Say at which rate an ablation is judged, if not at the shared one, and what it does at the other of two."""
    if rates is None:
        return []
    judged = row.runs[0].run.result.lr
    lines = [] if judged == rates.shared else [f"judged at its own rate, {judged}, as its claim's file says."]
    for measure, one in row.other_rate.items():
        at = next(rate for rate in rates.of(row.ablation) if rate != judged)
        lines.append(
            f"{MEASURE_NAMES[measure]}, at the rate {at}: {one.delta:+z.2f} {shown_interval(one.interval)}"
            f" ({100 * one.confidence:g} %), {one.direction}; not counted in Holm p."
        )
    return lines


def headline(table: ComparisonTable) -> str:
    """Return what the table shows of the top-1 error, in a sentence or two; it never rests on a flagged verdict."""
    judged = [(row, row.assessments["top1"]) for row in table.compared]
    raised, lowered, alike = "raised the top-1 error", "lowered it", "had no effect that matters"
    uncounted = (flagged, unresolved, few) = "flagged", "not resolved", "with too few seeds for a verdict"
    said: dict[str, list[str]] = {verb: [] for verb in (raised, lowered, alike, *uncounted)}
    for row, one in judged:
        if one.direction is Direction.TOO_FEW_SEEDS:
            verb = few
        elif one.doubts:
            verb = flagged
        elif one.direction in RESOLVED:
            verb = raised if one.delta > 0 else lowered
        else:
            verb = alike if one.direction is Direction.NO_EFFECT else unresolved
        at = at_rate(row, "top1")  # with a word where the verdict is that of one of two rates alone
        said[verb].append(f"{row.ablation} {at}" if at.endswith("alone") else row.ablation)
    parts = []
    for verb, names in said.items():
        count = len(names) if verb in uncounted else plural(len(names), "change")
        parts += [f"{count} {verb} ({', '.join(names)})"] if names else []
    lost = dict.fromkeys(run.result.ablation for run in table.unfinished if run.result.diverged)
    gone = [name for name in lost if name not in (BASELINE, *(row.ablation for row in table.rows))]
    parts += [f"{len(gone)} whose runs all diverged ({', '.join(gone)})"] if gone else []
    return f"Of {plural(len(judged) + len(gone), 'ablation')}: {'; '.join(parts)}." if judged else ""


def at_rate(row: AblationRow, measure: str) -> str:
    """Say at which of two learning rates the verdict is, and whether it is that of this rate alone; empty with one."""
    if (other := row.other_rate.get(measure)) is None:
        return ""
    alike = other.direction == row.assessments[measure].direction
    return f"at the learning rate {row.runs[0].run.result.lr}{'' if alike else ' alone'}"


def shared_flags(table: ComparisonTable) -> list[str]:
    """Return the lines of flags that all of several ablations have."""
    first, *others = map(flag_lines, table.compared) if table.compared else [[]]
    return [line for line in first if others and all(line in other for other in others)]


def cost_line(runs: Iterable[Run]) -> str | None:
    """Return what training the runs took, of as many as tell: those that did not finish do not. None if none does."""
    made = [run.result.training for run in runs]
    hours = [one.device_hours for one in made if one and one.device_hours is not None]
    if not hours:
        return None
    parts = [f"{sum(hours):.3g} device-hours (known for {len(hours)} of {plural(len(made), 'run')})"]
    for name, counter in (("GPUs", "gpu_joules"), ("processors, with all that ran on them", "cpu_joules")):
        read = [getattr(one.energy, counter, None) for one in made if one]
        if joules := [value for value in read if value is not None]:
            parts.append(f"{sum(joules) / 3.6e6:.3g} kWh of {name} ({len(joules)} of {plural(len(made), 'run')})")
    shared = "; of runs side by side, each counts what all of them took"
    energy = shared if len(parts) > 1 else "; the energy is not known"
    return f"Training took {', '.join(parts)}{energy}."
