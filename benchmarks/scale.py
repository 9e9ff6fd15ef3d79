"""What larger sets take, on paper: storage, preparing, feeding, GPUs, hours, money, and what in memory grows with them.

python benchmarks/scale.py [--gpu-rate 16487] [--gpu-dollars 3] [--epochs 90] [--largest 100000000]

Rates are read from the other benchmarks' results; only the drawing of an epoch is measured here, up to `--largest`
images. No GPU was at hand: `--gpu-rate` is a published figure for one A100 (fp16, XLA, tensors that are there already,
no response normalisation), and `--gpu-dollars` an assumption.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from alexnet.data.augment import EpochPlan, draw_epoch
from measuring import RESULTS, one_core, print_table, save

SETS = {
    "ILSVRC-2012": (1_281_167, 1_000),
    "ImageNet, Fall 2011": (15_000_000, 21_841),
    "a billion images": (1_000_000_000, 21_841),
}
"""Images and classes."""
RAW_BYTES = 256 * 256 * 3
SHARD_BYTES = 2**30
HIDDEN = 4096
BODY_MULTIPLY_ADDS = 724_400_000 - HIDDEN * 1_000
"""Of the paper's network forward, per image, but for the classifier (`alexnet describe`)."""
PREPARING_BYTES, INDEX_BYTES, PREDICTION_BYTES = 250, 24, 44
"""Temporary files per image in preparing (245 were seen, names of 30 letters included), an index of labels and byte
ranges, and what `predictions.npz` holds of an image under one view: label, five classes and five probabilities."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the arithmetic rests on."""

    pack_bytes: float
    """Of a JPEG image in a pack."""
    prepared: float
    """Images per core and second."""
    decoded: float
    """Images per core and second from a JPEG pack to a uint8 batch."""
    augmented: float
    """Images per core and second from a raw pack to a float32 batch."""
    trained: float
    """Images per GPU and second."""
    gpu_dollars: float
    """For an hour of a GPU."""
    epochs: int


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Of one set."""

    images: int
    classes: int
    jpeg_terabytes: float
    raw_terabytes: float
    shards: int
    preparing_core_hours: float
    preparing_gigabytes: float
    index_gigabytes: float
    plan_gigabytes: float
    gpu_hours: float
    dollars: float
    gpus_for_a_week: int
    decoding_cores_per_gpu: float
    read_megabytes_per_gpu_second: float
    classifier_million_parameters: float
    classifier_share: float
    """Of the multiply-adds of the network."""


def needs(images: int, classes: int, rates: Rates) -> Needs:
    """Everything but `plan_gigabytes`' 37 bytes follows from the rates."""
    jpeg_bytes = images * rates.pack_bytes
    gpu_hours = images * rates.epochs / rates.trained / 3600
    classifier = HIDDEN * classes
    return Needs(
        images=images,
        classes=classes,
        jpeg_terabytes=jpeg_bytes / 1e12,
        raw_terabytes=images * RAW_BYTES / 1e12,
        shards=math.ceil(jpeg_bytes / SHARD_BYTES),
        preparing_core_hours=images / rates.prepared / 3600,
        preparing_gigabytes=images * PREPARING_BYTES / 1e9,
        index_gigabytes=images * INDEX_BYTES / 1e9,
        plan_gigabytes=images * plan_bytes() / 1e9,
        gpu_hours=gpu_hours,
        dollars=gpu_hours * rates.gpu_dollars,
        gpus_for_a_week=math.ceil(gpu_hours / (7 * 24)),
        decoding_cores_per_gpu=rates.trained / rates.decoded,
        read_megabytes_per_gpu_second=rates.trained * rates.pack_bytes / 1e6,
        classifier_million_parameters=(classifier + classes) / 1e6,
        classifier_share=classifier / (BODY_MULTIPLY_ADDS + classifier),
    )


def plan_bytes() -> float:
    """Of an epoch's plan, per image."""
    return _bytes(draw_epoch(seed=0, epoch=0, images=1000, positions=32)) / 1000


def _bytes(plan: EpochPlan) -> int:
    return sum(array.nbytes for array in (plan.order, plan.crop_offsets, plan.flips, plan.colors))


def drawing(largest: int) -> Iterator[dict[str, float]]:
    """Seconds to draw plans of 10^6 images and more, and of their order alone."""
    images = 10**6
    while images <= largest:
        start = time.perf_counter()
        draw_epoch(seed=0, epoch=0, images=images, positions=32)
        middle = time.perf_counter()
        np.random.default_rng(0).permutation(images)
        yield {"images": images, "plan": middle - start, "order": time.perf_counter() - middle}
        images *= 10


def measured_rates(gpu_rate: float, gpu_dollars: float, epochs: int) -> Rates:
    """From the results of the other benchmarks."""
    rehearsal = _result("rehearsal_100000")
    (prepare,) = (row for row in rehearsal["rows"] if row["name"] == "prepare")
    return Rates(
        pack_bytes=prepare["made_bytes"] / (rehearsal["images"] + rehearsal["val"]),
        prepared=_rate("preparing", "ours: a finished pack"),
        decoded=_rate("loading", "ours, jpeg pack, uint8"),
        augmented=_rate("loading", "ours, raw pack, float32"),
        trained=gpu_rate,
        gpu_dollars=gpu_dollars,
        epochs=epochs,
    )


def _rate(name: str, way: str) -> float:
    return next(float(row["images_per_core_second"]) for row in _result(name)["rows"] if row["way"] == way)


def _result(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


ROWS = {
    "images": "{0.images:,}",
    "classes": "{0.classes:,}",
    "pack of JPEG, TB": "{0.jpeg_terabytes:.3g}",
    "pack of pixels, TB": "{0.raw_terabytes:.3g}",
    "shards of 1 GiB": "{0.shards:,}",
    "preparing, core-hours": "{0.preparing_core_hours:,.1f}",
    "preparing, temporary files, GB": "{0.preparing_gigabytes:.3g}",
    "index, GB": "{0.index_gigabytes:.3g}",
    "an epoch's plan, GB": "{0.plan_gigabytes:.3g}",
    "training, GPU-hours (not measured)": "{0.gpu_hours:,.0f}",
    "training, dollars (assumed)": "{0.dollars:,.0f}",
    "GPUs to train in a week": "{0.gpus_for_a_week:,}",
    "cores per GPU to decode": "{0.decoding_cores_per_gpu:.1f}",
    "read per GPU, MB/s": "{0.read_megabytes_per_gpu_second:,.0f}",
    "classifier, million parameters": "{0.classifier_million_parameters:.1f}",
    "classifier, share of the multiply-adds": "{0.classifier_share:.1%}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu-rate", type=float, default=16_487)
    parser.add_argument("--gpu-dollars", type=float, default=3.0)
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--largest", type=int, default=10**8)
    options = parser.parse_args()
    one_core()
    rates = measured_rates(options.gpu_rate, options.gpu_dollars, options.epochs)
    sets = {name: needs(images, classes, rates) for name, (images, classes) in SETS.items()}
    print_table(["", *sets], ([row, *(form.format(each) for each in sets.values())] for row, form in ROWS.items()))
    drawn = list(drawing(options.largest))
    print_table(
        ["images", "drawing a plan, s", "its order alone, s"],
        ([f"{row['images']:,}", f"{row['plan']:.2f}", f"{row['order']:.2f}"] for row in drawn),
    )
    rows = {name: asdict(each) for name, each in sets.items()}
    print(save("scale", 1, rows, rates=asdict(rates), drawing=drawn))


if __name__ == "__main__":
    main()
