"""Run directories with known outcomes, as a training run would leave them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from alexnet.config.identity import NUMERICS
from alexnet.config.schema import Claim, Effect, Errors, Target
from alexnet.runs.arrays import ViewPredictions, write_predictions
from alexnet.runs.metrics import EpochRecord, write_metrics
from alexnet.runs.result import DataFacts, ErrorRates, Result
from alexnet.runs.study_plan import Plan

IMAGES = 1000
UNKNOWN = Errors()

CLAIMS = {
    "no_lrn": Claim(
        title="Response normalisation",
        section="3.3",
        statement="Without it the error rises.",
        paper=Effect(top1=1.4, top5=1.2),
        log=Effect(top1=1.37, top5=1.152),
        margin=Errors(top1=0.3, top5=0.15),
    ),
    "one_column": Claim(
        title="One column",
        section="3.2",
        statement="One column is worse than two.",
        paper=Effect(top1=1.7, top5=1.2),
        log=Effect(top1=1.6953, top5=1.23),
    ),
    "no_color": Claim(
        title="Colour noise",
        section="4.1",
        statement="It is worth more than one point.",
        paper=Effect(top1=1.0, relation="at_least"),
        log=Effect(),
    ),
    "isolated_columns": Claim(
        title="No exchange between columns",
        section="log",
        statement="Not in the paper.",
        paper=Effect(),
        log=Effect(top1=1.164, top5=1.12),
    ),
    "no_dropout": Claim(
        title="Dropout", section="4.2", statement="Without it the net over-fits.", paper=Effect(), log=Effect()
    ),
}


def predictions(top1_wrong: int, top5_wrong: int, *, images: int = IMAGES, first: int = 0) -> ViewPredictions:
    """Wrong on the `top1_wrong` images from `first` on, by more than five classes on the first `top5_wrong` of them."""
    labels = np.arange(images) % 20
    ranks = np.zeros(images, dtype=int)
    ranks[first : first + top1_wrong] = 1
    ranks[first : first + top5_wrong] = 5
    # The class at place j is label + j - rank, so the label stands at place `rank`; place 5 is not among the five.
    classes = (labels[:, None] + np.arange(5) - ranks[:, None]) % 20
    return ViewPredictions.from_top(labels, classes, np.tile([0.5, 0.2, 0.1, 0.05, 0.01], (images, 1)))


def result(ablation: str = "baseline", seed: int = 0) -> Result:
    """A finished run; errors are placeholders until `save` counts them."""
    parts = [] if ablation == "baseline" else ablation.split("+")
    chosen = [f"'+ablation=[{','.join(parts)}]'"] if parts else []
    return Result(
        status="finished",
        message=None,
        run=f"shapes-{ablation}-seed{seed}-1a2b",
        ablation=ablation,
        recipe="paper",
        experiment="demo",
        seed=seed,
        pairing_key="9f3c",
        changes={"lrn.layers": ([1, 2], [])} if "no_lrn" in parts else {},
        claims={part: CLAIMS[part] for part in parts if part in CLAIMS},
        target=Target(paper=UNKNOWN, log=UNKNOWN),
        data=DataFacts(name="shapes", fingerprint="d1", classes=20, images={"train": 3000, "val": 400, "test": IMAGES}),
        errors={"test": {"ten_crop": ErrorRates(images=IMAGES, top1=0.0, top5=0.0)}},
        training=None,
        parameters=123456,
        versions={"python": "3.11.7"},
        device="cpu",
        git=None,
        command=" ".join(["python train.py", *chosen, f"seed={seed}"]),
    )


def save(
    folder: Path, run: Result, seen: ViewPredictions | None = None, *, split: str = "test", view: str = "ten_crop"
) -> Path:
    """Write a run directory; without predictions the run did not finish."""
    directory = folder / run.run
    directory.mkdir(parents=True, exist_ok=True)
    if seen is not None:
        write_predictions(directory, {split: {view: seen}})
        run = replace(run, errors={split: {view: seen.error_rates()}})
    run.write(directory)
    return directory


def searched(plan: Plan, ablation: str, rate: float, seed: int | None = None) -> Result:
    """A run of a plan's search for rates; with a seed of the study one of its looks at this rate."""
    chosen = plan.search.seeds[0] if seed is None and plan.search else seed or 0
    one = result(ablation, chosen)
    return replace(one, run=f"{one.run}-{rate}", pairing_key=str(rate), lr=rate, plan=plan, numerics=NUMERICS)


def unfinished(run: Result, status: str, message: str) -> Result:
    """The same run, had it not finished."""
    return replace(run, status=status, message=message, errors={})  # type: ignore[arg-type]


def study(folder: Path, seeds: int = 3) -> Path:
    """Five ablations and a combination, each at every seed, with ever more wrong images."""
    rng = np.random.default_rng(7)
    wrong = {
        "baseline": 300,
        "one_column": 317,
        "no_lrn": 314,
        "no_color": 312,
        "no_dropout": 390,
        "isolated_columns": 298,
        "no_dropout+no_lrn": 410,
    }
    for ablation, count in wrong.items():
        for seed in range(seeds):
            counted = count + int(rng.integers(-6, 7))
            save(folder, result(ablation, seed), predictions(counted, counted // 4, first=int(rng.integers(0, 40))))
    return folder


def fitted(
    folder: Path,
    activation: str,
    rate: float,
    *,
    seed: int,
    errors: list[float],
    settings: dict[str, Any] | None = None,
) -> Path:
    """A finished run of Figure 1 with these training errors, in percent, after its epochs of 352 updates."""
    run = replace(
        result(seed=seed),
        run=f"figure1-{activation}-{rate}-seed{seed}",
        data=DataFacts(name="cifar10", fingerprint="c10", classes=10, images={"train": 45000, "test": IMAGES}),
    )
    directory = save(folder, run, predictions(300, 30))
    write_metrics(directory, [epoch_record(epoch, train_set=error) for epoch, error in enumerate(errors)])
    tree = {
        "activation": {"name": activation},
        "optimizer": {"lr": rate, "momentum": 0.9, "batch_size": 128} | (settings or {}).get("optimizer", {}),
        "seed": seed,
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(tree))
    return directory


def epoch_record(epoch: int, *, train_set: float | None) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        step=352 * (epoch + 1),
        rate=0.01,
        train_loss=2.0,
        train_top1_error=50.0,
        train_top5_error=20.0,
        val_loss=None,
        val_top1_error=None,
        val_top5_error=None,
        train_set_top1_error=train_set,
        seconds=3.0,
        images_per_second=500.0,
    )
