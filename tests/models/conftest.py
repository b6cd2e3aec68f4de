"""A portable file of a few bytes: its path, and the file itself."""

import pytest

from bilinear.models import checkpoint

from .test_checkpoint import describe, tiny


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    checkpoint.write(path, describe(), tiny())
    return path
