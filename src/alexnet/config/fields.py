"""How values are held to the limits that `alexnet.config.values` declares, and refused under their full names."""

import math
import operator
from dataclasses import field, fields
from typing import Any

from alexnet.errors import UserError, did_you_mean

MISSING: Any = "???"
"""OmegaConf's mark of a value that `conf/` has to give."""
ADDED_LATER = {"added_later": True}
"""Metadata of a field that files from before it existed lack: they mean its default."""
LARGEST = (2 - 2**-23) * 2.0**127
"""The largest number of 32 bits, in which networks are computed."""
BOUNDS = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "above"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "below"),
    "multiple": (lambda value, step: value % step == 0, "a multiple of"),
}


def limited(default: Any = MISSING, **limits: Any) -> Any:
    """Declare a field with limits, the keywords of `problem`; every instance gets its own copy of a list or dict."""
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=limits)
    return field(default=default, metadata=limits)


def problem(
    value: Any,
    *,
    choices: tuple[str, ...] = (),
    layers: tuple[int, ...] = (),
    unique: bool = False,
    odd: bool = False,
    **bounds: float,
) -> str | None:
    """Say what is wrong with a value, None if nothing is; `bounds` are named as in `BOUNDS`, layers are unique."""
    if value == "":  # a variable of the shell that is not set, say
        return "empty; give a value, or leave it out"
    if isinstance(value, float) and not abs(value) <= LARGEST:
        return f"a finite number is needed{', of 32 bits' * math.isfinite(value)}"
    if choices and value not in choices:
        return f"there is no such choice{did_you_mean(value, choices)}"
    if layers and (unknown := [layer for layer in value if layer not in layers]):
        return f"{unknown} is not among the layers {list(layers)}"
    if (layers or unique) and len(set(value)) < len(value):
        return "names a layer twice"
    if layers and list(value) != sorted(value):
        return "give the layers in rising order"
    for name, bound in bounds.items():
        holds, words = BOUNDS[name]
        if not holds(value, bound):
            return f"must be {words} {bound:,.10g}"
    return "must be odd: the window is centered" if odd and value % 2 == 0 else None


def require(condition: bool, message: str) -> None:
    """Raise a UserError unless the condition holds."""
    if not condition:
        raise UserError(message)


class Group:
    """A part of the configuration, and the base of its dataclass."""

    def check(self, prefix: str = "") -> None:
        """Check every value of this group and its groups; `prefix` precedes their names in messages."""
        for entry in fields(self):  # type: ignore[arg-type]
            key, value = f"{prefix}{entry.name}", getattr(self, entry.name)
            limits = {name: limit for name, limit in entry.metadata.items() if name not in ADDED_LATER}
            parts = {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
            for name, part in parts.items():
                if isinstance(part, Group):
                    part.check(f"{name}.")
                elif part is not None and (text := problem(part, **limits)):
                    raise UserError(f"{name}={str(part).replace(' ', '')}: {text}")
        self.check_relations()

    def check_relations(self) -> None:
        """Refuse values that contradict each other, each of which is within its own limits."""
