"""Data sets in their published layouts, complete and incomplete."""

from importlib.util import find_spec

import numpy as np
import pytest

from bilinear.data import Item, open_dataset, read_aircraft
from bilinear.data.cars import META, TEST, TRAIN
from bilinear.data.index import Counts

from .. import datasets

needs_scipy = pytest.mark.skipif(
    find_spec("scipy") is None, reason="SciPy is needed to write MATLAB files"
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
@pytest.mark.parametrize("folder", ["", "devkit", "car_devkit/devkit"])
def test_annotations_and_images_of_cars_may_be_in_other_folders(tmp_path, folder):
    """Kaggle's copy has the images in cars_train/cars_train, and cars_annos.mat, which lists
    other names. Without the annotations of these folders, it is refused."""
    expected = open_dataset(datasets.cars(tmp_path), check_counts=False)
    for split in ("train", "test"):
        images = tmp_path / f"cars_{split}"
        images.rename(tmp_path / "images")
        images.mkdir()
        (tmp_path / "images").rename(images / images.name)
    (tmp_path / "cars_annos.mat").touch()
    files = [next(tmp_path.rglob(name)) for name in (META, TRAIN, TEST)]
    files = [file.rename(tmp_path / file.name) for file in files]
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    files = [file.rename(tmp_path / folder / file.name) for file in files]
    found = open_dataset(tmp_path, check_counts=False)
    for item, other in zip(found.items, expected.items, strict=True):
        split, name = other.path.split("/")
        assert item == other._replace(path=f"{split}/{split}/{name}")
    for file in files:
        file.unlink()
    refused(f"got a folder without {META}, {TRAIN}, {TEST}", tmp_path)
    (tmp_path / "cars_annos.mat").unlink()
    refused("got folders named like splits: cars_test, cars_train", tmp_path)


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
        next(root.rglob(file)).unlink()
    found = refused("annotation files", tmp_path)
    assert f"got a folder without {', '.join(lost)}" in found
    assert ("Unpack the archive again" in found) == (TEST not in lost)
    assert ("is a separate download" in found) == (TEST in lost)


CUB_LABELS, CUB_SPLITS = "image_class_labels.txt", "train_test_split.txt"
CUB_BOXES, PLANES = "bounding_boxes.txt", "data/images_variant_test.txt"
CONTRADICTIONS = [  # layout, file, text in it, what replaces it, words of the error
    ("cub", "images.txt", "2 001", "2\n3 001", r"line 2 of .*images\.txt must have 2 columns"),
    ("cub", "images.txt", "\n2 ", "\n1 ", r"line 2 of .* must not repeat '1'; got also line 1 of"),
    ("cub", "images.txt", "ss_2.", "ss_1.", r"line 2 of .* must not repeat 'images/.*_1\.jpg'"),
    ("cub", "images.txt", "001.", "../", r"line 1 of .* must name an image inside"),
    ("cub", "images.txt", "1 001.", "1 /001.", r"line 1 of .* must name an image inside"),
    ("cub", "images.txt", "_2.", "_\xff.", r"line 2 of .*images\.txt must be UTF-8 text"),
    ("cub", CUB_LABELS, "4 2\n", "", r"labels\.txt must give image 4 a known class; got none"),
    ("cub", CUB_LABELS, "4 2", "4 3", r"line 4 of .*labels\.txt must give .* known class; got 3"),
    ("cub", CUB_LABELS, "4 2", "4 2\n4 1", r"line 5 of .*labels\.txt must not repeat '4'"),
    ("cub", CUB_SPLITS, "2 0", "2 x", r"line 2 of .*split\.txt must give .* known split; got x"),
    ("cub", CUB_SPLITS, "2 0", "2 0\n2 1", r"line 3 of .*split\.txt must not repeat '2'"),
    ("cub", "classes.txt", "2 002.Laysan", "2 001.Black_footed", r"line 2 of .*must not repeat"),
    ("cub", CUB_BOXES, "1 5.0", "1 x", r"line 1 of .*boxes\.txt must have four numbers of pixels"),
    ("cub", CUB_BOXES, "1 5.0", "1 1e300", r"line 1 of .*must have four numbers"),
    ("cub", CUB_BOXES, "1 5.0", "1 nan", r"line 1 of .*must have four numbers"),
    ("cub", CUB_BOXES, "20.0", "-20.0", r"line 1 of .*must have a box with pixels in it"),
    ("cub", CUB_BOXES, "\n2 ", "\n1 ", r"line 2 of .*must not repeat '1'"),
    ("cub", CUB_BOXES, "\n2 ", "\n5 ", "a box of every image; got none of 2"),
    ("aircraft", PLANES, "A300B4", "A380", r"line 1 of .*listed in variants\.txt; got 'A380'"),
    ("aircraft", PLANES, "0000005", "0000004", r"line 2 of .*test\.txt must not repeat"),
    ("aircraft", PLANES, "0000005", "0000001", r"repeat '0000001'; got also line 2 of .*train"),
    ("aircraft", PLANES, "0000005", "../5", r"line 2 of .*must name an image inside"),
    ("aircraft", "data/variants.txt", "A300B4", "F/A-18 Hornet", r"line 2 of .*must not repeat"),
    ("aircraft", "data/images_box.txt", "0000003", "0000009", "box of every image; got none of 00"),
]


@pytest.mark.parametrize(("kind", "file", "text", "other", "words"), CONTRADICTIONS)
def test_contradictory_annotations_are_refused(tmp_path, kind, file, text, other, words):
    getattr(datasets, kind)(tmp_path)
    content = (tmp_path / file).read_bytes()
    changed = content.replace(text.encode(), other.encode("latin-1"), 1)
    assert changed != content
    (tmp_path / file).write_bytes(changed)
    refused(words, tmp_path, check_counts=False, boxes=True)


@needs_scipy
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("class", 1.7, "class of annotation 2 of .* must be an integer from 1 to 2; got"),
        ("class", 3, "class of annotation 2 of .* must be an integer from 1 to 2; got"),
        ("fname", "00001.jpg", "annotation 2 of .* must not repeat 'cars_train/00001.jpg'"),
        ("fname", "../00002.jpg", "annotation 2 of .* must name an image inside the data set"),
        ("bbox_x1", 1e300, "bbox_x1 of annotation 2 of .* must be an integer from 0"),
        ("bbox_x1", 99, "annotation 2 of .* must have a box with pixels in it"),
        (None, None, "annotation 1 of .* must have the fields fname, class.*; got no class"),
    ],
)
def test_contradictory_annotations_of_cars_are_refused(tmp_path, field, value, words):
    from scipy.io import loadmat, savemat  # noqa: PLC0415 (absent in some environments)

    file = datasets.cars(tmp_path) / "devkit" / TRAIN
    annotations = loadmat(file)["annotations"]
    if field is None:
        names = (name.replace("class", "kind") for name in annotations.dtype.names)
        annotations.dtype.names = tuple(names)
    else:
        annotations[0, 1][field] = value
    savemat(file, {"annotations": annotations})
    refused(words, tmp_path, check_counts=False, boxes=True)


@needs_scipy
def test_classes_and_annotations_of_cars_of_another_kind_are_refused(tmp_path):
    from scipy.io import savemat  # noqa: PLC0415 (absent in some environments)

    file = datasets.cars(tmp_path) / "devkit" / META
    for names, words in (
        (["Hummer", "Hummer"], f"class 2 of {file} must not repeat 'Hummer'; got also class 1"),
        (["Hummer", 7.0], f"class 2 of {file} must be text"),
        ([], "class of annotation 1 of .* must be an integer from 1 to 0"),
    ):
        savemat(file, {"class_names": np.array([names], dtype=object)})
        refused(words, tmp_path)
    savemat(file.with_name(TRAIN), {"annotations": np.array([["text", 1.0]], dtype=object)})
    refused("annotation 1 of .* must have the fields fname, class; got no fname", tmp_path)


@needs_scipy
@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_a_damaged_matlab_file_is_named(tmp_path, damage):
    datasets.cars(tmp_path)
    file = tmp_path / "devkit" / "cars_train_annos.mat"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"<html>" + bytes(500))
    refused(r"cars_train_annos\.mat must be the annotation file", tmp_path, check_counts=False)


def test_invalid_paths_and_kinds_are_refused(tmp_path):
    with pytest.raises(NotADirectoryError, match="nowhere is not a folder"):
        open_dataset(tmp_path / "nowhere")
    words = "kind must be one of cub, aircraft, cars, folder, webdataset, or None; got 'dogs'"
    refused(words, tmp_path, kind="dogs")
