"""Bounds of the memory that images and batches take."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bilinear.data import Item, Pipeline, decode, image_reader
from bilinear.data.decode import Decoder
from bilinear.data.images import Preprocessing, load_images

from .. import datasets


@pytest.mark.parametrize(
    ("limit", "share", "together"),
    [(1, 8, 1), (2, 8, 2), (8, 8, 4), (8, 1, 4), (8, 0.9, 1)],
)
def test_a_bounded_number_of_pixels_is_decoded_at_once(
    tmp_path, monkeypatch, limit, share, together
):
    """In images: by all threads, or by one thread or worker process a single larger image."""
    datasets.jpeg(tmp_path / "a.jpg", 0, 48, 36)
    monkeypatch.setattr(decode, "MAX_PIXELS", limit * 48 * 36)
    monkeypatch.setattr(decode, "_share", share * 48 * 36)
    monkeypatch.setattr(decode, "_large", threading.Lock())
    active, most, lock, inner = 0, 0, threading.Lock(), image_reader._decode

    def counted(*arguments):
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        time.sleep(0.02)
        result = inner(*arguments)
        with lock:
            active -= 1
        return result

    monkeypatch.setattr(image_reader, "_decode", counted)
    decoder = Decoder(tmp_path, Preprocessing(8), None, seed=0)
    with ThreadPoolExecutor(4) as pool:
        views = list(pool.map(lambda k: decoder(Item("a.jpg", 0, "train"), 0, k), range(12)))
    assert (len(views), most) == (12, together)
    assert decode._reserved == 0


def test_an_image_that_cannot_be_read_reserves_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    decoder = Decoder(tmp_path, Preprocessing(8), None, seed=0)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"a\.png must be a complete"):
            decoder(Item("a.png", 0, "train"), 0, 0)
    assert decode._reserved == 0


def test_batches_and_sizes_are_bounded_before_any_image_is_read(tmp_path):
    words = r"a batch must have at most 2 GiB; got 100 images of 2000 × 1000 pixels with 2\.2 GiB"
    size = Preprocessing((2000, 1000))
    with pytest.raises(ValueError, match=f"load_images: {words}"):
        load_images(["nowhere.jpg"] * 100, size)
    index = datasets.two_class_index(tmp_path, 1)
    with pytest.raises(ValueError, match=f"Pipeline: {words}"):
        Pipeline(index, batch_size=100, preprocessing=size)
    for fields in {"size": 10**9}, {"size": 8, "resize": 9460}, {"size": (10**6, 90)}:
        with pytest.raises(ValueError, match="must have at most 89,478,485 pixels"):
            Preprocessing(**fields)


def test_workers_have_the_limit_of_the_program(tmp_path, monkeypatch):
    """The variable of a module is not part of the state that a worker receives."""
    index = datasets.two_class_index(tmp_path, 1)
    monkeypatch.setattr(image_reader, "_max_pixels", 10)
    options = {"batch_size": 1, "preprocessing": Preprocessing(8), "workers": 1}
    with (
        Pipeline(index, **options) as pipeline,
        pytest.raises(ValueError, match=r"0\.jpg must have between 1 and 10 pixels"),
    ):
        next(pipeline.epoch(0))
