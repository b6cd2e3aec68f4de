"""The list of a data set, and the parts of it, which stay apart."""

from dataclasses import replace

import pytest

from bilinear.data import Index, Item, validation_split

from .test_data import opened

# --- the index ---


def test_an_image_is_in_one_part_only(tmp_path):
    items = (Item("a.jpg", 0, "train"), Item("a.jpg", 0, "test"))
    with pytest.raises(ValueError, match=r"one part only; got a\.jpg in train and in test"):
        Index(tmp_path, ("bird",), items, "mine")
    with pytest.raises(ValueError, match=r"from 0 to 0, .*; got 1 for a\.jpg"):
        Index(tmp_path, ("bird",), (Item("a.jpg", 1, "train"),), "mine")
    with pytest.raises(ValueError, match="train, validation, test; got 'val'"):
        Index(tmp_path, ("bird",), (), "mine").part("val")  # type: ignore[arg-type]


def test_the_checksum_is_of_the_list_alone(tmp_path):
    index = opened(tmp_path / "here", "cub")
    there = opened(tmp_path / "there", "cub")
    assert index.root != there.root
    assert index.checksum() == there.checksum()
    last = index.items[-1]
    for changed in (
        replace(index, items=(*index.items[:-1], last._replace(label=0))),
        replace(index, items=(*index.items[:-1], last._replace(split="validation"))),
        replace(index, items=(*index.items[:-1], last._replace(box=(0, 0, 9, 9)))),
        replace(index, items=index.items[::-1]),
        replace(index, classes=index.classes[::-1]),
    ):
        assert changed.checksum() != index.checksum()


# --- the validation part ---


def plain(tmp_path, *counts):
    items = [Item(f"{c}/{k}.jpg", c, "train") for c, n in enumerate(counts) for k in range(n)]
    items.append(Item("test.jpg", 0, "test"))
    return Index(tmp_path, tuple(map(str, range(len(counts)))), tuple(items), "mine")


def test_validation_is_a_share_of_every_class(tmp_path):
    counts = {30: 3, 10: 1, 3: 1, 2: 1, 1: 0, 0: 0, 15: 2}  # ⌊n/10 + ½⌋, within the limits
    index = plain(tmp_path, *counts)
    cut = validation_split(index, 0.1, seed=4)
    taken = [item.label for item in cut.part("validation")]
    assert [taken.count(label) for label in range(len(counts))] == list(counts.values())
    left = [item.label for item in cut.part("train")]
    assert [left.count(k) for k in range(len(counts))] == [n - v for n, v in counts.items()]
    assert cut.part("test") == index.part("test")
    assert [item[:2] for item in cut.items] == [item[:2] for item in index.items]
    assert len(validation_split(plain(tmp_path, 4), 0.99).part("train")) == 1


def test_validation_depends_on_index_fraction_and_seed_alone(tmp_path):
    index = plain(tmp_path, 20, 20)
    first = validation_split(index, 0.3, seed=1)
    assert first == validation_split(index, 0.3, seed=1)
    assert first.checksum() != validation_split(index, 0.3, seed=2).checksum()
    one, other = ([i.path[2:] for i in first.part("validation") if i.label == c] for c in (0, 1))
    assert one != other  # classes are drawn apart


def test_an_official_validation_part_is_kept(tmp_path):
    index = opened(tmp_path, "aircraft")
    assert validation_split(index, 0.5) is index


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_a_fraction_that_cannot_be_is_refused(tmp_path, fraction):
    with pytest.raises(ValueError, match="fraction must lie between 0 and 1"):
        validation_split(plain(tmp_path, 3), fraction)
    with pytest.raises(ValueError, match="seed must be a whole number"):
        validation_split(plain(tmp_path, 3), seed=-1)
