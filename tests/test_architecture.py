"""Nothing private of another package is used: the frameworks are used as documented."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRAMEWORKS = {"torch", "lightning", "hydra", "omegaconf", "wandb", "numba"}


def private_uses(source: str) -> list[str]:
    """List the names with a leading underscore that are reached through an import of a framework."""
    tree = ast.parse(source)
    imported: dict[str, str] = {}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imported[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                found.append(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                found.append(f"{node.module}.{alias.name}")
    attributes = [_dotted(node, imported) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    found += [dotted for dotted in attributes if dotted is not None]
    return sorted({name for name in found if name.partition(".")[0] in FRAMEWORKS and _is_private(name)})


def _dotted(node: ast.expr, imported: dict[str, str]) -> str | None:
    """`torch.optim.SGD` for an attribute of an imported name, None for any other expression."""
    if isinstance(node, ast.Name):
        return imported.get(node.id)
    if isinstance(node, ast.Attribute):
        parent = _dotted(node.value, imported)
        return None if parent is None else f"{parent}.{node.attr}"
    return None


def _is_private(name: str) -> bool:
    return any(part.startswith("_") and not (part.startswith("__") and part.endswith("__")) for part in name.split("."))


@pytest.mark.parametrize(
    "planted",
    [
        "import torch\ntorch._C._cuda_init()",
        "from hydra._internal.utils import get_args_parser",
        "import torch._inductor.config as config",
        "from torch import optim as o\no.sgd._single_tensor_sgd",
        "import lightning as L\nL.pytorch._graveyard",
        "def f():\n    from wandb.sdk import _x",
    ],
)
def test_private_uses_of_a_planted_violation_are_found(planted: str) -> None:
    assert private_uses(planted)


def test_private_uses_of_public_names_are_none() -> None:
    assert private_uses("import torch\nfrom torch import nn\nnn.Linear.__init__\nself._own = torch.optim.SGD") == []


def test_nothing_private_of_a_framework_is_used() -> None:
    used = {
        (path.relative_to(ROOT / "src" / "alexnet").as_posix() if "alexnet" in path.parts else path.name, name)
        for path in [*(ROOT / "src").rglob("*.py"), ROOT / "train.py"]
        for name in private_uses(path.read_text(encoding="utf-8"))
    }
    assert used == set()
