"""The ablation laboratory for AlexNet: the 2012 paper's network, data path and study, re-run with error bars."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet.commands.train import train as train
    from alexnet.data.pack.pack import open_pack as open_pack
    from alexnet.data.pack.prepare import prepare as prepare
    from alexnet.net.alexnet import AlexNet as AlexNet
    from alexnet.runs.collect import load_run as load_run
    from alexnet.study.report.report import compare_runs as compare  # noqa: F401
    from alexnet.study.report.report import load_runs as load_runs
    from alexnet.trained.network import load_trained as load_trained

__version__ = "0.1.0"

_EXPORTS = {
    "AlexNet": "net.alexnet:AlexNet",
    "compare": "study.report.report:compare_runs",
    "load_run": "runs.collect:load_run",
    "load_runs": "study.report.report:load_runs",
    "load_trained": "trained.network:load_trained",
    "open_pack": "data.pack.pack:open_pack",
    "prepare": "data.pack.prepare:prepare",
    "train": "commands.train:train",
}


def __getattr__(name: str) -> Any:
    """Import what is used only then: torch takes seconds."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(f"{__name__}.{_EXPORTS[name]}")
