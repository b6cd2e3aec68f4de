"""Kill ``bilinear train``: ``python -m tests.commanded torch folder RECIPE=KILLS…``.

As `tests.survivor`, but each child runs the whole command, from its arguments to its exit code;
only the imports are done by the parent. The runs are in `folder`/RECIPE. RECIPE may be `CACHED`:
the first named recipe, with a feature cache. Other words are tasks of `tests.together`.
"""

import importlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from bilinear.__main__ import main
from bilinear.train import Recipe, named_recipe

from .datasets import color_images
from .faults import PLANTED
from .survivor import Runs, import_engine, kill_children, maps_of, wait

CACHED = "cached"


def tiny(name: str) -> Recipe:
    """A named recipe with small images, few epochs and a small model.

    The model is the first block of ResNet18, or two whole ones, whose files take long to write.
    """
    whole = named_recipe(name)
    if whole.model.backbone_b:
        model = replace(whole.model, backbone="resnet18", backbone_b="resnet18", projection=8)
    else:
        model = replace(whole.model, backbone="resnet18", taps=("layer1",))
    epochs = 2 if name == "bcnn-two-phase" else 1
    return replace(
        whole,
        model=replace(model, weights=None),
        phases=tuple(replace(phase, epochs=epochs) for phase in whole.phases),
        images=replace(whole.images, size=32, resize=whole.images.resize and 36),
        batch_size=4,
    )


def prepare(folder: Path, name: str) -> list[str]:
    """Write the recipe file and the data set; returns the first words of the command."""
    name = "bcnn-two-phase" if name == CACHED else name
    folder.mkdir()
    recipe, pictures = folder / "recipe.json", folder / "pictures"
    recipe.write_text(tiny(name).to_json())
    color_images(pictures)
    return ["train", str(recipe), str(pictures), "--fraction", "0.34", "--resume"]


def cache_options(run: Path) -> list[str]:
    """Two views of each image, so that feature maps are written in each of two epochs."""
    return ["--cache", str(maps_of(run)), "--views", "2"]


def run_and_kill(folder: Path, name: str, framework: str, kills: int) -> list[int]:
    """The exit code of an undisturbed run, and the number of children that were killed."""
    words = [*prepare(folder, name), "--framework", framework, "--workers", "0"]

    def work(run: Path) -> None:
        cache = cache_options(run) if name == CACHED else []
        sys.argv = ["bilinear", *words, *cache, str(run)]
        main()

    runs = Runs(work, folder)
    return [wait(runs.child("whole")), kill_children(runs, kills, 1, 4)]


def plant_fault() -> None:
    """Plant the fault that ``python -m tests.faults`` has planted in the process of the tests."""
    if planted := os.environ.get(PLANTED):
        faults = importlib.import_module("tests.faults.table").FAULTS
        next(fault for fault in faults if str(fault) == planted).plant()


if __name__ == "__main__":
    framework, folder, *asked = sys.argv[1:]
    import_engine(framework)
    plant_fault()
    for module in ("cli", "train.tensorboard_log", "train.curves"):
        importlib.import_module(f"bilinear.{module}")
    results = {}
    for one in asked:
        name, _, kills = one.partition("=")
        if kills:
            results[name] = run_and_kill(Path(folder) / name, name, framework, int(kills))
        else:
            together = importlib.import_module("tests.together")
            results[name] = together.run_task(Path(folder) / "together", framework, name)
    print(json.dumps(results))
