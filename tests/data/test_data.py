"""Data sets in their published layouts, complete and incomplete."""

import sys
from importlib.util import find_spec

import pytest

from bilinear.data import Item, open_dataset, read_aircraft
from bilinear.data.cars import META, TEST
from bilinear.data.index import Counts

from .. import datasets

needs_scipy = pytest.mark.skipif(
    find_spec("scipy") is None, reason="SciPy is needed to read MATLAB files"
)
KINDS = ["cub", "aircraft", pytest.param("cars", marks=needs_scipy)]


def open_sample(root, kind, **options):
    return open_dataset(getattr(datasets, kind)(root), check_counts=False, **options)


def refused(words, root, **options):
    with pytest.raises(ValueError, match=words) as caught:
        open_dataset(root, **options)
    return str(caught.value)


# --- the published layouts ---


def test_cub(tmp_path):
    index = open_sample(tmp_path, "cub")
    assert index.classes == ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    first = "images/001.Black_footed_Albatross/Black_footed_Albatross_1.jpg"
    assert index.items[0] == Item(first, 0, "train")
    pairs = [(label, split) for label in (0, 1) for split in ("train", "test")]
    assert [(item.label, item.split) for item in index.items] == pairs
    boxed = open_dataset(tmp_path, "cub", check_counts=False, boxes=True)
    assert boxed.items[0].box == (5, 10, 25, 41)  # 10.5 + 30 rows, extended to whole pixels


@pytest.mark.parametrize("inner", ["", "data"])
def test_aircraft(tmp_path, inner):
    datasets.aircraft(tmp_path)
    index = open_dataset(tmp_path / inner, check_counts=False, boxes=True)
    assert index.classes == ("A300B4", "F/A-18 Hornet")
    assert index.items[1] == Item("images/0000001.jpg", 1, "train", (10, 5, 50, 35), 20)
    splits = ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    assert [item.split for item in index.items] == splits
    families = open_dataset(tmp_path / inner, check_counts=False, level="family")
    assert families.classes == ("A300", "F/A-18")
    with pytest.raises(ValueError, match="level must be one of variant, family, manufacturer"):
        read_aircraft(tmp_path, level="model")  # type: ignore[arg-type]


@needs_scipy
@pytest.mark.parametrize("combined", [False, True])
def test_cars(tmp_path, combined):
    index = open_dataset(datasets.cars(tmp_path, combined=combined), check_counts=False)
    assert index.classes == ("AM General Hummer SUV 2000", "Acura RL Sedan 2012")
    folders = ["car_ims/00000"] * 3 if combined else ["cars_train/0000"] * 2 + ["cars_test/0000"]
    numbers = (1, 2, 3) if combined else (1, 2, 1)
    paths = [f"{folder}{n}.jpg" for folder, n in zip(folders, numbers, strict=True)]
    labels = (0, "train"), (1, "train"), (1, "test")
    assert index.items == tuple(Item(path, *of) for path, of in zip(paths, labels, strict=True))
    boxes = open_dataset(tmp_path, "cars", check_counts=False, boxes=True)
    assert {item.box for item in boxes.items} == {(10, 5, 50, 35)}


@needs_scipy
def test_labels_of_cars_may_be_in_the_devkit(tmp_path):
    datasets.cars(tmp_path)
    labels = "cars_test_annos_withlabels.mat"
    (tmp_path / labels).rename(tmp_path / "devkit" / labels)
    assert len(open_dataset(tmp_path, check_counts=False).split("test")) == 1


def test_a_folder_of_class_folders(tmp_path):
    datasets.photographs(tmp_path, wren=2, finch=1)
    datasets.jpeg(tmp_path / "wren" / "more" / "3.JPG")
    (tmp_path / "wren" / ".hidden.jpg").write_bytes(b"")
    datasets.jpeg(tmp_path / "wren" / ".ipynb_checkpoints" / "0-checkpoint.jpg")
    (tmp_path / "wren" / "notes.txt").write_text("seen on Sunday")
    (tmp_path / "readme.txt").write_text("birds")
    index = open_dataset(tmp_path)
    assert index.classes == ("finch", "wren")
    assert index.items == (
        Item("finch/0.jpg", 0, "train"),
        Item("wren/0.jpg", 1, "train"),
        Item("wren/1.jpg", 1, "train"),
        Item("wren/more/3.JPG", 1, "train"),
    )


def test_a_folder_with_splits(tmp_path):
    for part, counts in {"train": (2, 1), "val": (1, 0), "test": (0, 3)}.items():
        datasets.photographs(tmp_path / part, wren=counts[0], finch=counts[1])
    index = open_dataset(tmp_path)
    assert index.classes == ("finch", "wren")
    assert [len(index.split(split)) for split in ("train", "validation", "test")] == [3, 1, 3]
    assert index.split("validation") == (Item("val/wren/0.jpg", 1, "validation"),)


def test_folders_beside_splits_are_not_classes(tmp_path):
    """Otherwise the test images would be used for training."""
    for part in ("train", "val", "test"):
        datasets.photographs(tmp_path / part, wren=1, finch=1)
    alone = open_dataset(tmp_path)
    for path in ("run/curves.png", "run/phases/1.png", "test2/1.jpg", "notes/wren.jpg"):
        datasets.jpeg(tmp_path / path)
    assert open_dataset(tmp_path) == alone
    assert [len(alone.split(split)) for split in ("train", "validation", "test")] == [2, 2, 2]
    datasets.jpeg(tmp_path / "dev" / "wren" / "more" / "1.jpg")
    refused(r"must be named train, val, valid, validation, test; got dev\. Rename", tmp_path)


def test_splits_without_class_folders_are_refused(tmp_path):
    datasets.photographs(tmp_path, train=1, test=1, plane=1)
    refused("train must have class folders with training images; got no subfolder", tmp_path)


def test_train_may_be_a_class(tmp_path):
    index = open_dataset(datasets.photographs(tmp_path, train=1, plane=1))
    assert index.classes == ("plane", "train")


# --- incomplete data sets ---


def test_complete_data_are_accepted_and_all_missing_images_are_one_error(tmp_path, monkeypatch):
    monkeypatch.setattr("bilinear.data.cub.COUNTS", Counts(2, train=2, validation=0, test=2))
    index = open_dataset(datasets.cub(tmp_path))
    for item in index.items[-3:]:
        (tmp_path / item.path).unlink()
    found = refused("CUB-200-2011: .* must contain every image", tmp_path, check_counts=False)
    first = index.items[-3].path
    assert f"got 4 images are listed, 3 are missing, the first {first}. Unpack" in found


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_counts_and_missing_images_are_one_error(tmp_path, kind):
    lost = open_sample(tmp_path, kind).items[-1]
    root = tmp_path / "data" if kind == "aircraft" else tmp_path
    (root / lost.path).unlink()
    found = refused("2 classes of ", tmp_path)
    official = {"cub": (200, 5994, 5794), "aircraft": (100, 3334, 3333), "cars": (196, 8144, 8041)}
    classes, train, test = official[kind]
    assert f"2 classes of {classes};" in found
    assert f"train images of {train:,};" in found
    assert f"test images of {test:,};" in found
    assert ("2 validation images of 3,333;" in found) == (kind == "aircraft")
    assert f"1 are missing, the first {lost.path}" in found


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("cub", ["image_class_labels.txt", "classes.txt"]),
        ("aircraft", ["images_variant_val.txt", "images_variant_test.txt"]),
        pytest.param("cars", [META, TEST], marks=needs_scipy),
    ],
)
def test_missing_annotations_are_listed(tmp_path, kind, lost):
    getattr(datasets, kind)(tmp_path)
    root = tmp_path / "data" if kind == "aircraft" else tmp_path
    for file in lost:
        (root / file).unlink()
    assert f"got a folder without {', '.join(lost)}" in refused("annotation files", tmp_path)


@pytest.mark.parametrize(
    ("kind", "file", "text", "words"),
    [
        ("cub", "images.txt", "1 a.jpg\n2\n", r"images\.txt must have 2 columns; got '2' in line"),
        ("cub", "image_class_labels.txt", "1 1\n2 1\n3 2\n", "class None, training 0 for image 4"),
        ("cub", "train_test_split.txt", "1 1\n2 x\n3 1\n4 0\n", "class 1, training x for image 2"),
        ("cub", "bounding_boxes.txt", "1 0 0 x 9\n", r"four numbers; got \['0', '0', 'x', '9'\] f"),
        ("aircraft", "data/images_variant_val.txt", "02 A380\n", "got 'A380' for image 02"),
    ],
)
def test_contradictory_annotations_are_refused(tmp_path, kind, file, text, words):
    getattr(datasets, kind)(tmp_path)
    (tmp_path / file).write_text(text)
    refused(words, tmp_path, check_counts=False, boxes=True)


@needs_scipy
@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_damaged_matlab_file_is_named(tmp_path, damage):
    datasets.cars(tmp_path)
    file = tmp_path / "devkit" / "cars_train_annos.mat"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"<html>" + bytes(500))
    refused(r"cars_train_annos\.mat must be the annotation file", tmp_path, check_counts=False)


def test_without_scipy_the_error_names_the_pip_command(tmp_path, monkeypatch):
    (tmp_path / "cars_annos.mat").touch()
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r"Stanford Cars .* needs scipy.*'bilinear\[cli\]'"):
        open_dataset(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path):
    refused("class folders with training images; got no subfolder", tmp_path)
    datasets.photographs(tmp_path, wren=1, finch=0, owl=0)
    for name in ("finch", "owl"):
        (tmp_path / name).mkdir()
    refused("got none in finch, owl", tmp_path)
    assert len(open_dataset(tmp_path, check_counts=False).items) == 1


def test_invalid_paths_and_kinds_are_refused(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere is not a folder"):
        open_dataset(tmp_path / "nowhere")
    words = "kind must be one of cub, aircraft, cars, folder, or None; got 'dogs'"
    refused(words, tmp_path, kind="dogs")
