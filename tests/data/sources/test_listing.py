import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alexnet.data.sources.listing import Chained, Items, Listing

NAMES = st.lists(st.sampled_from(["a", "b/c", "é/\udcff.jpg", "", "b/cc", "名/x"]), max_size=12)


def listing(names: list[str]) -> Listing:
    made = Listing()
    for size, name in enumerate(names):
        made.add(name, size)
    return made


@given(names=NAMES, more=NAMES)
def test_a_listing_is_the_list_of_its_names(names: list[str], more: list[str]) -> None:
    first = listing(names)
    assert list(first) == names == [first[number] for number in range(len(names))]
    assert list(first.sizes) == list(range(len(names)))
    both = Chained(first, listing(more))
    assert list(both) == names + more == [both[number] for number in range(len(both))]


@given(names=NAMES)
def test_of_one_name_all_but_the_last_are_superseded(names: list[str]) -> None:
    expected = [number for number, name in enumerate(names) if name in names[number + 1 :]]
    assert listing(names).superseded() == expected


def test_items_are_names_and_classes_without_what_wraps_them() -> None:
    items = Items.of((f"w/{place}", label) for place, label in enumerate([0, 0, 2, 2]))
    inside = Items([f"w/{place}" for place in range(4)], items.numbers[::-1], items.labels, prefix="w/")
    assert list(items) == [("w/0", 0), ("w/1", 0), ("w/2", 2), ("w/3", 2)]
    assert inside == [("3", 0), ("2", 0), ("1", 2), ("0", 2)]
    first, second = inside.divided(np.array([False, True, True, False]))
    assert (first, second) == ([("3", 0), ("0", 2)], [("2", 0), ("1", 2)])
    assert [list(places) for places in items.by_class()] == [[0, 1], [2, 3]]
