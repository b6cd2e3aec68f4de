"""``python -m benchmarks.deployment``: each format of each layer and model, and its document."""

from pathlib import Path

import pytest

from ..subjects import PRESENT

pytest.importorskip("benchmarks")

from benchmarks import deployment

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
EIGENVECTORS = "CovariancePool, eigenvectors"
WITHOUT_EIGENVECTORS = [
    form for form in deployment.FORMATS if form.startswith("ONNX") or form == "LiteRT"
]
UNSUPPORTED = {(EIGENVECTORS, form) for form in WITHOUT_EIGENVECTORS}
UNSUPPORTED |= {(label, "ONNX of Keras on JAX") for label in ("BCNN, vgg16", "BCNN, resnet18")}
FORMATS = [
    pytest.param(
        form,
        marks=pytest.mark.skipif(
            bool(absent := deployment.missing(form)) or needs.framework not in PRESENT,
            reason=f"needs {', '.join(absent or [needs.framework])}",
        ),
    )
    for form, needs in deployment.FORMATS.items()
]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # of the exporters
@pytest.mark.parametrize("label", deployment.CASES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_format_gives_the_outputs(form: str, label: str) -> None:
    """Within the bound, for any batch size at least; and what is unsupported is known."""
    found = deployment.measure(form, label, seconds=0.0)
    assert ("error" in found) == ((label, form) in UNSUPPORTED), found
    if "error" not in found:
        assert found["dynamic"] != "none"


def test_the_page_has_a_table_of_every_format(tmp_path: Path) -> None:
    """Written in place of the old one; a format that was not measured is named."""
    row = {"ratio": 0.25, "dynamic": "batch", "size": 1234, "format": 2e-6, "own": 1e-6}
    first, *others = deployment.FORMATS
    found = {first: {"AveragePool": row, "BilinearPool": {"error": "refused"}}}
    lines = deployment.tables(found)
    assert f"### {first}" in lines
    assert "| AveragePool | yes | 0.25 | batch | 1,234 | 2 | 1 |" in lines
    assert "- BilinearPool: `refused`" in lines
    assert lines[-1] == f"Not measured: {', '.join(others)}."
    if PAGE.is_file():
        copy = tmp_path / "page.md"
        copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
        deployment.write(copy, "deployment", lines)
        assert "| AveragePool | yes | 0.25 |" in copy.read_text(encoding="utf-8")
