"""The recipe of ``bilinear train DATA RUN``: a named recipe and changes of it."""

import json
from typing import Any, NamedTuple

from .named_recipes import named_recipe
from .overrides import override
from .recipes import Recipe

BACKBONE = "resnet18"
PRETRAINED_VIEWS, RANDOM_VIEWS = 5_000, 10_000
"""Images that a run on a CPU trains on, over all epochs: some minutes on two cores."""
MAX_EPOCHS = 40


class Choice(NamedTuple):
    """A named recipe, and changes as in `override`."""

    name: str
    changes: tuple[str, ...]

    def recipe(self) -> Recipe:
        return override(named_recipe(self.name), self.changes)


def choose_recipe(images: int, *, gpu: bool, pretrained: bool) -> Choice:
    """Choose a recipe for `images` training images.

    On a CPU, the network is a part of ResNet18 on small images: its first stages if they have to
    learn from random weights. The classifier has a higher learning rate than the backbone, because
    its input has length 1.
    """
    changes: dict[str, Any] = {"model.backbone": BACKBONE, "batch_size": 16}
    if not pretrained:
        epochs, rates = _epochs(images, RANDOM_VIEWS), (1.0, 0.05)
        changes |= {"model.weights": None, "model.taps": ["layer2"], "images.size": 96}
        changes |= {"phases.0.epochs": 1, "phases.1.epochs": epochs}
    elif gpu:
        rates = 0.1, 1e-3
        changes |= {"phases.0.epochs": 20, "phases.1.epochs": 20}
    else:
        epochs, rates = _epochs(images, PRETRAINED_VIEWS), (0.1, 1e-3)
        changes |= {"model.taps": ["layer3"], "images.size": 224}
        changes |= {"phases.0.epochs": epochs, "phases.1.epochs": -(-epochs // 5)}
    groups = zip(("head", "all"), rates, (1e-8, 1e-5), strict=True)
    names = "parameters", "learning_rate", "weight_decay"
    changes["phases.1.groups"] = [dict(zip(names, group, strict=True)) for group in groups]
    changes["phases.1.schedule.kind"] = "cosine"
    changes["drop_last"] = images >= changes["batch_size"]
    return Choice("bcnn-two-phase", tuple(f"{k}={_text(v)}" for k, v in changes.items()))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _epochs(images: int, views: int) -> int:
    return min(max(views // images, 2), MAX_EPOCHS)
