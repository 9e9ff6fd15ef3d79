"""The ablation laboratory for AlexNet: the 2012 paper's network, data path and study, re-run with error bars."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet.data.pack.pack import open_pack as open_pack
    from alexnet.net.alexnet import AlexNet as AlexNet
    from alexnet.trained.network import load_trained as load_trained

__version__ = "0.1.0"

_EXPORTS = {"AlexNet": "net.alexnet", "load_trained": "trained.network", "open_pack": "data.pack.pack"}


def __getattr__(name: str) -> Any:
    """Import what is used only then: torch takes seconds."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
