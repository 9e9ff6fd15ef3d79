"""`alexnet workspace`: a W&B workspace and a W&B report about runs that are online."""

from pathlib import Path

from alexnet.errors import UserError, how_to_install
from alexnet.runs.wandb_names import check_login
from alexnet.study.report.report import compare_runs


def run(paths: list[Path], *, project: str, entity: str, split: str | None, view: str) -> None:
    """Save both, and print their addresses."""
    try:
        from alexnet.study.report.workspace import save
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is not installed: {how_to_install('dashboards')}") from None
    found = compare_runs(*paths, split=split, view=view)
    check_login("online")
    folder = paths[0] if len(paths) == 1 else Path()
    for name, address in save(found.tables, entity=entity, project=project, folder=folder).items():
        print(f"{name}: {address}")
