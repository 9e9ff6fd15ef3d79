"""Binary codes: and Hamming distances against Python's own integers, and what training is for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet.errors import UserError
from alexnet.trained.short_codes import Codes, load_codes, nearest_codes, train_codes

CPU = torch.device("cpu")


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), size=st.integers(1, 20), k=st.integers(1, 12), seed=st.integers(0, 10**6))
def test_nearest_codes_are_those_that_python_counts(n: int, size: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (n + 1, size), np.uint8)
    codes[rng.integers(0, n + 1, 5)] = codes[0]  # ties
    numbers = [int.from_bytes(code.tobytes()) for code in codes]
    far = sorted(((numbers[0] ^ number).bit_count(), index) for index, number in enumerate(numbers[1:]))
    k = min(k, n)
    indices, distances = nearest_codes(codes[:1], codes[1:], k=k)
    assert list(zip(distances[0].tolist(), indices[0].tolist(), strict=True)) == far[:k]


def clusters(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight clusters in 40 dimensions, each row with its cluster."""
    centres = np.random.default_rng(1).normal(size=(8, 40)) * 3 + 20
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 8, rows)
    return (centres[labels] + rng.normal(size=(rows, 40))).astype(np.float32), labels


def test_images_that_are_alike_have_codes_that_are_alike(tmp_path: Path) -> None:
    rows, labels = clusters(800, 2)
    queries, wanted = clusters(50, 3)
    net = train_codes(rows, bits=16, epochs=60, seed=0, device=CPU)
    database = net.encode(rows)
    found = nearest_codes(net.encode(queries), database, k=10)[0]
    assert (labels[found] == wanted[:, None]).mean() > 0.95  # chance is an eighth
    again = train_codes(rows, bits=16, epochs=60, seed=0, device=CPU)
    np.testing.assert_array_equal(again.encode(rows), database)

    # The reconstruction from bits beats the mean, whose error is 1, by what the clusters explain: 9 of 10 parts.
    assert float(net(torch.from_numpy(rows))) < 0.2

    saved = Codes(net=net, layer="fc7", database=database, weights="w", fingerprint="f")
    saved.save(tmp_path / "codes.pt")
    loaded = load_codes(tmp_path / "codes.pt", CPU)
    np.testing.assert_array_equal(loaded.database, database)
    np.testing.assert_array_equal(loaded.net.encode(queries), net.encode(queries))
    assert (loaded.bits, loaded.layer, loaded.weights, loaded.fingerprint) == (16, "fc7", "w", "f")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such codes"):
        load_codes(tmp_path / "none.pt", CPU)
    net = train_codes(clusters(20, 2)[0], bits=8, epochs=1, seed=0, device=CPU)
    wide = Codes(net=net, layer="fc7", database=np.zeros((20, 2), np.uint8), weights="w", fingerprint="f")
    wide.save(tmp_path / "wide.pt")
    other = torch.load(tmp_path / "wide.pt")
    torch.save(other | {"bits": 8}, tmp_path / "wide.pt")
    (tmp_path / "words.pt").write_text("words")
    torch.save({"version": 3}, tmp_path / "later.pt")
    torch.save({"version": 2, "bits": 8}, tmp_path / "short.pt")
    for name in ("words", "wide", "later", "short"):
        with pytest.raises(UserError, match="version 3" if name == "later" else "damaged"):
            load_codes(tmp_path / f"{name}.pt", CPU)


def test_equal_features_are_refused() -> None:
    with pytest.raises(UserError, match="are equal"):
        train_codes(np.ones((4, 3), np.float32), bits=8, epochs=1, seed=0, device=CPU)
