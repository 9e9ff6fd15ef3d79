"""The site's generated pages and its links; `.ci/run` builds the site itself."""

import json
import re
from pathlib import Path

import pytest

from alexnet.config.compose import CONF
from alexnet.config.schema import flatten
from tests.conftest import checked

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://example.org/alexnet"
ABLATIONS = f"({REPOSITORY}/tree/HEAD/ablations)"


@pytest.fixture(autouse=True)
def docs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))


def test_every_value_and_choice_is_on_the_page_once_with_its_default() -> None:
    import reference

    page = reference.configuration_page()
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| `([^`]*)` \|", page, re.MULTILINE)
    demo = flatten(checked().tree)
    assert sorted(key for key, *_ in rows) == sorted(demo)
    shown = {key: default for key, _, default in rows}
    differ = {key: shown[key] for key in demo if shown[key] not in (demo[key], json.dumps(demo[key]))}
    assert differ == {  # what the demo chooses otherwise
        "init.std_conv3_to_5": "0.01",
        "optimizer.batch_size": "128",
        "schedule.epochs": "120",
        "schedule.kind": "plateau",
        "schedule.milestones": "[]",
    }
    choices = re.findall(r"^\| `(\w+)=(\w+)`", page, re.MULTILINE)
    assert sorted(choices) == sorted((file.parent.name, file.stem) for file in CONF.glob("*/*.yaml"))
    size, lr = (
        next(line for line in page.splitlines() if line.startswith(f"| `{key}`"))
        for key in ("lrn.size", "optimizer.lr")
    )
    assert "at least 1, at most 511, odd | `5` | neighboring channels in the window" in size and "above 0" in lr


def test_the_head_of_a_choice_and_the_reason_of_a_value_are_those_of_its_file() -> None:
    import reference

    head, settings = reference.read_choice(CONF / "experiment" / "demo.yaml")
    assert head.startswith("The demo: a quarter-size AlexNet") and "@package" not in head
    said = {one.key: (one.value, one.comment) for one in settings}
    assert said["init"] == ("source_2012", "the printed init starts too slowly in a narrow net for a demo")
    assert reference.read_choice(CONF / "config.yaml")[1][-1].key == "hydra.job_logging.root.handlers"


def test_every_command_shows_its_help() -> None:
    import reference

    page = reference.commands_page()
    for line in ("usage: alexnet report [-h]", "usage: alexnet new-ablation [-h]", "## alexnet export"):
        assert page.count(line) == 1


@pytest.mark.parametrize(
    ("page", "link", "without", "with_address"),
    [
        ("README.md", "[d](docs/data.md#splits)", "[d](data.md#splits)", None),
        ("README.md", "[r](results)", "[r](results/README.md)", None),
        ("docs/claims.md", "[s](sweeps.md)", "[s](sweeps.md)", None),
        ("docs/claims.md", "[`ablations/`](../ablations)", "`ablations/`", f"[`ablations/`]{ABLATIONS}"),
        ("docs/claims.md", "[theirs](../ablations)", "theirs (`ablations`)", f"[theirs]{ABLATIONS}"),
        ("results/README.md", "![x](figure1/figure1.svg)", "![x](figure1/figure1.svg)", None),
        ("results/figure1/README.md", "[c](../../docs/cifar10.md)", "[c](../../cifar10.md)", None),
        ("docs/data.md", "[a](https://a.org) [b](#b)", "[a](https://a.org) [b](#b)", None),
        ("docs/data.md", "```\n[a](../ablations)\n```", "```\n[a](../ablations)\n```", None),
    ],
)  # fmt: skip
def test_links_lead_to_the_place_in_the_site_or_in_the_repository(
    page: str, link: str, without: str, with_address: str | None
) -> None:
    import hooks

    assert hooks.relinked(link, ROOT / page, None) == without
    assert hooks.relinked(link, ROOT / page, REPOSITORY) == (with_address or without)


def test_files_that_pages_link_to_come_along() -> None:
    import hooks

    found = {hooks.site_uri(path) for path in hooks.linked_files([ROOT / "README.md"])}
    assert {"index.md", "data.md", "results/README.md", "results/tiny_imagenet_planned/comparison.svg"} <= found
    assert "results/recipes/comparison.html" in found  # by way of the study's own page
