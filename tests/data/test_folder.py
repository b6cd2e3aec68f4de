"""Folders of class folders, with and without splits; links, and files that are not used."""

import pytest
from PIL import Image

from bilinear.data import Item, open_dataset
from bilinear.data.images import read_image

from .. import datasets
from .test_data import refused


def test_a_folder_of_class_folders(tmp_path):
    datasets.photographs(tmp_path, wren=2, finch=1)
    datasets.jpeg(tmp_path / "wren" / "more" / "3.JPG")
    (tmp_path / "wren" / ".hidden.jpg").write_bytes(b"")
    datasets.jpeg(tmp_path / "wren" / ".ipynb_checkpoints" / "0-checkpoint.jpg")
    (tmp_path / "wren" / "notes.txt").write_text("seen on Sunday")
    (tmp_path / "readme.txt").write_text("birds")
    with pytest.warns(UserWarning, match=r"2 files are not used: 2 \.txt"):
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
    with pytest.warns(UserWarning, match=r"4 files are not used: 2 \.jpg, 2 \.png"):
        assert open_dataset(tmp_path) == alone
    assert [len(alone.split(split)) for split in ("train", "validation", "test")] == [2, 2, 2]
    datasets.jpeg(tmp_path / "dev" / "wren" / "more" / "1.jpg")
    refused(r"must be named train, val, valid, validation, test; got dev\. Rename", tmp_path)


def test_train_may_be_a_class(tmp_path):
    index = open_dataset(datasets.photographs(tmp_path, train=1, plane=1))
    assert index.classes == ("plane", "train")


SPLITS = "got folders named like splits: "
NOT_A_CLASS = {
    "Train/wren/1 Val/wren/2 Test/wren/3": SPLITS + "Test, Train, Val",
    "training/wren/1 testing/wren/2 validation/wren/3": SPLITS + "testing, training, validation",
    "train_images/wren/1 test_images/wren/2": SPLITS + "test_images, train_images",
    "val/wren/1 val/finch/2 test/wren/3": SPLITS + "test, val",
    "cars_train/1 cars_test/2": SPLITS + "cars_test, cars_train",
    "trainA/1 testA/2 run/3": SPLITS + "testA, trainA",
    "train/1 test/2 plane/3": SPLITS + "test, train",
    "train2017/1 dev2017/2": SPLITS + "dev2017, train2017",
    "TRAINVAL/wren/1 run/2": SPLITS + "TRAINVAL",
    "EvalSet/wren/1 notes/2": SPLITS + "EvalSet",
    "train/train/1 test/test/2": SPLITS + "test, train",
    "birds/wren/1 birds/finch/2": "got birds with images only in the subfolders finch, wren",
    "a/wren/1 b/wren/2 b/finch/3": "got a, b with images only in the subfolders wren",
    "train/birds/wren/1": "got birds with images only in the subfolders wren",
    "birds/train/wren/1 birds/test/wren/2 notes/3": "got folders with splits in them: birds",
    "train/steam/1 train/diesel/2 plane/3": "got train with .* in it, beside images in plane",
    "train/wren/1 val/wren/2 Testing/owl/3": "must be named train, val, .*; got Testing",
}


@pytest.mark.parametrize("files", NOT_A_CLASS)
def test_folders_that_are_not_classes_are_refused(tmp_path, files):
    for name in files.split():
        datasets.jpeg(tmp_path / f"{name}.jpg")
    refused(NOT_A_CLASS[files], tmp_path, check_counts=False)


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        ("train/wren/1 train/finch/2 test/3", ("finch", "wren")),
        ("bullet_train/1 test_tube/2 plane/3", ("bullet_train", "plane", "test_tube")),
        ("wren/2019/1 finch/2020/2", ("finch", "wren")),
        ("wren/1 finch/young/2 owl/young/3", ("finch", "owl", "wren")),
    ],
)
@pytest.mark.filterwarnings("ignore:.*1 file is not used")
def test_the_structure_decides_what_a_class_is(tmp_path, files, classes):
    for name in files.split():
        datasets.jpeg(tmp_path / f"{name}.jpg")
    assert open_dataset(tmp_path).classes == classes


def test_a_training_run_is_not_a_class(tmp_path):
    datasets.photographs(tmp_path, wren=1, finch=1)
    datasets.jpeg(tmp_path / "run" / "curves.png")
    for name in ("recipe.json", "metrics.jsonl"):
        (tmp_path / "run" / name).touch()
    refused("got the folder of a training run, run. Move the run elsewhere", tmp_path)
    for name in ("wren", "finch"):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "train" / name)
    with pytest.warns(UserWarning, match="3 files are not used"):
        assert open_dataset(tmp_path).classes == ("finch", "wren")


def test_a_folder_around_a_data_set_is_refused(tmp_path):
    datasets.cub(tmp_path / "CUB_200_2011")
    datasets.jpeg(tmp_path / "notes" / "1.jpg")
    refused(r"got a folder that contains CUB_200_2011\. Pass the inner folder", tmp_path)
    with pytest.raises(NotADirectoryError, match="an empty name is not a folder"):
        open_dataset("")


# --- links and other files ---


def test_links_are_followed_once(tmp_path):
    datasets.photographs(tmp_path, wren=1, finch=1)
    expected = open_dataset(tmp_path)
    links = {
        "self": ".",
        "wren/up": "..",
        "wren/me": ".",
        "wren/again": "me",
        "wren/a.jpg": "0.jpg",
    }
    for path, target in links.items():
        (tmp_path / path).symlink_to(target)
    found = open_dataset(tmp_path)
    assert found == expected
    (tmp_path / "finch" / "copy.jpg").symlink_to("../wren/0.jpg")
    refused("one file named finch/copy.jpg and wren/0.jpg", tmp_path)


@pytest.mark.parametrize("link", ["val", "test/wren", "test/wren/0.jpg"])
def test_an_image_in_two_splits_through_a_link_is_refused(tmp_path, link):
    datasets.photographs(tmp_path / "train", wren=1, finch=1)
    datasets.photographs(tmp_path / "test", finch=1)
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to((tmp_path / "train" / link.partition("/")[2]).resolve())
    refused("one file named .*/0.jpg and train/.*/0.jpg|one file named train", tmp_path)


def test_files_that_are_not_used_are_counted(tmp_path):
    """Every suffix of a format that Pillow reads is used; what is not used is one warning."""
    image = Image.new("RGB", (8, 6))
    (tmp_path / "wren").mkdir()
    suffixes = ["jpg", "jfif", "gif", "jp2", "tga", "PNG"]
    if ".avif" in Image.registered_extensions() and "AVIF" in Image.SAVE:
        suffixes.append("avif")
    for suffix in suffixes:
        image.save(tmp_path / "wren" / f"1.{suffix}")
    for name in ("2.heic", "3.heic", "4.eps", "5", "../6.jpg"):
        (tmp_path / "wren" / name).touch()
    words = r"5 files are not used: 2 \.heic, 1 \.eps, 1 \.jpg, 1 without a suffix"
    with pytest.warns(UserWarning, match=words) as caught:
        index = open_dataset(tmp_path)
    assert len(caught) == 1
    assert len(index.items) == len(suffixes)
    for item in index.items:
        assert read_image(tmp_path / item.path).size == (8, 6)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    """Its images would be left out silently."""
    datasets.photographs(tmp_path, wren=1, finch=1)

    def refuse(path):
        raise PermissionError(13, "Permission denied", f"{path}")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(PermissionError):
        open_dataset(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path):
    refused("class folders with training images; got no subfolder", tmp_path)
    datasets.photographs(tmp_path, wren=1, finch=0, owl=0)
    for name in ("finch", "owl"):
        (tmp_path / name).mkdir()
    refused("got none in finch, owl", tmp_path)
    assert len(open_dataset(tmp_path, check_counts=False).items) == 1
