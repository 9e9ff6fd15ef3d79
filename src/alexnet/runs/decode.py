"""Strict reading of parsed JSON into typed records: every field present, of its type, and no other."""

import math
from dataclasses import fields, is_dataclass
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

ADDED_LATER = {"added_later": True}
"""Metadata of a field that files from before it existed lack: they mean its default."""
NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


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

    shown = repr(value) if len(repr(value)) <= 40 else f"{repr(value)[:37]}..."

    def refuse(needed: str) -> NoReturn:
        raise FieldError(field, f"{needed} is needed, not {shown}")

    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or (type(None) in arguments and value is None):
        return value
    if type(None) in arguments:
        return decode(arguments[0], value, field)
    if is_dataclass(kind) or origin is dict:
        if not isinstance(value, dict):
            refuse("a JSON object")
        if origin is dict:
            return {key: decode(arguments[1], item, _join(field, key)) for key, item in value.items()}
        return _decode_record(kind, value, field)
    if origin is Literal:
        require(value in arguments, field, f"{shown} is not one of: {', '.join(arguments)}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            refuse("a list")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise FieldError(field, f"a list of {len(kinds)} is needed, not of {len(value)}")
        return tuple(decode(*pair, f"{field}[{index}]") for index, pair in enumerate(zip(kinds, value, strict=True)))
    # bool is a subclass of int, and JSON writes a whole number without a point: neither may decide the type.
    if kind is float and type(value) in (int, float) and math.isfinite(value):  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    if kind is float or type(value) is not kind:
        refuse(NAMES[kind])
    return value


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _decode_record(kind: Any, mapping: dict[str, object], field: str) -> Any:
    entries = {entry.name: entry for entry in fields(kind)}
    for name, entry in entries.items():
        require(name in mapping or "added_later" in entry.metadata, _join(field, name), "missing")
    for name in mapping:
        require(name in entries, _join(field, name), "unknown field")
    hints = get_type_hints(kind)
    values = {name: decode(hints[name], value, _join(field, name)) for name, value in mapping.items()}
    try:
        return kind(**values)
    except FieldError as error:  # a range check of the record itself, which does not know its place
        raise FieldError(_join(field, error.field), error.problem) from None
