"""The numbers of the classes, and the check that every class can be learned."""

from collections.abc import Callable
from pathlib import Path

from alexnet.data.sources.catalog import Catalog
from alexnet.data.sources.names import in_order
from alexnet.errors import UserError

Place = tuple[str, str] | str
"""Split and class of an image, or the kind of "not used"."""


def number_classes(
    path: Path, catalog: Catalog, place: Callable[[str], Place], *, prefix: str = "", order: list[str] | None = None
) -> list[str]:
    """Give the images of a catalog their splits and labels by `place`, and return the classes by their numbers.

    Classes are numbered by name, or as `order` has them.

    Raises:
        UserError: a class has no training images.
    """
    numbers: dict[str, int] = {}
    pairs: set[tuple[str, str]] = set()

    def split_and_number(name: str) -> tuple[str, int] | str:
        at = place(name)
        if isinstance(at, str):
            return at
        pairs.add(at)
        return at[0], numbers.setdefault(at[1], len(numbers))

    catalog.assign(split_and_number, prefix)
    trained = {of_class for split, of_class in pairs if split == "train"}
    unknown = sorted((split, of_class) for split, of_class in pairs if of_class not in trained)
    if unknown and trained:
        split, of_class = unknown[0]
        count = sum(of == split for of, _ in unknown)
        close = next((name for name in trained if name.casefold() == of_class.casefold()), None)
        remedy = f"rename it to {close!r}" if close else "give both splits the same class folders"
        raise UserError(
            f"{path}: {split} has {count} class(es) without training images, such as {of_class!r}; {remedy}"
        )
    if not trained and pairs:
        raise UserError(
            f"{path}: there are no training images, only {', '.join(sorted({of for of, _ in pairs}))}; add them"
        )
    classes = [name for name in order if name in trained] if order else in_order(trained)
    ranks = {of_class: rank for rank, of_class in enumerate(classes)}
    catalog.relabel([ranks[of_class] for of_class in numbers])
    return classes
