"""The arithmetic of benchmarks/scale.py against numbers worked out by hand."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


def test_what_a_set_needs() -> None:
    import scale

    rates = scale.Rates(
        pack_bytes=20_000, prepared=500, decoded=4_000, augmented=30_000, trained=10_000, gpu_dollars=2.5, epochs=90
    )
    found = scale.needs(1_800_000, 1_000, rates)
    assert found.jpeg_terabytes == pytest.approx(0.036) and found.raw_terabytes == pytest.approx(0.3538944)
    assert found.shards == 34  # 36e9 / 1,073,741,824 = 33.5
    assert found.preparing_core_hours == pytest.approx(1.0)
    assert found.gpu_hours == pytest.approx(4.5) and found.dollars == pytest.approx(11.25)
    assert found.gpus_for_a_week == 1
    assert found.decoding_cores_per_gpu == pytest.approx(2.5)
    assert found.read_megabytes_per_gpu_second == pytest.approx(200.0)
    assert found.classifier_million_parameters == pytest.approx(4.097)  # 4096 * 1000 + 1000
    assert found.classifier_share == pytest.approx(4.096 / 724.4)
    assert found.plan_gigabytes == pytest.approx(1.8e6 * 37 / 1e9)  # order 8, offsets 16, flip 1, colours 12
    assert found.index_gigabytes == pytest.approx(0.0432) and found.preparing_gigabytes == pytest.approx(0.45)


def test_rates_are_read_from_the_results() -> None:
    import scale

    rates = scale.measured_rates(1.0, 2.0, 3)
    assert 15_000 < rates.pack_bytes < 30_000 and rates.prepared > 100 and rates.augmented > rates.decoded > 1_000


def test_drawing_is_timed_by_powers_of_ten() -> None:
    import scale

    assert [row["images"] for row in scale.drawing(10**6)] == [10**6]
