"""Binary codes: packing and Hamming distances against Python's own integers, and what training is for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.errors import UserError
from alexnet.trained import codes
from alexnet.trained.codes import Codes, encode, load_codes, nearest_codes, pack_bits, save_codes, train_codes

CPU = torch.device("cpu")


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 40), bits=st.integers(1, 150), k=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_hamming_distances_as_python_counts_them(n: int, bits: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.random((n + 1, bits)) < 0.5
    rows[rng.integers(0, n + 1, 5)] = rows[0]  # ties
    numbers = [int("".join("01"[int(bit)] for bit in row), 2) for row in rows]
    far = sorted(((numbers[0] ^ number).bit_count(), index) for index, number in enumerate(numbers[1:]))
    words = pack_bits(rows)
    assert words.shape == (n + 1, -(-bits // 64))
    k = min(k, n)
    indices, distances = nearest_codes(words[0], words[1:], k)
    assert list(zip(distances.tolist(), indices.tolist(), strict=True)) == far[:k]


def test_bits_are_counted_alike_without_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (20, 3), np.uint64)
    found = codes._ones(words)
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    np.testing.assert_array_equal(codes._ones(words), found)
    assert found.tolist() == [sum(int(word).bit_count() for word in row) for row in words]


def clusters(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight clusters in 40 dimensions, each row with its cluster."""
    centres = np.random.default_rng(1).normal(size=(8, 40)) * 3 + 20
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 8, rows)
    return (centres[labels] + rng.normal(size=(rows, 40))).astype(np.float32), labels


def test_images_that_are_alike_have_codes_that_are_alike(tmp_path: Path) -> None:
    rows, labels = clusters(800, 2)
    queries, wanted = clusters(50, 3)
    net = train_codes(rows, bits=16, epochs=150, seed=0, device=CPU)
    database = encode(net, rows)
    found = np.stack([nearest_codes(code, database, 10)[0] for code in encode(net, queries)])
    assert (labels[found] == wanted[:, None]).mean() > 0.95  # chance is an eighth
    again = train_codes(rows, bits=16, epochs=150, seed=0, device=CPU)
    np.testing.assert_array_equal(encode(again, rows), database)

    # The reconstruction from bits beats the mean, whose error is 1, by what the clusters explain: 9 of 10 parts.
    assert float(net(torch.from_numpy(rows))) < 0.2

    saved = Codes(net=net, bits=16, layer="fc7", database=database, weights="w", fingerprint="f")
    save_codes(saved, tmp_path / "codes.pt")
    loaded = load_codes(tmp_path / "codes.pt", CPU)
    np.testing.assert_array_equal(loaded.database, database)
    np.testing.assert_array_equal(encode(loaded.net, queries), encode(net, queries))
    assert (loaded.bits, loaded.layer, loaded.weights, loaded.fingerprint) == (16, "fc7", "w", "f")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such codes"):
        load_codes(tmp_path / "none.pt", CPU)
    (tmp_path / "words.pt").write_text("words")
    torch.save({"version": 2}, tmp_path / "later.pt")
    torch.save({"version": 1, "bits": 8}, tmp_path / "short.pt")
    for name, said in (("words.pt", "damaged"), ("later.pt", "version 2"), ("short.pt", "damaged")):
        with pytest.raises(UserError, match=said):
            load_codes(tmp_path / name, CPU)


@pytest.mark.parametrize(("bits", "epochs", "said"), [(12, 1, "multiple of 8"), (0, 1, "0 bits"), (8, 0, "0 epochs")])
def test_numbers_without_meaning_are_refused(bits: int, epochs: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        train_codes(np.zeros((4, 3), np.float32), bits=bits, epochs=epochs, seed=0, device=CPU)


def test_equal_features_are_refused() -> None:
    with pytest.raises(UserError, match="the same"):
        train_codes(np.ones((4, 3), np.float32), bits=8, epochs=1, seed=0, device=CPU)
