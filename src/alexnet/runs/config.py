"""`config.yaml`: the configuration of a run as plain values."""

from pathlib import Path
from typing import Any

from alexnet.received import MIB, damage_named, parse_yaml, read_regular
from alexnet.runs.decode import require
from alexnet.runs.directory import CONFIG_FILE


def read_config(directory: Path, *, sha256: str | None = None) -> dict[str, Any]:
    """Read `config.yaml`; UserError if the file is missing, damaged or has another checksum."""
    path = directory / CONFIG_FILE
    with damage_named(path):
        values = parse_yaml(read_regular(path, most=MIB, sha256=sha256))
        require(isinstance(values, dict), "", "no configuration")
        return dict(values)
