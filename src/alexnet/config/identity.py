"""What makes two runs the same: the normal form of their configuration, and the numbers that the code computes.

A run's identity is a hash of the normal form, in which each meaning has one way of saying it, so two ways of asking
for the same computation are one run. A value that has no effect has no part in it, and is refused on a command line.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from alexnet.config.schema import (
    BASELINE,
    NON_IDENTITY_KEYS,
    ConfigTree,
    flatten,
    is_part_of,
    run_label,
    schema_defaults,
    without,
)
from alexnet.config.values import TWO_COLUMNS, scaled_epoch, scaled_milestones

Flat = dict[str, Any]
"""A configuration by dotted keys."""
LATE_EPOCHS = tuple(f"late_changes.{name}_epoch" for name in ("lr_drop", "freeze", "color_off"))


def _idle(flat: Flat) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each reason why some keys have no effect, and those keys."""
    late_layers, kind = flat["late_changes.layers"], flat["schedule.kind"]
    drops_late = bool(late_layers or flat["late_changes.bias_milestones"])
    draws = flat["data.name"] == "shapes" and flat["data.root"] is None
    if not flat["lrn.layers"]:
        names = ["size", "k", "alpha", "beta", "divide_alpha", "across_columns"]
        yield "lrn.layers=[] normalizes nothing", tuple(f"lrn.{name}" for name in names)
        if not flat["within_channel_lrn.layers"]:  # it moves both norms
            yield "lrn.layers=[] normalizes nothing", ("lrn.after_pooling",)
    if flat["columns.kind"] not in TWO_COLUMNS:
        yield "one column has nothing to cross", ("lrn.across_columns",)
    if flat["lrn.size"] == 1:
        yield "lrn.size=1 divides by 1", ("lrn.divide_alpha",)
    if not flat["within_channel_lrn.layers"]:
        names = ["size", "alpha", "beta"]
        yield "within_channel_lrn.layers=[] normalizes nothing", tuple(f"within_channel_lrn.{name}" for name in names)
    if not flat["dropout.layers"]:
        yield "dropout.layers=[] drops nothing", ("dropout.probability",)
    if flat["color.std"] == 0:
        yield "color.std=0 adds no noise", ("color.magnitude", "color.rescale", "late_changes.color_off_epoch")
    if not flat["crops.random"]:
        yield "crops.random=false takes the center", ("crops.include_last_offset",)
        if not flat["crops.flip"]:
            yield "crops.random=false and crops.flip=false leave nothing to share", ("crops.images_per_crop",)
    if kind != "plateau":
        yield "schedule.kind=plateau alone waits for plateaus", ("schedule.patience", "schedule.max_lr_drops")
    if kind != "multistep":
        yield "schedule.kind=multistep alone drops the learning rate at given epochs", ("schedule.milestones",)
    drops = {"multistep": flat["schedule.milestones"] or drops_late, "plateau": flat["schedule.max_lr_drops"]}
    if not drops.get(kind):
        yield "the learning rate is never divided", ("schedule.factor",)
    if not late_layers:
        yield "late_changes.layers=[] freezes nothing", ("late_changes.lr_drop_epoch", "late_changes.freeze_epoch")
    if not drops_late and flat["late_changes.color_off_epoch"] is None:
        yield "late_changes changes nothing", ("late_changes.of_epochs",)
    if flat["pretrained.checkpoint"] is None:
        yield "every layer is initialized without pretrained.checkpoint", ("pretrained.reinit",)
    if flat["optimizer.weight_decay"] == 0:
        decay = ("optimizer.decay_biases", "optimizer.weight_decay_multipliers")
        yield "optimizer.weight_decay=0 decays nothing", decay
    if draws:
        yield "the drawn images have all splits", ("data.val_fraction", "data.test_fraction")
    else:
        yield "the images are not the drawn ones", ("data.shapes",)
    if flat["data.encoding"] == "raw":
        yield "data.encoding=raw compresses nothing", ("data.quality", "data.chroma_subsampling")
    if flat["trainer.gradient_clip_val"] is None:
        yield "trainer.gradient_clip_val=null clips nothing", ("trainer.gradient_clip_algorithm",)
    if not flat.get("hardware.compile"):
        yield "hardware.compile=false", ("hardware.compile_mode",)


def _idle_but_named(flat: Flat) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the same of keys that runs are named after all the same: nothing may move the names that there are."""
    if flat["scale.image_size"] - flat["scale.crop_size"] + flat["crops.include_last_offset"] <= 1:
        shared = () if flat["crops.flip"] else ("crops.images_per_crop",)
        yield "a crop has one place in its image", ("crops.random", "crops.include_last_offset", *shared)
    if flat["lrn.alpha"] == 0:
        yield "lrn.alpha=0 sums nothing", ("lrn.size", "lrn.divide_alpha", "lrn.across_columns")


def why_idle(key: str, flat: Flat, *, named: bool = False) -> str | None:
    """Say why a key, or all that lies below it, has no effect; None if it has one. `named` includes those in names."""
    reasons = chain(_idle(_full(flat)), _idle_but_named(_full(flat)) if named else ())
    return next((reason for reason, keys in reasons if is_part_of(key, keys)), None)


def training_form(flat: Flat) -> Flat:
    """Return the normal form without what has no effect and is in the names of runs all the same."""
    flat = _full(flat)
    if (flat["lrn.alpha"], flat["lrn.k"]) == (0, 1):  # divides by 1
        flat["lrn.layers"] = []
    if flat["schedule.kind"] == "multistep":
        to, of = flat["schedule.rescale_to_epochs"] or flat["schedule.epochs"], flat["late_changes.of_epochs"]
        for key in LATE_EPOCHS:  # None, and what comes after the last epoch, are never reached
            epoch = to if flat[key] is None else scaled_epoch(flat[key], of=of, to=to)
            flat[key] = None if epoch >= to else epoch
        moved = [scaled_epoch(epoch, of=of, to=to) for epoch in flat["late_changes.bias_milestones"] or ()]
        if moved:
            flat["late_changes.bias_milestones"] = [epoch for epoch in moved if epoch < to]
        if flat["late_changes.lr_drop_epoch"] is flat["late_changes.freeze_epoch"] is None:
            flat["late_changes.layers"] = []
        flat["late_changes.of_epochs"] = to
    return without(normal_form(flat), [key for _, keys in _idle_but_named(flat) for key in keys])


def normal_form(flat: Flat) -> Flat:
    """Return what a configuration means: every value that has an effect, in one way of saying it."""
    flat = _full(flat)
    for layers, off in (
        ("dropout.layers", flat["dropout.probability"] == 0),
        ("lrn.layers", flat["lrn.beta"] == 0),
        ("within_channel_lrn.layers", 0 in (flat["within_channel_lrn.alpha"], flat["within_channel_lrn.beta"])),
    ):
        flat[layers] = [] if off else flat[layers]
    for key in (f"trainer.limit_{part}_batches" for part in ("train", "val", "test")):
        if isinstance(flat[key], float) and flat[key] == 1:  # all; a whole 1 is one batch
            flat[key] = None
    flat["pretrained.reinit"] = sorted(flat["pretrained.reinit"])
    if flat["schedule.kind"] == "multistep":
        epochs = flat["schedule.epochs"]
        to = flat["schedule.rescale_to_epochs"] or epochs
        moved = scaled_milestones(flat["schedule.milestones"], of=epochs, to=to)
        reached = [epoch for epoch in moved if epoch < to]
        flat |= {"schedule.epochs": to, "schedule.milestones": reached, "schedule.rescale_to_epochs": None}
    return without(flat, [key for _, keys in _idle(flat) for key in keys])


def _full(flat: Flat) -> Flat:
    """Add the schema's defaults of keys that a configuration from before them lacks."""
    return schema_defaults() | flat


def ablation_name(config: ConfigTree) -> str:
    """`baseline`, or the names of the ablations in alphabetical order, joined by +."""
    return "+".join(sorted(config["ablations"])) or BASELINE


def run_name(tree: ConfigTree, weights: str | None = None) -> str:
    """Return the name of a run's directory; `weights` is the digest of the pre-trained weights, if it has any."""
    label = run_label(tree["experiment"], ablation_name(tree), tree["seed"])
    return f"{label}-{run_identity(tree, weights)[:8]}"


def run_identity(tree: ConfigTree, weights: str | None) -> str:
    """Hash all that a run computes."""
    return _digest(_identity(tree, weights))


def pairing_key(baseline: ConfigTree, weights: str | None) -> str:
    """Hash what the runs of one table share: equal for those that differ in nothing but the ablation and the seed."""
    return _digest(without(_identity(baseline, weights), ("seed", "ablations", "data.root")))


def _identity(tree: ConfigTree, weights: str | None) -> dict[str, Any]:
    """Return what a run computes, by dotted key, with pre-trained weights in place of their path."""
    return without(normal_form(flatten(tree)), (*NON_IDENTITY_KEYS, "ablations")) | {
        "ablations": sorted(tree["ablations"]),
        "data.root": resolved(tree["data"]["root"]),
        "pretrained.checkpoint": weights,
        "numerics": NUMERICS,
    }


def resolved(root: Any) -> str | None:
    """Return the folder or archive of the user's images, wherever it is seen from."""
    return str(Path(str(root)).expanduser().resolve()) if root else None


def _digest(identity: dict[str, Any]) -> str:
    """Hash of a configuration without the keys that stand at the schema's default.

    So a key can be added to the schema later, with a default that means what was done before, and every run made
    without it keeps its name and its partners.
    """
    defaults = schema_defaults()
    chosen = {key: value for key, value in identity.items() if key not in defaults or defaults[key] != value}
    # `lrn.k=2` and `lrn.k=2.0` are one run, and so are 0 and -0.
    same_numbers = json.loads(json.dumps(chosen), parse_int=float, parse_float=lambda text: float(text) + 0.0)
    return sha256(json.dumps(same_numbers, sort_keys=True).encode()).hexdigest()[:16]


HISTORY = {
    0: "results from before this was counted",
    1: "other orders of floating-point sums than most runs of 0, in normalization, convolutions and updates",
    2: "masks, weights and augmentation drawn by counter, the same on every device; updates by torch's own SGD",
}
"""Which numbers this code computes, as a counter that the identity of every run holds.

A change by which the same configuration computes other numbers, if only by rounding, adds a line here. The golden
traces in `tests/golden` fail until that is done, and then ask to be recorded again.
"""
NUMERICS = max(HISTORY)
"""Runs of different numbers are never paired, and a run is not resumed by code of another."""
