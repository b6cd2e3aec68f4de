"""Invalid layouts of checkpoints are refused by the constructor."""

import re

import pytest

from bilinear.models.layouts import Layout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backbones": ("vgg16", ("vgg16", "vgg16"))}, "at most the 1 of streams; got ('vgg16', "),
        ({"order": "rows"}, "order must be 'row-major' or 'column-major'; got 'rows'"),
        ({"pooling": "nobody"}, "name must be one of default, paper"),
        ({"pooling": "fast-mpn-cbp"}, "must be a preset without tensors of its own; got 'fast-mpn"),
        ({"pooling": "lrbp"}, "must be a preset without tensors of its own; got 'lrbp'"),
        (
            {"streams": ("a.", "b."), "pooling": "isqrt-cov", "backbones": (("vgg16", "vgg16"),)},
            "CovariancePool takes one map; got 2",
        ),
    ],
)
def test_invalid_layouts_are_refused(options, words) -> None:
    given = {"streams": ("features.",), "classifier": "fc.", "pooling": "umass"}
    with pytest.raises(ValueError, match=re.escape(words)):
        Layout(**given | options)
