"""Small data sets on disk in the layouts of the published ones, with JPEG files."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from bilinear.data import Index, Item

BANNER = 20


def jpeg(path: Path, seed: int = 0, width: int = 60, height: int = 40, banner: int = 0) -> None:
    """Write a smooth random image with a white banner below it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (4, 6, 3), np.uint8)
    image = Image.new("RGB", (width, height + banner), "white")
    image.paste(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)


def lines(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def photographs(root: Path, **counts: int) -> Path:
    """Write a folder for each class, with the given number of images."""
    for label, (name, count) in enumerate(counts.items()):
        for k in range(count):
            jpeg(root / name / f"{k}.jpg", 100 * label + k, 50 + 3 * k, 40 + 5 * label)
    return root


def color_images(root: Path) -> Path:
    """Write three classes of six noisy images that differ in color and are easy to learn."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("blue", "green", "red")):
        (root / name).mkdir(parents=True)
        for k in range(6):
            pixels = rng.integers(0, 128, (48, 40, 3), dtype=np.uint8)
            pixels[..., 2 - label] += 127
            Image.fromarray(pixels).save(root / name / f"{k}.jpg")
    return root


def two_class_index(root: Path, count: int, *, scale: int = 1) -> Index:
    """Write `count` training images of two classes, and return their index."""
    for k in range(count):
        jpeg(root / f"{k}.jpg", k, scale * (50 + k), scale * 60)
    items = tuple(Item(f"{k}.jpg", k % 2, "train") for k in range(count))
    return Index(root, ("even", "odd"), items, "mine")


def cub(root: Path) -> Path:
    """Write two classes of CUB-200-2011 with a training and a test image each."""
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    paths = [f"{name}/{name[4:]}_{k}.jpg" for name in names for k in (1, 2)]
    for seed, path in enumerate(paths):
        jpeg(root / "images" / path, seed)
    lines(root / "images.txt", *(f"{k} {path}" for k, path in enumerate(paths, 1)))
    lines(root / "image_class_labels.txt", "1 1", "2 1", "3 2", "4 2")
    lines(root / "train_test_split.txt", "1 1", "2 0", "3 1", "4 0")
    lines(root / "classes.txt", *(f"{k} {name}" for k, name in enumerate(names, 1)))
    lines(root / "bounding_boxes.txt", *(f"{k} 5.0 10.5 20.0 30.0" for k in range(1, 5)))
    return root


def aircraft(root: Path) -> Path:
    """Write two variants of FGVC-Aircraft with one image in each split; one name has a space."""
    data = root / "data"
    variants, families = ["A300B4", "F/A-18 Hornet"], ["A300", "F/A-18"]
    lines(data / "variants.txt", *variants)
    lines(data / "families.txt", *families)
    keys = iter(f"{k:07d}" for k in range(6))
    for part in ("train", "val", "test"):
        pair = [next(keys), next(keys)]
        for key in pair:
            jpeg(data / "images" / f"{key}.jpg", int(key), banner=BANNER)
        for level, names in (("variant", variants), ("family", families)):
            rows = (f"{key} {name}" for key, name in zip(pair, names, strict=True))
            lines(data / f"images_{level}_{part}.txt", *rows)
    lines(data / "images_box.txt", *(f"{k:07d} 11 6 50 35" for k in range(6)))
    return root


def cars(root: Path, *, combined: bool = False) -> Path:
    """Write two classes of Stanford Cars with two training images and one test image."""
    from scipy.io import savemat  # noqa: PLC0415 (not installed in every environment)

    box = [("bbox_x1", 11), ("bbox_y1", 6), ("bbox_x2", 50), ("bbox_y2", 35)]

    def structs(*rows: dict) -> np.ndarray:
        fields = [(name, object) for name in rows[0]]
        return np.array([[tuple(row.values()) for row in rows]], dtype=fields)

    names = np.array([["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]], dtype=object)
    images = [("00001.jpg", 1, 0), ("00002.jpg", 2, 0), ("00001.jpg", 2, 1)]
    (root / "devkit").mkdir(parents=True)
    if combined:
        rows = []
        for k, (_, label, test) in enumerate(images, 1):
            path = f"car_ims/{k:06d}.jpg"
            jpeg(root / path, k)
            rows.append({"relative_im_path": path, **dict(box), "class": label, "test": test})
        file = root / "cars_annos.mat"
        savemat(file, {"annotations": structs(*rows), "class_names": names})
        return root
    for folder, wanted in (("train", 0), ("test", 1)):
        rows = []
        for name, label, test in images:
            if test == wanted:
                jpeg(root / f"cars_{folder}" / name, label + 2 * test)
                rows.append({**dict(box), "class": label, "fname": name})
        file = "cars_test_annos_withlabels.mat" if wanted else "devkit/cars_train_annos.mat"
        savemat(root / file, {"annotations": structs(*rows)})
    savemat(root / "devkit/cars_meta.mat", {"class_names": names})
    return root


def shards(
    root: Path, index: Index, size: int, form: int = tarfile.USTAR_FORMAT, before: str = ""
) -> Path:
    """Write the images of an index into WebDataset shards of up to `size` images, in order."""
    root.mkdir(parents=True, exist_ok=True)
    lines(root / "classnames.txt", *index.classes)
    for split in dict.fromkeys(item.split for item in index.items):
        items = index.split(split)
        for start in range(0, len(items), size):
            files = {}
            for item in items[start : start + size]:
                path = f"{before}{item.path}"
                files[path] = (index.root / item.path).read_bytes()
                files[f"{path.rpartition('.')[0]}.cls"] = f"{item.label}\n".encode()
            archive(root / f"birds-{split}-{start:06d}.tar", files, form)
    return root


def archive(path: Path, files: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> None:
    """Write a tar archive. Member names that are not portable are written as they are."""
    with tarfile.open(path, "w:", format=form) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
