"""HTML and SVG as strings, escaped unless they already are markup."""

import re
from collections.abc import Iterable
from html import escape
from typing import TypeAlias

VOID = {"br", "col", "img", "meta"}
"""Elements of HTML without a closing tag."""

# NUL and most control characters are forbidden in HTML and in XML, lone surrogates cannot be written as UTF-8.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is HTML already: it is not escaped again."""

    __slots__ = ()


Child: TypeAlias = "str | int | Iterable[Child] | None"
"""What may stand in an element: text (to be escaped), markup, nothing, or several of them."""
Attribute = str | int | float | bool | None


def element(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """One element. An attribute is written with hyphens for underscores (`class_` is `class`, `aria_label` is
    `aria-label`); True leaves it without a value, None and False leave it out; numbers have at most two decimals."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(children)}</{name}>")


def scrolling(table: Markup, *, label: str) -> Markup:
    """A table that scrolls sideways by itself where the window is narrow, reached by the keyboard as well."""
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)


def header_row(headers: Iterable[str]) -> Markup:
    """A row of column headers."""
    return element("tr", [element("th", header, scope="col") for header in headers])


def join(children: Child) -> Markup:
    """Children one after the other."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, str | int):
        return text(str(children))
    return Markup("".join(map(join, children)))


def text(value: str) -> Markup:
    """Text with everything escaped that means something in HTML or XML, or must not stand there."""
    return Markup(escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", value)))


def number(value: float) -> str:
    """A coordinate: at most two decimals, no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    return f' {name}="{text(value if isinstance(value, str) else number(value))}"'
