"""The comparison as Markdown, to be kept beside the result files: every figure with the command of its run."""

from collections.abc import Iterable, Sequence

from alexnet.runs.collect import Run
from alexnet.study.comparison import MEASURES, Group
from alexnet.study.wording import (
    FIGURES,
    FILE_COLUMNS,
    HEADERS,
    MEASURE_NAMES,
    damage_line,
    explanation,
    figures,
    shown_seeds,
    target_line,
    title,
    unfinished_lines,
)

MARKDOWN_FILE = "comparison.md"


def markdown(groups: Iterable[Group], damaged: Sequence[str]) -> str:
    """The whole comparison as one Markdown document."""
    blocks = ["# Comparison"]
    for group in groups:
        blocks += _group_blocks(group)
    if warning := damage_line(damaged):
        blocks.append(warning)
    return "\n\n".join(blocks) + "\n"


def _group_blocks(group: Group) -> list[str]:
    meaning = (
        f"{explanation(group)} {FILE_COLUMNS}" if any(row.judgements for row in group.rows) else explanation(group)
    )
    blocks = [f"## {title(group)}", target_line(group) or "", _table(group), _left_out(group), meaning]
    return [block for block in (*blocks, _commands(group.runs)) if block]


def _table(group: Group) -> str:
    if not group.rows:
        return ""
    lines = [_line((*HEADERS, *FIGURES)), _line(["---"] * len(HEADERS) + ["---:"] * len(FIGURES))]
    for row in group.rows:
        for measure in MEASURES:
            # The name stands before its first line only, as on the screen.
            heads = (row.ablation, shown_seeds(row.seeds)) if measure == MEASURES[0] else ("", "")
            lines.append(_line((*heads, MEASURE_NAMES[measure], *figures(row, measure).values())))
    return "\n".join(lines)


def _line(entries: Iterable[str]) -> str:
    return "| " + " | ".join(entry.replace("|", "\\|") for entry in entries) + " |"


def _left_out(group: Group) -> str:
    lines = unfinished_lines(group)
    lines += [f"{note.text} `{note.command}`" if note.command else note.text for note in group.notes]
    return "\n".join(f"- {line}" for line in lines)


def _commands(runs: Sequence[Run]) -> str:
    lines = ["The runs and their commands:", "", "```"]
    for run in runs:
        lines += [f"# {run.result.run}{_code_state(run)}", run.result.command]
    return "\n".join([*lines, "```"])


def _code_state(run: Run) -> str:
    git = run.result.git
    if git is None:
        return ""
    return f", at {git.revision}{' with changes' if git.dirty else ''}"
