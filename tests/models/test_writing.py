"""The portable file is written atomically."""

import os
import stat
import sys

import numpy as np
import pytest

from bilinear.models import checkpoint
from bilinear.models.checkpoint import Custom

from ..training import full_disk
from .test_checkpoint import assert_same, describe, layout, tiny


def test_a_link_stays_and_its_target_is_replaced(tmp_path, path):
    (tmp_path / "store").mkdir()
    target = tmp_path / "store" / "v1"
    path.symlink_to(target)
    for _ in range(2):  # the link dangles the first time
        checkpoint.write(path, describe(), tiny())
        assert path.is_symlink()
        assert target.is_file()
        assert os.listdir(tmp_path / "store") == ["v1"]
    assert_same(checkpoint.read(path, layout(tiny())).tensors, tiny())


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_are_the_usual_ones_or_those_before(path):
    old = os.umask(0o027)
    try:
        checkpoint.write(path, describe(), tiny())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    checkpoint.write(path, describe(), tiny())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unwritable_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.model\.safetensors"):
        checkpoint.write(tmp_path / "nowhere" / "model.safetensors", describe(), tiny())
    with pytest.raises(IsADirectoryError):
        checkpoint.write(tmp_path, describe(), tiny())
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if not os.access(folder, os.W_OK):  # root may write everywhere
        with pytest.raises(PermissionError, match=r"locked.m\.safetensors"):
            checkpoint.write(folder / "m.safetensors", describe(), tiny())
    folder.chmod(0o700)


def test_a_failing_rename_leaves_the_old_file_and_no_other(saved, monkeypatch):
    before = saved.read_bytes()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.write(saved, describe(classes=None), tiny())
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands in for a disk")
def test_a_full_disk_leaves_the_old_file_and_no_other(saved):
    before, size = saved.read_bytes(), 1_000_000
    fields = {"backbone": Custom("n", "jax", 1000), "num_classes": 1, "descriptor_size": size}
    tensors = {"classifier.weight": np.ones((1, size), "f"), "classifier.bias": np.ones(1, "f")}
    with full_disk(size // 2), pytest.raises(OSError, match=f"save {saved}"):
        checkpoint.write(saved, describe(classes=None, **fields), tensors)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]
