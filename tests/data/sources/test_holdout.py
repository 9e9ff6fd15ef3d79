from hypothesis import given
from hypothesis import strategies as st

from alexnet.data.sources.holdout import stratified_holdout
from alexnet.data.sources.listing import Items


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_every_class_is_divided(counts: list[int], fraction: float, seed: int) -> None:
    items = [(f"{label}/{index}", label) for label, count in enumerate(counts) for index in range(count)]
    train, val = map(list, stratified_holdout(Items.of(items), fraction, seed))
    assert sorted(train + val) == sorted(items)
    assert train == [item for item in items if item in train] and val == [item for item in items if item in val]
    for label, count in enumerate(counts):
        held = sum(of == label for _, of in val)
        assert held < count
        assert held == (0 if count == 1 else min(max(1, round(fraction * count)), count - 1))


def test_the_seed_draws() -> None:
    items = Items.of((f"{index}", 0) for index in range(50))
    assert stratified_holdout(items, 0.2, 1) == stratified_holdout(items, 0.2, 1) != stratified_holdout(items, 0.2, 2)


def test_the_draw_does_not_hang_on_the_listing() -> None:
    items = [(f"{index}", index // 20) for index in range(60)]
    turned = sorted(items, key=lambda item: (item[1], -int(item[0])))
    assert turned != items and set(stratified_holdout(Items.of(items), 0.2, 1)[1]) == set(
        stratified_holdout(Items.of(turned), 0.2, 1)[1]
    )
