"""What the configuration's tests share: command lines as jobs, and a look at trees that is not the code's own."""

from functools import cache
from typing import Any

from tests.conftest import checked

job = cache(checked)
"""The one job of a command line."""


def leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every value of a tree by its dotted path; lists and empty mappings are values."""
    if not isinstance(tree, dict) or not tree:
        return {".".join(path): tree}
    return {key: leaf for name, node in tree.items() for key, leaf in leaves(node, (*path, name)).items()}
