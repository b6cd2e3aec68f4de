"""The calculated bytes of a training step, and the page that has them."""

import re
from pathlib import Path

from benchmarks import traffic

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_the_page_has_the_tables() -> None:
    found = re.search("<!-- measured: traffic -->(.*)<!-- end: traffic -->", PAGE.read_text(), re.S)
    assert found
    assert found[1].split("\n") == ["", "", *traffic.lines(traffic.PROCESSES), "", ""]


def test_an_all_reduce_sends_each_tensor_twice_without_the_own_part() -> None:
    assert traffic.parameters("vgg16") == 14_714_688  # torchvision's vgg16().features
    assert traffic.ring(4, 2, 2**20) == 2 * 3 / 4 * 4
    assert traffic.ring(1, 2, 2**20) == 0
    cost, projected = traffic.head("vgg16", traffic.FULL)
    assert (cost.parameters, projected) == (200 * (512**2 + 1), False)
    cost, projected = traffic.head("resnet50", traffic.FULL)
    assert (cost.parameters, projected) == (2048 * 256 + 200 * (256**2 + 1), True)
