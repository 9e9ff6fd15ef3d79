"""Limits of configuration values: declared with the fields of a group, checked with the key's full name."""

from dataclasses import field, fields
from typing import Any

from alexnet.errors import UserError, did_you_mean

MISSING: Any = "???"
"""OmegaConf's mark of a value that `conf/` has to give."""


def limited(default: Any = MISSING, **limits: Any) -> Any:
    """Declare a field with limits, the keywords of `problem`; every instance gets its own copy of a list or dict."""
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={"limits": limits})
    return field(default=default, metadata={"limits": limits})


def problem(
    value: Any,
    *,
    ge: float = float("-inf"),
    gt: float = float("-inf"),
    le: float = float("inf"),
    lt: float = float("inf"),
    odd: bool = False,
    choices: tuple[str, ...] = (),
    layers: tuple[int, ...] = (),
    unique: bool = False,
) -> str | None:
    """Say what is wrong with a number (`ge` to `odd`), a text (`choices`) or a list; None if nothing is."""
    if choices:
        return None if value in choices else f"there is no such choice{did_you_mean(value, choices)}"
    if layers or unique:
        unknown = [layer for layer in value if layers and layer not in layers]
        if unknown:
            return f"{unknown} is not among the layers {list(layers)}"
        return None if len(set(value)) == len(value) else "names a layer twice"
    for fits, needed in (
        (value >= ge, f"at least {ge:g}"),
        (value > gt, f"above {gt:g}"),
        (value <= le, f"at most {le:g}"),
        (value < lt, f"below {lt:g}"),
        (not odd or value % 2 == 1, "odd: the window is centered"),
    ):
        if not fits:
            return f"must be {needed}"
    return None


def require(condition: bool, message: str) -> None:
    """Raise a UserError unless the condition holds."""
    if not condition:
        raise UserError(message)


class Group:
    """A part of the configuration, and the base of its dataclass."""

    def check(self, prefix: str = "") -> None:
        """Check every field of this group and its groups; `prefix` precedes their names in messages.

        Raises:
            UserError: a value is outside its limits, or contradicts another.
        """
        for entry in fields(self):  # type: ignore[arg-type]
            key, value, limits = f"{prefix}{entry.name}", getattr(self, entry.name), entry.metadata.get("limits")
            if isinstance(value, Group):
                value.check(f"{key}.")
            elif limits and value not in (None, {}):
                pairs = [(f"{key}.{name}", one) for name, one in value.items()] if isinstance(value, dict) else []
                for name, one in pairs or [(key, value)]:
                    if text := problem(one, **limits):
                        raise UserError(f"{name}={str(one).replace(' ', '')}: {text}")
        self._check_relations()

    def _check_relations(self) -> None:
        """Refuse values that contradict each other, each of which is within its own limits."""
