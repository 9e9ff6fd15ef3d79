"""What Weights & Biases is given, read back from the offline run's own file."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from alexnet.errors import UserError
from alexnet.results import Result
from alexnet.training.tracking import check_login
from tests.training.conftest import MakeJob, execute

Runs = dict[str, tuple[Result, list[Record]]]


BLOCK = 2**15


def records(directory: Path) -> list[Record]:
    """Everything in the one offline run below a directory.

    The file is a LevelDB log behind 7 bytes of its own: blocks of 32 KiB, that hold chunks of 4 bytes of checksum,
    2 of length and 1 of kind (whole, first, middle, last part of a record).
    """
    (file,) = directory.rglob("*.wandb")
    content, at, found, record = file.read_bytes(), 7, [], b""
    assert content.startswith(b":W&B")
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # no chunk begins so near to a block's end
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(Record.FromString(record))
            record = b""
    return found


@pytest.fixture(scope="module")
def runs(tiny: MakeJob, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A baseline and two ablations together, run one after the other in this process."""
    folder = tmp_path_factory.mktemp("tracked")
    environment = dict(os.environ)
    done = {}
    for name, arguments in (("base", []), ("ablated", ["+ablation=no_lrn"])):
        result, _ = execute(tiny("wandb=offline", *arguments), folder / name)
        done[name] = (result, records(folder / name))
    changed = {key for key in environment if os.environ.get(key) != environment[key]}
    assert not changed and os.environ.get("WANDB_MODE") is None  # a later online run must not be switched offline
    return done


def run_record(found: list[Record]) -> Any:
    (run,) = {record.run.run_id: record.run for record in found if record.HasField("run")}.values()
    return run


def config(found: list[Record]) -> dict[str, Any]:
    items: dict[str, Any] = {}
    for record in found:
        for item in [*record.run.config.update, *record.config.update]:
            items[item.key or item.nested_key[0]] = json.loads(item.value_json)
    return items


def summary(found: list[Record]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for record in found:
        for item in record.summary.update:
            values[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return values


def test_runs_are_named_tagged_and_grouped_with_their_baseline(runs: Runs) -> None:
    groups = set()
    for name, ablation in (("base", "baseline"), ("ablated", "no_lrn")):
        result, found = runs[name]
        run = run_record(found)
        assert (run.run_id, run.display_name, run.project, run.job_type) == (name, name, "alexnet-ablations", "train")
        assert set(run.tags) == {ablation, "paper", "demo", "shapes"}
        assert run.run_group == f"demo-{result.pairing_key[:8]}"
        groups.add(run.run_group)
    assert len(groups) == 1


def test_two_runs_in_one_process_are_two_runs(runs: Runs) -> None:
    assert {run_record(found).run_id for _, found in runs.values()} == {"base", "ablated"}
    for _, found in runs.values():
        assert len([record for record in found if record.HasField("exit")]) == 1
        assert [record.exit.exit_code for record in found if record.HasField("exit")] == [0]


def test_the_configuration_is_there_with_the_paper_s_delta(runs: Runs, tiny: MakeJob) -> None:
    base, ablated = config(runs["base"][1]), config(runs["ablated"][1])
    assert (base["ablation"], base["paper_delta_top1"]) == ("baseline", None)
    assert (ablated["ablation"], ablated["paper_delta_top1"], ablated["paper_delta_top5"]) == ("no_lrn", 1.4, 1.2)
    assert ablated["lrn"]["layers"] == [] and base["lrn"]["layers"] == [1, 2]
    tree = tiny("wandb=offline").tree
    assert {key: base[key] for key in tree} == tree


def test_the_summary_holds_the_result_s_errors_in_percent(runs: Runs) -> None:
    for result, found in runs.values():
        values = summary(found)
        for split, views in result.errors.items():
            for view, rates in views.items():
                assert values[f"{split}/{view}/top1_error"] == pytest.approx(100 * rates.top1)
                assert values[f"{split}/{view}/top5_error"] == pytest.approx(100 * rates.top5)
        assert (values["status"], values["parameters"]) == ("finished", result.parameters)


def test_the_curves_have_a_point_per_epoch(runs: Runs) -> None:
    for _, found in runs.values():
        rows = [
            {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for record in found
            if record.HasField("history")
        ]
        for name in ("val/top1_error", "train/loss", "rate", "images_per_second"):
            assert len([row for row in rows if name in row]) == 2, name
        assert [row["rate"] for row in rows if "rate" in row] == pytest.approx([0.01, 0.001])


def test_an_online_run_without_a_login_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        api_key: str | None = None

    monkeypatch.setattr("alexnet.training.tracking.wandb.api", Api())
    with pytest.raises(UserError, match="wandb login"):
        check_login("online")
    check_login("offline")
    monkeypatch.setattr(Api, "api_key", "0" * 40)
    check_login("online")


def test_a_failed_run_is_closed_as_failed(tiny: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverged"):
        execute(tiny("wandb=offline", "optimizer.lr=1e9"), tmp_path)
    found = records(tmp_path)
    assert summary(found)["status"] == "failed"
    assert [record.exit.exit_code for record in found if record.HasField("exit")] == [1]
