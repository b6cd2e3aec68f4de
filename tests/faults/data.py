"""Faults of data sets, images, checkpoints, runs and losses, and of the rules that refuse them."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from .library import fault

FOLDERS, ANNOTATIONS = ("tests/data/test_folder.py",), ("tests/data/test_data.py",)
SPLITS, IMAGES = ("tests/data/test_splits.py",), ("tests/data/test_images.py",)
MEMORY, SPECIAL = ("tests/data/test_memory.py",), ("tests/data/test_special_files.py",)
HEADERS, VALUES = ("tests/models/test_tensor_reader.py",), ("tests/models/test_checkpoint.py",)
HOSTILE = ("tests/models/test_hostile_files.py", "-k", "expand")
TABLES = ("tests/models/test_conversion.py", "-k", "random_tables")
RUNS, CHANGED = ("tests/train/test_damaged_runs.py",), ("tests/train/test_fit.py", "-k", "damaged")
FILES, OUTPUTS = ("tests/train/test_image_files.py",), ("tests/cli/test_cli_outputs.py",)
PARTS = ("tests/data/test_pipeline.py", "-k", "several_processes")
SHARDS = ("tests/data/test_webdataset.py", "tests/data/test_damaged_shards.py")
PROCESSES = ("tests/train/test_processes.py", "-k", "not pytorch and not images")

UNCHECKED: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "files that are not used are not reported": ("data.listing:warn_of_unused", FOLDERS, ()),
    "an image may be in two classes through a link": ("data.folder:_check_links", FOLDERS, ()),
    "any file may be opened": ("_files:_check_regular", SPECIAL, ()),
    "an output may replace an input": ("_files:check_outputs", OUTPUTS, ()),
    "a checkpoint may be compressed": ("_files:check_uncompressed", HOSTILE, ("torch",)),
    "a tensor may repeat its elements": ("models.state_dict:_check_stored", HOSTILE, ("torch",)),
    "tensors may overlap": ("models.tensor_reader:_check_places", HEADERS, ()),
    "a file may change while it is read": (
        "models.tensor_reader:TensorReader.check_unchanged",
        HEADERS,
        (),
    ),
    "a converted model may have other random tables": (
        "models.conversion:_check_tables",
        TABLES,
        ("torch",),
    ),
    "a batch may have any size": ("data.images:check_batch", MEMORY, ()),
    "the images of a run may change": ("train.checksums:ImageFiles.check", CHANGED, ("torch",)),
}
"""Name of the fault -> the check that does nothing, the tests, and the frameworks they need."""


def unchecked(f: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Check nothing."""


for name, (path, tests, namespaces) in UNCHECKED.items():
    fault(name, path, tests, *namespaces)(unchecked)


@fault("folders named like splits are classes", "data.folder:_named_like_splits", FOLDERS)
def _(f, names):
    return []


@fault("a path may leave the data set", "data.index:is_inside", SPLITS)
def _(f, path):
    return True


@fault("a later line of annotations is ignored", "data.annotations:Annotations.add", ANNOTATIONS)
def _(f, self, table, key, row):
    table.setdefault(key, row)


@fault("a shard may be replaced", "data.archives:_open_member", SHARDS)
def _(f, root, item, offset, file):
    try:
        return f(root, item, offset, file)
    except Exception:
        file.seek(offset + 512)
        return file


@fault("a shard ends at its damage", "data.archives:_headers", SHARDS)
def _(f, path, file):
    with suppress(ValueError):
        yield from f(path, file)


@fault("a member ends where its archive does", "data.archives:_Part.readinto", SHARDS)
def _(f, self, buffer):
    self._size = 2**40
    return f(self, buffer)


@fault("all shards are training images", "data.webdataset:_splits", SHARDS)
def _(f, root, shards):
    return dict.fromkeys(shards, "train")


@fault("the checksum depends on places in shards", "data.index:Index.checksum", SHARDS)
def _(f, self):
    return f(self) + repr([item.offset for item in self.items])


@fault("a shard is hashed in place of its image", "train.checksums:_checksum", SHARDS)
def _(f, root, item):
    return f(root, item._replace(path=item.file, offset=None))


@fault("the orientation of a photograph is ignored", "data.image_reader:_turn", IMAGES)
def _(f, image):
    return None


@fault("every format of Pillow is read", "data.formats:readable_formats", IMAGES)
def _(f):
    return None


@fault("threads decode any number of pixels at once", "data.decode:_reserve", MEMORY)
def _(f, pixels):
    return nullcontext()


@fault("values that are not finite are read", "models.tensorfile:check_finite", VALUES)
def _(f, op, name, array):
    return array


@fault("the state of a run has the same checksum always", "train.run:_checksum", RUNS)
def _(f, progress, tensors):
    return ""


@fault(
    "a resumed epoch forgets its correct predictions",
    "train.run:Run.load",
    ("tests/train/test_resuming.py", "-k", "after_any_step"),
)
def _(f, self, like, start, recipe):
    progress, tensors, buffers = f(self, like, start, recipe)
    progress.correct = 0
    return progress, tensors, buffers


# --- augmentation and losses ---

AVERAGES = ("tests/train/test_optimizers.py", "-k", "averages")
AUGMENT, LOSSES = ("tests/data/test_augment.py",), ("tests/train/test_losses.py",)


@fault("erased rectangles are black", "data.augment:random_erasing", AUGMENT)
def _(f, image, rng, color):
    return f(image, rng, (0, 0, 0))


@fault("colors do not change", "data.augment:random_colors", AUGMENT)
def _(f, image, augmentation, rng):
    return image


@fault("balanced weights are the shares of the classes", "train.batches:balanced_weights", LOSSES)
def _(f, recipe, counts, num_classes):
    weights = f(recipe, counts, num_classes)
    return weights and tuple(1 / weight for weight in weights)


@fault("every process decodes the whole batch", "data.pipeline:Pipeline.own_part", PARTS)
def _(f, self, batch):
    return batch


@fault("processes stop with different errors", "train.processes:Processes.choose_error", PROCESSES)
def _(f, self, own):
    f(self, own)
    return own or RuntimeError("of another process")


@fault("each process validates by itself", "train.batches:validate", PROCESSES)
def _(f, read, num_classes, processes, *calls):
    return f(read, num_classes, replace(processes, add=np.array), *calls)


@fault("images are never read again", "train.checksums:_state", FILES)
def _(f, root, item, stored):
    return stored or f(root, item, stored)


for _framework in ("torch", "tensorflow", "jax"):

    @fault(
        f"{_framework}: the loss has hard targets",
        f"train.engines.{_framework}:Engine.begin",
        LOSSES,
        _framework,
    )
    def _(f, self, plan):
        f(self, plan._replace(label_smoothing=0.0))

    @fault(
        f"{_framework}: gradients are clipped at twice the norm",
        f"train.engines.{_framework}:Engine.begin",
        LOSSES,
        _framework,
    )
    def _(f, self, plan):
        limit = plan.clip_norm
        f(self, plan._replace(clip_norm=limit and 2 * limit))

    @fault(
        f"{_framework}: AdamW's betas are exchanged",
        f"train.engines.{_framework}:Engine.begin",
        ("tests/train/test_optimizers.py",),
        _framework,
    )
    def _(f, self, plan):
        adamw = plan.adamw
        f(self, plan._replace(adamw=adamw and (adamw[1], adamw[0], adamw[2])))

    @fault(
        f"{_framework}: averages forget more slowly",
        f"train.engines.{_framework}:Engine.average",
        ("tests/train/test_optimizers.py",),
        _framework,
    )
    def _(f, self, names, decay):
        f(self, names, decay**0.5)


for _framework in ("torch", "tensorflow"):

    @fault(
        f"{_framework}: the parts of a batch have equal shares",
        f"train.engines.{_framework}:split_batch",
        LOSSES,
        _framework,
    )
    def _(f, plan, labels, *processes):
        parts = f(plan, labels, *processes)
        return [(part, 1 / len(parts)) for part, _ in parts]


@fault(
    "jax: the weight of a batch is its size", "train.engines.jax:split_batch_of_all", LOSSES, "jax"
)
def _(f, plan, labels, processes):
    parts, _ = f(plan, labels, processes)
    return parts, len(labels)


@fault("validation uses the weights of the optimizer", "train.averages:Averages.in_use", AVERAGES)
def _(f, self):
    return nullcontext()


@fault("averages start again when a run is resumed", "train.averages:Averages.begin", AVERAGES)
def _(f, self, plan, *, new):
    f(self, plan, new=True)


@fault(
    "torch: AdamW adds the decay to the gradient",
    "train.engines.torch:Engine.begin",
    ("tests/train/test_optimizers.py",),
    "torch",
)
def _(f, self, plan):
    f(self, plan)
    for group in self.optimizer.param_groups:
        group["decoupled_weight_decay"] = False


# --- images of other channels ---

CHANNELS = ("tests/models/test_image_channels.py", "-k", "adapted")
ADAPT = "models.weights:adapt_channels"


@fault("the kernels of a gray image are averaged", ADAPT, CHANNELS)
def _(f, kernel, count):
    return f(kernel, count) / (3 if count == 1 else 1)


@fault("the kernels of more channels are not rescaled", ADAPT, CHANNELS)
def _(f, kernel, count):
    return f(kernel, count) * (1 if count == 1 else count / 3)
