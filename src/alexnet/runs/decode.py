"""Strict reading of parsed JSON into typed records: every field present, of its type, and no other."""

import math
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

NAMES = {
    str: "a string", int: "a whole number", float: "a number", bool: "true or false", dict: "a JSON object",
    list: "a list",
}  # fmt: skip


class FieldError(ValueError):
    """A field that is missing, unknown, of the wrong type or out of range."""

    def __init__(self, field: str, problem: str) -> None:
        """`field` is the dotted path from the record in which the problem was seen."""
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


def require(condition: bool, field: str, problem: str) -> None:
    """Raise FieldError unless the condition holds."""
    if not condition:
        raise FieldError(field, problem)


def decode(kind: Any, value: object, field: str = "") -> Any:
    """Build a `kind` from parsed JSON.

    `kind` is a dataclass, `dict[str, X]`, `tuple[X, ...]`, `tuple[X, Y]`, `X | None`, a `Literal`, a scalar type, or
    `Any`.

    Raises:
        FieldError: the first field that does not fit, with its dotted path.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if type(None) in arguments:
        return None if value is None else decode(arguments[0], value, field)
    if is_dataclass(kind):
        return _decode_record(kind, _typed(dict, value, field), field)
    if origin is dict:
        items = _typed(dict, value, field).items()
        return {name: decode(arguments[1], item, _join(field, name)) for name, item in items}
    if origin in (tuple, list):
        values = _typed(list, value, field)
        any_length = origin is list or arguments[-1] is Ellipsis
        kinds = arguments[:1] * len(values) if any_length else arguments
        require(len(values) == len(kinds), field, f"a list of {len(kinds)} is needed, not of {len(values)}")
        return origin(decode(*pair, f"{field}[{index}]") for index, pair in enumerate(zip(kinds, values, strict=True)))
    if origin is Literal and value not in arguments:
        raise FieldError(field, f"{_shown(value)} is not one of: {', '.join(arguments)}")
    return value if kind is Any or origin is Literal else _typed(kind, value, field)


def _typed(kind: type, value: Any, field: str) -> Any:
    """Return the value if it is a `kind`: by its very type, since a bool is an int as well."""
    if kind is float and type(value) is int:  # JSON writes a whole number without a point
        value = float(value)
    if type(value) is not kind or (type(value) is float and not math.isfinite(value)):
        raise FieldError(field, f"{NAMES[kind]} is needed, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _decode_record(kind: Any, values: dict[str, object], field: str) -> Any:
    entries = {entry.name: entry for entry in fields(kind)}
    for name, entry in entries.items():
        require(name in values or "added_later" in entry.metadata, _join(field, name), "missing")
    for name in values:
        require(name in entries, _join(field, name), "unknown field")
    hints = get_type_hints(kind)
    decoded = {name: decode(hints[name], value, _join(field, name)) for name, value in values.items()}
    try:
        return kind(**decoded)
    except FieldError as error:  # a range check of the record itself, which does not know its place
        raise FieldError(_join(field, error.field), error.problem) from None
