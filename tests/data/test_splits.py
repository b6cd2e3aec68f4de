"""The index of a data set and its splits."""

from dataclasses import replace

import pytest

from bilinear.data import Index, Item, validation_split

from .test_data import open_sample

# --- the index ---


def test_an_image_is_in_one_split_only(tmp_path):
    items = (Item("a.jpg", 0, "train"), Item("a.jpg", 0, "test"))
    with pytest.raises(ValueError, match=r"one split only; got a\.jpg in train and in test"):
        Index(tmp_path, ("bird",), items, "mine")
    with pytest.raises(ValueError, match=r"from 0 to 0; got 1 for a\.jpg"):
        Index(tmp_path, ("bird",), (Item("a.jpg", 1, "train"),), "mine")
    with pytest.raises(ValueError, match="train, validation, test; got 'val'"):
        Index(tmp_path, ("bird",), (), "mine").split("val")  # type: ignore[arg-type]
    items = (Item("a.jpg", 0, "train"), Item("a.jpg", 1, "train"))
    with pytest.raises(ValueError, match=r"one class only; got a\.jpg in bird and in cat"):
        Index(tmp_path, ("bird", "cat"), items, "mine")


@pytest.mark.parametrize("path", ["./a.jpg", "a//b.jpg", "../a.jpg", "b/../a.jpg", "/a.jpg", "a\0"])
def test_a_path_has_one_spelling_inside_the_data_set(tmp_path, path):
    """Otherwise one image could be in two splits."""
    with pytest.raises(ValueError, match=r"mine: paths must be relative to the root, without \. a"):
        Index(tmp_path, ("bird",), (Item(path, 0, "train"),), "mine")


@pytest.mark.parametrize(
    ("classes", "words"),
    [(("a", "b", "a"), "'a' twice"), (("a", " "), "an empty name"), (("\udcff",), "not Unicode")],
)
def test_each_class_has_its_own_name(tmp_path, classes, words):
    with pytest.raises(ValueError, match=f"mine: each class must have its own name; got .*{words}"):
        Index(tmp_path, classes, (), "mine")


def test_the_checksum_depends_on_the_list_only(tmp_path):
    index = open_sample(tmp_path / "here", "cub")
    there = open_sample(tmp_path / "there", "cub")
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


# --- the validation split ---


def plain(tmp_path, *counts):
    items = [Item(f"{c}/{k}.jpg", c, "train") for c, n in enumerate(counts) for k in range(n)]
    items.append(Item("test.jpg", 0, "test"))
    return Index(tmp_path, tuple(map(str, range(len(counts)))), tuple(items), "mine")


def test_validation_is_a_fraction_of_each_class(tmp_path):
    counts = {30: 3, 10: 1, 3: 1, 2: 1, 1: 0, 0: 0, 15: 2}  # ⌊n/10 + ½⌋, within the limits
    index = plain(tmp_path, *counts)
    cut = validation_split(index, 0.1, seed=4)
    taken = [item.label for item in cut.split("validation")]
    assert [taken.count(label) for label in range(len(counts))] == list(counts.values())
    left = [item.label for item in cut.split("train")]
    assert [left.count(k) for k in range(len(counts))] == [n - v for n, v in counts.items()]
    assert cut.split("test") == index.split("test")
    assert [item[:2] for item in cut.items] == [item[:2] for item in index.items]
    assert len(validation_split(plain(tmp_path, 4), 0.99).split("train")) == 1


def test_validation_depends_on_index_fraction_and_seed_only(tmp_path):
    index = plain(tmp_path, 20, 20)
    first = validation_split(index, 0.3, seed=1)
    assert first == validation_split(index, 0.3, seed=1)
    assert first.checksum() != validation_split(index, 0.3, seed=2).checksum()
    one, other = ([i.path[2:] for i in first.split("validation") if i.label == c] for c in (0, 1))
    assert one != other  # each class has its own generator


def test_an_official_validation_split_is_not_changed(tmp_path):
    index = open_sample(tmp_path, "aircraft")
    assert validation_split(index, 0.5) is index


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_an_invalid_fraction_is_refused(tmp_path, fraction):
    with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
        validation_split(plain(tmp_path, 3), fraction)
    with pytest.raises(ValueError, match="seed must be a non-negative integer"):
        validation_split(plain(tmp_path, 3), seed=-1)
