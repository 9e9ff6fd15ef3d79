"""`alexnet workspace`: a W&B workspace and a W&B report about runs that are online."""

from pathlib import Path

from alexnet.errors import UserError, how_to_install
from alexnet.runs.wandb_names import check_login
from alexnet.study.comparison import compare
from alexnet.study.report.report import load_runs


def run(paths: list[Path], *, project: str, entity: str, split: str | None, view: str) -> None:
    """Save both, and print their addresses."""
    try:
        from alexnet.study.report.workspace import save
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: {how_to_install('dashboards')}") from None
    tables = compare(load_runs(*paths).runs, split=split, view=view)
    check_login("online")
    for name, address in save(tables, entity=entity, project=project).items():
        print(f"{name}: {address}")
