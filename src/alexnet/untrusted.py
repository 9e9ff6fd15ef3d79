"""Files that may come from strangers: opened through no link, bounded before memory is spent, decoded strictly.

Run directories, packs and configurations are sent around. Whatever lies in the place of one of their files, reading it
neither waits, nor follows a link, nor runs code, nor takes more memory than its kind of file may have.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import numpy as np

from alexnet.errors import RefusedError, UserError, did_you_mean, first_line

MIB = 2**20
LARGEST_FILE = 2**62
"""More bytes than any file has."""
DEEPEST = 32
"""Lists and records within each other, in JSON and YAML."""
_TOO_DEEP = f"nested more than {DEEPEST} deep"
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A pipe does not wait for its writer; Windows has neither, and needs its own flag for bytes."""


def refuse_link(path: Path) -> None:
    """Raise a UserError if `path` is a symbolic link."""
    if path.is_symlink():
        raise UserError(f"{path}: a symbolic link, which is not followed; put what it points to in its place")


def open_regular(path: Path, *, most: int) -> BufferedReader:
    """Open a regular file of at most `most` bytes for reading.

    Raises:
        OSError: there is none, or it may not be read.
        UserError: a link, a folder, a pipe or a device lies there, or a larger file.
    """
    refuse_link(path)
    file = os.fdopen(os.open(path, os.O_RDONLY | _NO_LINK), "rb")
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= most:
        return file
    file.close()
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: not a regular file")
    raise UserError(f"{path}: {status.st_size:,} bytes, and such a file has at most {most:,}")


def read_regular(path: Path, *, most: int, sha256: str | None = None) -> bytes:
    """Read a whole file that `open_regular` opens; a ValueError if its checksum is not that of a finished run."""
    with open_regular(path, most=most) as file:
        check_unchanged(file, sha256)
        return file.read(most)


def check_unchanged(file: BufferedReader, sha256: str | None) -> None:
    """Raise a ValueError unless an open file has this checksum; None is any."""
    if sha256 is not None and hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        raise ValueError("it has changed since the run finished (SHA-256 differs)")
    file.seek(0)


def file_sha256(path: Path, *, most: int = LARGEST_FILE) -> str:
    """Return the SHA-256, hexadecimal, of a file that `open_regular` opens."""
    with open_regular(path, most=most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def damage_named(path: Path, what: str | None = None) -> Iterator[None]:
    """Turn whatever the reading of a damaged file raises into one UserError that names it.

    Numpy, torch, zipfile, json, csv and yaml raise some twenty kinds of exception for files that nobody wrote with
    them. `what` takes the place of their words.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: missing") from None
    except OSError as error:
        raise RefusedError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise RefusedError(f"{path}: cannot be read: there is not enough memory for it") from None
    except Exception as error:
        raise UserError(f"{path}: {what or f'damaged: {first_line(error)[:300]}'}") from None


def parse_json(text: bytes) -> Any:
    """Parse JSON as the standard has it: no NaN, no name twice in a record, and no deep nesting.

    Raises:
        ValueError: it is anything else.
    """
    parsed = json.loads(text.decode(), parse_constant=_refuse_constant, object_pairs_hook=_record)
    level = [parsed]
    for _ in range(DEEPEST):
        nested = [one for one in level if isinstance(one, dict | list)]
        level = [inner for one in nested for inner in (one.values() if isinstance(one, dict) else one)]
    if level:
        raise ValueError(_TOO_DEEP)
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a record has a name twice")
    return record


def parse_yaml(text: bytes) -> Any:
    """Parse YAML without aliases, whose repeated use can stand for terabytes, without objects, and no name twice.

    Raises:
        ValueError, yaml.YAMLError: it is anything else.
    """
    import yaml  # not needed by most commands

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            counts = Counter(str(key.value) for key, _ in node.value)
            if twice := next((name for name, count in counts.items() if count > 1), None):
                raise ValueError(f"{twice} is there twice")
            return super().construct_mapping(node, deep)

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):  # to its end, some text of a megabyte takes an hour
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(_TOO_DEEP)
    return yaml.load(text, Loader)


class Forms:
    """The forms of arrays, such as `int32 [N, 5]`, where N is any size but 0, and the same in every form."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}

    def check(self, name: str, file: IO[bytes], form: str) -> int:
        """Compare the header of the `.npy` file `name` with a form; return the bytes that the whole must have.

        Raises:
            ValueError: the array has another form, or holds Python objects.
        """
        shape, _, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        wanted, *sizes = re.findall(r"\w+", form)
        fits = dtype.kind == "U" if wanted == "str" else dtype == wanted
        fits = fits and len(shape) == len(sizes) and all(size > 0 for size in shape)
        for size, found in zip(sizes, shape, strict=False):
            fits = fits and found == (int(size) if size.isdigit() else self._sizes.setdefault(size, found))
        if not fits:
            raise ValueError(f"{name}: {dtype} {list(shape)} instead of {form}")
        return file.tell() + math.prod(shape) * dtype.itemsize


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def map_array(path: Path, form: str, forms: Forms) -> Any:
    """Map a `.npy` file of a form into memory, read-only, in the page cache, which all processes share.

    Raises:
        OSError, UserError: as of `open_regular`.
        ValueError: it is of another form, short or long, or holds Python objects.
    """
    with open_regular(path, most=LARGEST_FILE) as file:
        size, held = forms.check(path.name, file, form), os.fstat(file.fileno()).st_size
        if size != held:
            raise ValueError(f"{path.name} has {held:,} bytes instead of {size:,}")
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


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
    for name in values:
        if name not in entries:
            raise FieldError(_join(field, name), f"unknown field{did_you_mean(name, entries)}")
    for name, entry in entries.items():
        require(name in values or "added_later" in entry.metadata, _join(field, name), "missing")
    hints = get_type_hints(kind)
    decoded = {name: decode(hints[name], value, _join(field, name)) for name, value in values.items()}
    try:
        return kind(**decoded)
    except FieldError as error:  # a range check of the record itself, which does not know its place
        raise FieldError(_join(field, error.field), error.problem) from None
