"""Plain JSON into typed records, strictly: every field present, of its type, and no other."""

import math
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

ADDED_LATER = {"added_later": True}
"""Metadata of a field that files from before it existed lack: they mean its default."""


class FieldError(ValueError):
    """A field that is missing, unknown, of the wrong type or out of range."""

    def __init__(self, field: str, problem: str) -> None:
        """`field` is the dotted path from the record in which the problem was seen."""
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


def decode(kind: Any, value: object, field: str = "") -> Any:
    """Build a `kind` from parsed JSON.

    `kind` is a dataclass, `dict[str, X]`, `tuple[X, ...]`, `tuple[X, Y]`, `X | None`, a `Literal`, a scalar type, or
    `Any`. Raises FieldError with the dotted path of the first field that does not fit.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _decode_record(kind, value, field)
    if origin is Literal:
        return _decode_literal(arguments, value, field)
    if origin is dict:
        return {key: decode(arguments[1], item, _join(field, key)) for key, item in _mapping(value, field).items()}
    if origin is tuple:
        return _decode_tuple(arguments, value, field)
    if type(None) in arguments:
        return None if value is None else decode(arguments[0], value, field)
    return _decode_scalar(kind, value, field)


def require(condition: bool, field: str, problem: str) -> None:
    """Raise FieldError unless the condition holds."""
    if not condition:
        raise FieldError(field, problem)


def _join(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _mapping(value: object, field: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise FieldError(field, f"a JSON object is needed, not {_shown(value)}")
    return value


def _decode_record(kind: Any, value: object, field: str) -> Any:
    mapping = _mapping(value, field)
    entries = {entry.name: entry for entry in fields(kind)}
    for name, entry in entries.items():
        if name not in mapping and not entry.metadata.get("added_later"):
            raise FieldError(_join(field, name), "missing")
    for name in mapping:
        if name not in entries:
            raise FieldError(_join(field, name), "unknown field")
    hints = get_type_hints(kind)
    values = {name: decode(hints[name], value, _join(field, name)) for name, value in mapping.items()}
    try:
        return kind(**values)
    except FieldError as error:  # a range check of the record itself, which does not know where the record lies
        raise FieldError(_join(field, error.field), error.problem) from None


def _decode_literal(allowed: tuple[Any, ...], value: object, field: str) -> object:
    if not isinstance(value, str) or value not in allowed:
        raise FieldError(field, f"{_shown(value)} is not one of: {', '.join(allowed)}")
    return value


def _decode_tuple(arguments: tuple[Any, ...], value: object, field: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise FieldError(field, f"a list is needed, not {_shown(value)}")
    kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(value):
        raise FieldError(field, f"a list of {len(kinds)} is needed, not of {len(value)}")
    return tuple(
        decode(kind, item, f"{field}[{index}]") for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _decode_scalar(kind: type, value: object, field: str) -> object:
    # bool is a subclass of int, and JSON writes a whole number without a point: neither may decide the type.
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind is not float and type(value) is kind:
        return value
    names = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
    raise FieldError(field, f"{names[kind]} is needed, not {_shown(value)}")


def _shown(value: object) -> str:
    """A value in an error message, cut to a length that leaves the message one line."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
