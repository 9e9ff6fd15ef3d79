"""What makes two runs the same: the normal form of their configuration, and the numbers that the code computes.

A run's identity is a hash of the normal form, in which each meaning has one way of saying it, so two ways of asking
for the same computation are one run. A value that has no effect has no part in it, and is refused on a command line.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from alexnet.config.schema import is_part_of, schema_defaults, without
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
