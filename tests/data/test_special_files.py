"""Special files are refused at once: reading a FIFO would wait for a writer forever."""

import os
import socket
import stat
from pathlib import Path

import pytest

from bilinear._files import open_regular
from bilinear.data import Pipeline, open_dataset
from bilinear.data.annotations import Annotations
from bilinear.data.images import Preprocessing, read_image

from .. import datasets

if not hasattr(os, "mkfifo"):
    pytest.skip("the system has no FIFOs", allow_module_level=True)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo.jpg")
    return tmp_path / "fifo.jpg"


@pytest.mark.parametrize("read", [open_regular, read_image])
def test_only_regular_files_are_opened(fifo: Path, read) -> None:
    link = fifo.with_name("link.jpg")
    link.symlink_to(fifo)
    for path, words in ((fifo, "a FIFO"), (link, "a FIFO"), (Path(os.devnull), "a character dev")):
        with pytest.raises(OSError, match=f"{path}: .* must name a regular file; got {words}"):
            read(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(fifo.with_name("socket")))
        with pytest.raises(OSError, match="socket"):
            read(fifo.with_name("socket"))


def test_the_open_descriptor_is_checked(fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of the path alone would miss a file that is exchanged before it is opened."""
    regular = os.stat(__file__)
    assert stat.S_ISREG(regular.st_mode)
    monkeypatch.setattr(os, "stat", lambda *_, **__: regular)
    monkeypatch.setattr(os, "lstat", lambda *_, **__: regular)
    with pytest.raises(OSError, match="got a FIFO"):
        open_regular(fifo)


def test_regular_files_and_links_to_them_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for path in (tmp_path / "file", str(tmp_path / "link")):
        with open_regular(path) as file:
            assert (file.read(), file.name) == (b"content", str(path))
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_regular(tmp_path / "nowhere")


def test_special_files_in_data_sets_are_refused(fifo: Path) -> None:
    root = datasets.photographs(fifo.parent / "photos", wren=1, finch=1)
    fifo.rename(root / "finch" / "1.jpg")
    with (
        Pipeline(open_dataset(root), batch_size=3, preprocessing=Preprocessing(8)) as pipeline,
        pytest.raises(OSError, match=r"1\.jpg: .* regular file; got a FIFO"),
    ):
        next(pipeline.epoch(0))
    cub = datasets.cub(fifo.parent / "cub")
    (cub / "images.txt").unlink()
    os.mkfifo(cub / "images.txt")
    with pytest.raises(ValueError, match=r"got a folder without images\.txt"):
        open_dataset(cub)
    with pytest.raises(OSError, match=r"images\.txt: .* regular file; got a FIFO"):
        next(Annotations("CUB", cub).rows("images.txt", 2))
