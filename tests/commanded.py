"""Runs of ``bilinear train``, killed: ``python -m tests.commanded torch folder RECIPE=KILLS…``.

Children are what `tests.survivor` makes of them, but each is the whole command, from its arguments
to its exit code; only the imports are those of the parent. A run of `folder`/RECIPE is a fate.
RECIPE may be `CACHED`, for the first of them with a cache.
"""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

from bilinear.__main__ import main
from bilinear.train import Recipe, named

from .datasets import coloured
from .survivor import Runs, end, import_engine, killed, maps_of

CACHED = "cached"


def tiny(name: str) -> Recipe:
    """The recipe of a name, with small images, few epochs and a small network.

    That is the beginning of one, or two whole ones, whose files take long enough to be killed in.
    """
    whole = named(name)
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


def prepared(folder: Path, name: str) -> list[str]:
    """What all commands of a recipe begin with; its file and the data set are made."""
    name = "bcnn-two-phase" if name == CACHED else name
    folder.mkdir()
    recipe, pictures = folder / "recipe.json", folder / "pictures"
    recipe.write_text(tiny(name).to_json())
    coloured(pictures)
    return ["train", str(recipe), str(pictures), "--fraction", "0.34", "--resume"]


def caching(run: Path) -> list[str]:
    """Two views of each image: a set of maps is written in each of two epochs."""
    return ["--cache", str(maps_of(run)), "--views", "2"]


def commanded(folder: Path, name: str, framework: str, kills: int) -> list[int]:
    """How an undisturbed run ends, and how many others were killed."""
    words = [*prepared(folder, name), "--framework", framework, "--workers", "0"]

    def work(run: Path) -> None:
        cache = caching(run) if name == CACHED else []
        sys.argv = ["bilinear", *words, *cache, str(run)]
        main()

    runs = Runs(work, folder)
    return [end(runs.child("whole")), killed(runs, kills, 1, 4)]


if __name__ == "__main__":
    framework, folder, *asked = sys.argv[1:]
    import_engine(framework)
    for module in ("cli", "train.events", "train.curves"):
        importlib.import_module(f"bilinear.{module}")
    fates = {}
    for name, kills in (one.split("=") for one in asked):
        fates[name] = commanded(Path(folder) / name, name, framework, int(kills))
    print(json.dumps(fates))
