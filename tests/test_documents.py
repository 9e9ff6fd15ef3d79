"""The commands and links of README and docs."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, QuotedString
from omegaconf import OmegaConf

from alexnet.commands.main import parser
from alexnet.config.compose import CONF, ablation_choices
from alexnet.config.job import check
from alexnet.config.schema import Config
from alexnet.errors import UserError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROMISED = {"batch_norm", "half_dropout", "my_idea"}
"""Ablations that the page itself tells to write."""


def commands() -> list[tuple[str, ...]]:
    """The words of each command in the pages' code blocks, without comments and dots for what is left out."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                with contextlib.suppress(ValueError):  # a quotation mark of other text
                    found.append(tuple(word for word in shlex.split(line, comments=True) if word != "..."))
    return list(dict.fromkeys(found))


def train_commands() -> list[tuple[str, ...]]:
    """The arguments of every training command, each once."""
    found = [
        words[words.index("train.py") + 1 :]
        for words in commands()
        if {"python", "uv"} & {*words} and "train.py" in words
    ]
    return list(dict.fromkeys(found + [words[2:] for words in commands() if words[:2] == ("alexnet", "train")]))


def overrides(arguments: Sequence[str]) -> list[str]:
    """The overrides among the arguments of a training command."""
    with_value = [n + 1 for n, word in enumerate(arguments) if word in ("--config-dir", "--cfg", "-sc")]
    words = arguments[: arguments.index("&&")] if "&&" in arguments else arguments
    return [word for n, word in enumerate(words) if not word.startswith("-") and n not in with_value]


def values(override: str) -> tuple[str, list[str]]:
    """The key of an override, and each of its values, of a list or sweep too."""
    (parsed,) = OverridesParser.create().parse_overrides([override])
    value = parsed.value()
    several = value.list if isinstance(value, ChoiceSweep) else value if isinstance(value, list) else [value]
    flat = [part for one in several for part in (one if isinstance(one, list) else [one])]
    texts = [one.text if isinstance(one, QuotedString) else one for one in flat]
    return parsed.get_key_element().lstrip("+"), [one for one in texts if not isinstance(one, Glob | IntervalSweep)]


def test_every_choice_and_key_of_the_training_commands_exists() -> None:
    assert len(train_commands()) > 40
    schema = OmegaConf.structured(Config)
    for override in dict.fromkeys(word for command in train_commands() for word in overrides(command)):
        key, given = values(override)
        if key == "ablation":
            assert set(map(str, given)) <= {*ablation_choices(), *PROMISED}, override
        elif (CONF / key).is_dir():
            known = {file.stem for file in (CONF / key).glob("*.yaml")} | {"mine"}
            assert set(map(str, given)) <= known, override
        elif not key.startswith("hydra"):
            for value in given if override.count(",") and "[" not in override else [override.partition("=")[2]]:
                OmegaConf.merge(schema, OmegaConf.from_dotlist([f"{key}={value}"]))


def test_every_option_of_the_other_commands_exists(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alexnet.commands.main.weights_file", lambda path: path)  # of a run that is not there
    given = [words[1:] for words in commands() if words[:1] == ("alexnet",) and words[1] != "train"]
    assert len(given) > 20
    for words in given:
        try:
            parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"alexnet {shlex.join(words)}: {capsys.readouterr().err}")


@pytest.mark.slow  # 40 s
def test_every_training_command_is_a_sound_configuration() -> None:
    refused = {}
    for command in train_commands():
        if any(
            "--config-dir" in word or "hydra/" in word or "plan=" in word or "checkpoint=" in word for word in command
        ):
            continue  # folders and files of the reader's own, and other sweepers
        single = []
        for word in overrides(command):
            key, given = values(word)
            sweep = "-m" in command or any("experiment=study" in one for one in command)
            single += [f"{'+' * word.startswith('+')}{key}={given[0]}"] if sweep and given else [] if sweep else [word]
        try:
            check(single)
        except UserError as error:
            refused[shlex.join(command)] = str(error)
    assert not refused


def test_links_lead_to_files_and_headings() -> None:
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
        for target in targets:
            path, _, heading = target.partition("#")
            if re.match(r"\w+:", target):
                continue
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page}: {target}"
            if heading:
                titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
                assert heading in slugs, f"{page}: {target}"


@pytest.mark.slow  # 20 s
def test_the_patch_for_batch_normalization_trains_and_leaves_the_baseline_s_name(tmp_path: Path) -> None:
    from tests.training.conftest import FEW, NARROW  # with torch, which no other test here needs

    page = (ROOT / "docs" / "batch-normalization.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```(diff|yaml)\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    for name in ("src", "conf", "ablations"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "train.py", tmp_path)
    subprocess.run(["git", "apply", "-"], input=blocks["diff"], cwd=tmp_path, text=True, check=True)
    claim = tmp_path / "mine" / "ablation" / "batch_norm.yaml"
    claim.parent.mkdir(parents=True)
    claim.write_text(blocks["yaml"])
    command = [
        sys.executable,
        "train.py",
        "--config-dir",
        "mine",
        "-m",
        *NARROW,
        *FEW,
        "+ablation=none,batch_norm",
        "seed=0",
    ]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "src")}, check=True)
    results = {
        one["ablation"]: one for one in map(json.loads, (f.read_text() for f in tmp_path.glob("runs/*/result.json")))
    }
    assert {one["status"] for one in results.values()} == {"finished"}
    assert results["baseline"]["run"] == check([*NARROW, *FEW, "seed=0"]).name
    gains_and_offsets = 2 * (8 + 8 + 16 + 16 + 8)
    assert results["batch_norm"]["parameters"] == results["baseline"]["parameters"] + gains_and_offsets
