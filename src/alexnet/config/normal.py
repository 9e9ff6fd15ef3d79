"""The normal form of a configuration: what it means, in one way of saying it.

A run's identity is a hash of it, so two ways of asking for the same computation are one run. A value that has no effect
has no part in it, and is refused on a command line.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from alexnet.config.schema import is_part_of, schema_defaults, without
from alexnet.config.values import TWO_COLUMNS, scaled_milestones

Flat = dict[str, Any]
"""A configuration by dotted keys."""


@dataclass(frozen=True)
class Idle:
    """Keys without an effect while a condition holds."""

    keys: tuple[str, ...]
    reason: str
    holds: Callable[[Flat], bool]


def _late_epochs(flat: Flat) -> bool:
    late = (flat["late_changes.layers"], flat["late_changes.bias_milestones"])
    return any(late) or flat["late_changes.color_off_epoch"] is not None


def _never_drops(flat: Flat) -> bool:
    if flat["schedule.kind"] == "cosine":
        return True
    if flat["schedule.kind"] == "plateau":
        return not flat["schedule.max_lr_drops"]
    return not (flat["schedule.milestones"] or flat["late_changes.layers"] or flat["late_changes.bias_milestones"])


IDLE = (
    Idle(
        ("lrn.size", "lrn.k", "lrn.alpha", "lrn.beta", "lrn.divide_alpha", "lrn.across_columns"),
        "lrn.layers=[] normalizes nothing",
        lambda flat: not flat["lrn.layers"],
    ),
    Idle(
        ("lrn.after_pooling",),  # moves both norms
        "lrn.layers=[] normalizes nothing",
        lambda flat: not flat["lrn.layers"] and not flat["within_channel_lrn.layers"],
    ),
    Idle(
        ("lrn.across_columns",),
        "one column has nothing to cross",
        lambda flat: flat["columns.kind"] not in TWO_COLUMNS,
    ),
    Idle(("lrn.divide_alpha",), "lrn.size=1 divides by 1", lambda flat: flat["lrn.size"] == 1),
    Idle(
        ("within_channel_lrn.size", "within_channel_lrn.alpha", "within_channel_lrn.beta"),
        "within_channel_lrn.layers=[] normalizes nothing",
        lambda flat: not flat["within_channel_lrn.layers"],
    ),
    Idle(("dropout.probability",), "dropout.layers=[] drops nothing", lambda flat: not flat["dropout.layers"]),
    Idle(
        ("color.magnitude", "color.rescale", "late_changes.color_off_epoch"),
        "color.std=0 adds no noise",
        lambda flat: flat["color.std"] == 0,
    ),
    Idle(("crops.include_last_offset",), "crops.random=false takes the center", lambda flat: not flat["crops.random"]),
    Idle(
        ("crops.images_per_crop",),
        "crops.random=false and crops.flip=false leave nothing to share",
        lambda flat: not flat["crops.random"] and not flat["crops.flip"],
    ),
    Idle(
        ("schedule.patience", "schedule.max_lr_drops"),
        "schedule.kind=plateau alone waits for plateaus",
        lambda flat: flat["schedule.kind"] != "plateau",
    ),
    Idle(
        ("schedule.milestones",),
        "schedule.kind=multistep alone drops the learning rate at given epochs",
        lambda flat: flat["schedule.kind"] != "multistep",
    ),
    Idle(("schedule.factor",), "the learning rate is never divided", _never_drops),
    Idle(
        ("late_changes.lr_drop_epoch", "late_changes.freeze_epoch"),
        "late_changes.layers=[] freezes nothing",
        lambda flat: not flat["late_changes.layers"],
    ),
    Idle(("late_changes.of_epochs",), "late_changes changes nothing", lambda flat: not _late_epochs(flat)),
    Idle(
        ("pretrained.reinit",),
        "every layer is initialized without pretrained.checkpoint",
        lambda flat: flat["pretrained.checkpoint"] is None,
    ),
    Idle(
        ("optimizer.decay_biases", "optimizer.weight_decay_multipliers"),
        "optimizer.weight_decay=0 decays nothing",
        lambda flat: flat["optimizer.weight_decay"] == 0,
    ),
    Idle(("data.shapes",), "the images are not the drawn ones", lambda flat: not _draws(flat)),
    Idle(("data.val_fraction", "data.test_fraction"), "the drawn images have all splits", lambda flat: _draws(flat)),
    Idle(
        ("data.quality", "data.chroma_subsampling"),
        "data.encoding=raw compresses nothing",
        lambda flat: flat["data.encoding"] == "raw",
    ),
    Idle(
        ("trainer.gradient_clip_algorithm",),
        "trainer.gradient_clip_val=null clips nothing",
        lambda flat: flat["trainer.gradient_clip_val"] is None,
    ),
    Idle(("hardware.compile_mode",), "hardware.compile=false", lambda flat: not flat.get("hardware.compile")),
)


def _draws(flat: Flat) -> bool:
    return flat["data.name"] == "shapes" and flat["data.root"] is None


def _idle(flat: Flat) -> Iterator[tuple[str, str]]:
    """Yield the keys without an effect, each with its reason."""
    for idle in IDLE:
        if idle.holds(flat):
            yield from ((key, idle.reason) for key in idle.keys)


def why_idle(key: str, flat: Flat) -> str | None:
    """Say why a key, or all that lies below it, has no effect; None if it has one."""
    return next((reason for idle, reason in _idle(_full(flat)) if is_part_of(key, [idle])), None)


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
    return without(flat, [key for key, _ in _idle(flat)])


def _full(flat: Flat) -> Flat:
    """Add the schema's defaults of keys that a configuration from before them lacks."""
    return schema_defaults() | flat
