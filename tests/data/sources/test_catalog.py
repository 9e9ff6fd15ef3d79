"""The list of files on disk is the list of files, in the orders that Python's own sorting gives."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.data.sources.catalog import Catalog, File
from alexnet.errors import UserError

NAMES = st.lists(st.sampled_from(["a", "b/c", "é/\udcff.jpg", "\ue000", "b/cc", "名/x", "\U0001f600"]), max_size=12)


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    with closing(Catalog()) as opened:
        yield opened


def filled(catalog: Catalog, labels: dict[str, int], prefix: str = "") -> Catalog:
    catalog.add(File(prefix + name, 0, 0, 0) for name in labels)
    catalog.assign(lambda name: ("train", labels[name.removeprefix(prefix)]), prefix)
    return catalog


@settings(max_examples=25, deadline=None)
@given(names=NAMES)
def test_set_aside_superseded_keeps_the_last_of_each_name(names: list[str]) -> None:
    files = [File(name, size, 1, 2 * size) for size, name in enumerate(names)]
    with closing(Catalog()) as catalog:
        catalog.add(files)
        assert list(catalog.files()) == files and list(catalog.names()) == names
        catalog.set_aside_superseded()
        kept = [file for file in files if file.name not in names[file.size + 1 :]]
        assert list(catalog.names()) == [file.name for file in kept]
        assert [file for file in catalog.files() if file.unused is None] == kept
        assert sum(kind.files for kind in catalog.unused()) + len(kept) == catalog.total() == len(names)


@settings(max_examples=25, deadline=None)
@given(
    labels=st.dictionaries(st.sampled_from(["a", "b/c", "é/\udcff", "\ue000", "\U0001f600", "b"]), st.integers(0, 2))
)
def test_images_are_sorted_by_class_then_name(labels: dict[str, int]) -> None:
    expected = sorted(labels, key=lambda name: (labels[name], name))
    with closing(Catalog()) as catalog:
        filled(catalog, labels, prefix="w/")
        assert list(catalog.images("train")) == expected
        np.testing.assert_array_equal(catalog.labels("train"), sorted(labels.values()))
        located = [(place, name, file.name) for _, place, name, file in catalog.located()]
        assert located == [(expected.index(name), name, f"w/{name}") for name in labels]


def test_catalog_knows_only_the_splits_that_have_images(catalog: Catalog) -> None:
    catalog.add(File(name, 0, 0, 0) for name in ("x", "y", "z"))
    places = {"x": ("val", 0), "y": "other files", "z": ("train", 1)}
    catalog.assign(places.__getitem__)
    assert list(catalog.counts().items()) == [("train", 1), ("val", 1)]
    assert [split for split, *_ in catalog.located()] == ["val", "train"]
    assert catalog.unused() == [("other files", 1, "y")]


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_hold_out_divides_every_class(counts: list[int], fraction: float, seed: int) -> None:
    labels = {f"{label}/{index}": label for label, count in enumerate(counts) for index in range(count)}
    with closing(Catalog()) as catalog:
        filled(catalog, labels).hold_out("val", fraction, seed)
        assert sorted([*catalog.images("train"), *catalog.images("val")]) == sorted(labels)
        held = np.bincount(catalog.labels("val"), minlength=len(counts)).tolist()
    assert held == [0 if count == 1 else min(max(1, round(fraction * count)), count - 1) for count in counts]


def test_hold_out_depends_on_seed_and_names_alone() -> None:
    def held(seed: int, names: list[str], prefix: str = "") -> list[str]:
        with closing(Catalog()) as catalog:
            filled(catalog, {name: int(name) // 20 for name in names}, prefix).hold_out("val", 0.2, seed)
            return list(catalog.images("val"))

    names = [f"{number}" for number in range(60)]
    assert held(1, names) == held(1, names[::-1]) == held(1, names, "wrapped/") != held(2, names)
    # The first two of SHA-256("1/0"), SHA-256("1/1"), ... SHA-256("1/9"), by coreutils' sha256sum.
    assert held(1, names[:10]) == ["0", "3"]


def test_a_full_disk_is_one_line(catalog: Catalog) -> None:
    catalog._table.execute("PRAGMA max_page_count = 3")
    with pytest.raises(UserError, match=r"temporary files cannot be written \(.*full\); set TMPDIR"):
        catalog.add(File(f"{number}" * 100, 0, 0, 0) for number in range(1000))
