"""`alexnet new-ablation`: a file to start an idea of one's own from."""

import re
from pathlib import Path

from alexnet.config.compose import ablation_choices
from alexnet.errors import UserError

TEMPLATE = """\
# @package _global_
# What you expect, and the change that tests it. Try it:
#
#   alexnet train --config-dir {folder} +ablation={name} --cfg job
#   alexnet train --config-dir {folder} -m '+ablation=none,{name}' seed=0,1,2
#
# The second line trains three seeds of each arm and ends with the comparison (docs/own-claims.md).
ablations:
  {name}:
    title: {title}
    section: mine                 # of the paper, if it speaks of it
    statement: What you expect, in a sentence.
    paper:                        # the rise of the error that is claimed, in percentage points; below 0: it falls
      top1: null                  # null: no number, only the sign
      top5: null
      relation: worse             # or better, equals, about, at_least, no_effect, not_worse
    margin: {{top1: 0.3, top5: 0.15}}   # points that do not matter
# Below, every value that the change sets; `alexnet train --cfg job` shows them all. This example halves the dropout.
dropout:
  probability: 0.25
"""


def run(name: str, folder: Path) -> None:
    """Write the template as `FOLDER/ablation/NAME.yaml` and say how to use it.

    Raises:
        UserError: the name is taken or no name of an ablation, or the file exists.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UserError(f"{name}: a name is of letters, digits and _, and begins with a letter, such as my_idea")
    if name in ablation_choices():
        raise UserError(f"{name}: the project has an ablation of this name; choose another")
    file = folder / "ablation" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(TEMPLATE.format(name=name, folder=folder, title=name.replace("_", " ").capitalize()))
    except FileExistsError:
        raise UserError(f"{file} exists; change it, or choose another name") from None
    print(f"{file}: change it, then\n  alexnet train --config-dir {folder} -m '+ablation=none,{name}' seed=0,1,2")
