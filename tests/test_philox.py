"""Counter-based random numbers against published answers, and against the definition in Python's integers."""

import numpy as np
import pytest

from alexnet import philox

LOW = 0xFFFFFFFF
KNOWN_ANSWERS = [
    # Random123's tests/kat_vectors, philox4x32 10: counter, key, words
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((LOW, LOW, LOW, LOW), (LOW, LOW), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
SEED, STEP, PLACE = 0x0123456789ABCDEF, 450_000, 1000


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_at_published_counters_gives_the_known_answers(
    monkeypatch: pytest.MonkeyPatch, counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    monkeypatch.setattr(philox, "stream_number", lambda _: counter[3])
    drawn = philox.words(key[0] | key[1] << 32, "any", step=counter[2], place=counter[1], block=counter[0])
    assert drawn.tolist() == [list(expected)]


def test_words_of_a_named_stream_are_those_written_down() -> None:
    assert philox.stream_number("dropout:fc6") == 0x2E593ACD
    drawn = philox.words(SEED, "dropout:fc6", step=STEP, place=PLACE, block=np.arange(16))
    assert drawn[0].tolist() == [0xCCAD4943, 0xE5B72876, 0x436A7227, 0x1FF82D81]
    kept = "".join(str(int(word)) for word in drawn.reshape(-1) < philox.threshold(0.5))
    assert kept == "0011000001101101000001101101110010110111001101111100111101000011"


def test_normals_of_a_named_stream_are_those_written_down() -> None:
    (drawn,) = philox.normals(SEED, "color", step=STEP, place=PLACE)
    np.testing.assert_allclose(drawn[:3], [0.133845136, 1.03866184, -0.628395736], rtol=2e-7)


def test_normals_of_many_places_have_the_moments_of_a_normal_distribution() -> None:
    drawn = philox.normals(7, "color", step=3, place=np.arange(100_000)).astype(np.float64)
    for column in drawn.T:
        # five standard errors of the mean, the variance, the skewness and the kurtosis
        assert abs(column.mean()) < 5 / len(column) ** 0.5
        assert abs(column.var() - 1) < 5 * (2 / len(column)) ** 0.5
        assert abs((column**3).mean()) < 5 * (15 / len(column)) ** 0.5
        assert abs((column**4).mean() - 3) < 5 * (96 / len(column)) ** 0.5
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 5 / len(drawn) ** 0.5


def test_draws_do_not_depend_on_how_they_are_divided() -> None:
    whole = philox.normals(5, "init:fc6.weight", step=0, block=np.arange(40_000))
    parts = [philox.normals(5, "init:fc6.weight", step=0, block=np.arange(first, first + 8000)) for first in
             range(0, 40_000, 8000)]  # fmt: skip
    assert np.array_equal(np.concatenate(parts), whole)


def test_another_seed_stream_step_or_place_gives_other_words() -> None:
    usual = {"seed": 1, "stream": "crop", "step": 0, "place": 0}
    changed = [{"seed": 1 + 2**32}, {"stream": "flip"}, {"step": 1}, {"place": 1}]
    drawn = {tuple(philox.words(**usual | change)[0]) for change in [{}, *changed]}  # type: ignore[arg-type]
    assert len(drawn) == 5


def test_threshold_of_certainty_is_above_every_word() -> None:
    assert philox.threshold(1.0) == 2**32 and philox.threshold(0.5) == 2**31 and philox.threshold(0.0) == 0
