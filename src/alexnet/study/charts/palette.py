"""The colours of the page and of its charts, once for light and once for dark paper.

The three that carry meaning (ours, paper, log) are chosen from the hues of Okabe and Ito (2008), which readers with
any of the common forms of colour blindness tell apart; each also has a shape of its own.
"""

from string import Template

COLORS = {
    "paper": ("#fdfcf9", "#15171b"),
    "sheet": ("#f5f2eb", "#1d2026"),
    "ink": ("#1b1d21", "#e9e6df"),
    "muted": ("#5c6169", "#a3a9b3"),
    "rule": ("#ddd8cc", "#353a43"),
    "ours": ("#0a5c99", "#74b8ee"),
    "claim": ("#c14a09", "#f29a5c"),
    "log": ("#1b7a57", "#5fcaa0"),
    "alarm": ("#a3162b", "#ff8f98"),
}
"""Name -> on light, on dark. `claim` is the paper's claim, `alarm` is what went wrong."""


def variables() -> str:
    """CSS custom properties that follow the scheme of the page."""
    return "".join(f"--{name}: light-dark({light}, {dark});" for name, (light, dark) in COLORS.items())


def with_variables(css: str) -> str:
    """A stylesheet with `$name` for every colour, for a page that defines `variables`."""
    return Template(css).substitute({name: f"var(--{name})" for name in COLORS})


def with_light_colors(css: str) -> str:
    """A stylesheet with `$name` for every colour, for a picture on light paper."""
    return Template(css).substitute({name: light for name, (light, _) in COLORS.items()})
