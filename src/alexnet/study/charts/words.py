"""Phrases that several parts of the page use."""

from alexnet.runs.result import BASELINE
from alexnet.study.charts.element import Markup, element
from alexnet.study.comparison import Group, Row

MINUS = "\N{MINUS SIGN}"
VIEWS = {"ten_crop": "ten crops", "center": "centre crop"}
SPLITS = {"test": "test", "val": "validation"}
UNPRINTED = {"log": "the authors' log", "source": "the authors' source"}
"""Where a claim comes from that no section of the paper makes."""


def counted_images(group: Group) -> str:
    """`5,000 validation images, ten crops`."""
    split, view = SPLITS.get(group.split, group.split), VIEWS.get(group.view, group.view)
    return f"{group.images:,} {split} images, {view}"


def section(row: Row) -> str:
    """`section 3.3`, one of `UNPRINTED`, or nothing for a row without a claim."""
    if row.claim is None:
        return ""
    named = row.claim.section
    return f"section {named}" if named[:1].isdigit() else UNPRINTED.get(named, named)


def row_title(row: Row) -> str:
    """The ablation's title, those of a combination joined, or its name where it has none."""
    if row.ablation == BASELINE:
        return "Baseline"
    return " + ".join(claim.title for claim in row.runs[0].run.result.claims.values()) or row.ablation


def heading(group: Group) -> str:
    """`cifar10, recipe paper`; the data only where they are not named like the experiment."""
    data = "" if group.data == group.experiment else f" on {group.data}"
    return f"{group.experiment}{data}, recipe {group.recipe}{f', {group.apart}' if group.apart else ''}"


def signed(value: float) -> str:
    """A difference in points with a real minus sign."""
    return f"{value:+.2f}".replace("-", MINUS)


def code(words: str) -> Markup:
    """A name, path or command, kept apart from the direction of the text around it."""
    return element("code", element("bdi", words))


def plural(count: int, singular: str, several: str | None = None) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {singular if count == 1 else several or singular + 's'}"
