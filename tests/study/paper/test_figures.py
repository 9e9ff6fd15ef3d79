"""Figures 3 and 4: what is drawn is what was measured."""

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from alexnet.runs.arrays import FirstLayer
from alexnet.study.charts import LIGHT
from alexnet.study.paper.figures import PredictedImage, draw_kernels, draw_neighbors, draw_predictions

SVG = "{http://www.w3.org/2000/svg}"


def embedded(drawn: str) -> list[NDArray[np.uint8]]:
    """The images in an SVG document, decoded."""
    found = ET.fromstring(drawn.encode()).iter(f"{SVG}image")
    files = [base64.b64decode(image.attrib["href"].partition(",")[2]) for image in found]
    return [np.asarray(Image.open(io.BytesIO(file))) for file in files]


def texts(drawn: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(drawn.encode()).iter(f"{SVG}text")]


def test_kernels_share_one_scale_and_stand_sixteen_in_a_row() -> None:
    kernels = np.random.default_rng(0).normal(0, 0.1, (40, 3, 5, 5)).astype(np.float32)
    kernels[20:] *= 0.25
    drawn = draw_kernels(FirstLayer(kernels=kernels, columns=2), "A net")
    sheets = embedded(drawn)
    assert [sheet.shape for sheet in sheets] == [(11, 95, 4)] * 2  # 20 kernels: a row of 16 and one of 4
    low, high = kernels.min(), kernels.max()
    for number, kernel in enumerate(kernels):
        sheet, place = sheets[number // 20], number % 20
        top, left = 6 * (place // 16), 6 * (place % 16)
        seen = sheet[top : top + 5, left : left + 5, :3].transpose(2, 0, 1)
        np.testing.assert_allclose(seen, 255 * (kernel - low) / (high - low), atol=0.51)
    assert not sheets[0][5, :, 3].any() and not sheets[0][6:, 24:, 3].any()  # gaps, and no kernel
    assert any("permutation p" in text for text in texts(drawn))


def test_one_column_is_not_compared_and_equal_weights_are_drawn() -> None:
    drawn = draw_kernels(FirstLayer(kernels=np.zeros((3, 3, 2, 2), np.float32), columns=1), "A net")
    assert len(embedded(drawn)) == 1 and not any("permutation" in text for text in texts(drawn))
    assert "One column: 3 kernels, all kernels are zero" in texts(drawn)


def test_bars_are_as_long_as_probable_and_the_true_one_has_its_color() -> None:
    pixels = np.full((300, 300, 3), 200, np.uint8)
    predicted = [("cat, tabby", 0.5), ("<dog> & wolf", 0.25), ("a name that is by far too long", 0.125)]
    drawn = draw_predictions([PredictedImage(image=pixels, top_predictions=predicted, truth="<dog> & wolf")], "A net")
    bars = []
    for path in ET.fromstring(drawn.encode()).iter(f"{SVG}path"):
        style = path.attrib.get("style", "")
        if color := re.search("fill: (#[0-9a-f]{6}); opacity: 0.45", style):
            xs = [float(x) for x in re.findall(r"[ML] (\S+)", path.attrib["d"])]
            bars.append((max(xs) - min(xs), color[1]))
    assert bars == [
        (pytest.approx(168 * share), LIGHT[color]) for share, color in ((0.5, "ours"), (0.25, "claim"), (0.125, "ours"))
    ]
    assert texts(drawn)[1:4] == ["<dog> & wolf", "cat", "50 %"]
    assert any("\N{HORIZONTAL ELLIPSIS}" in text for text in texts(drawn))
    (image,) = embedded(drawn)
    assert image.shape == (192, 192, 3) and abs(int(image.mean()) - 200) <= 1
    assert "data:image/jpeg" in drawn


def test_neighbors_are_drawn_after_their_query() -> None:
    shades = [np.full((8, 8, 3), 40 * number, np.uint8) for number in range(6)]
    rows = [[(shades[3 * row + place], name) for place, name in enumerate((f"q{row}", "n1", "n2"))] for row in (0, 1)]
    drawn = draw_neighbors(rows, "A net")
    assert texts(drawn) == ["A net", "q0", "n1", "n2", "q1", "n1", "n2"]
    assert [round(image.mean() / 40) for image in embedded(drawn)] == list(range(6))
    shifts = [image.attrib["transform"] for image in ET.fromstring(drawn.encode()).iter(f"{SVG}image")]
    assert len(set(shifts)) == 6
