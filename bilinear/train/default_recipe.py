"""The recipe of ``bilinear train DATA RUN``: a named recipe and changes of it."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from .named_recipes import named_recipe
from .overrides import override
from .recipes import Recipe

BACKBONE = "resnet18"
PRETRAINED_VIEWS, RANDOM_VIEWS = 5_000, 24_000
"""Images that a run on a CPU trains on, over all epochs: some minutes on two cores."""
MAX_EPOCHS = 75


class Choice(NamedTuple):
    """A named recipe, and changes as in `override`."""

    name: str
    changes: tuple[str, ...]

    def recipe(self, further: Sequence[str] = ()) -> Recipe:
        return override(named_recipe(self.name), [*self.changes, *further])


def choose_recipe(images: int, *, gpu: bool, pretrained: bool, backbone: str = BACKBONE) -> Choice:
    """Choose a recipe for `images` training images.

    On a CPU, the network is a part of ResNet18 on small images: its first stages if they have to
    learn from random weights. Another backbone is used as a whole.
    """
    changes: dict[str, Any] = {"model.backbone": backbone, "batch_size": 16}
    whole = (gpu and pretrained) or backbone != BACKBONE
    if not whole:
        changes["model.taps"] = ["layer3" if pretrained else "layer2"]
    if not pretrained:
        changes |= {"model.weights": None, "images.size": 96}
        changes |= {"phases.0.epochs": 1, "phases.1.epochs": _epochs(images, RANDOM_VIEWS)}
    elif gpu:
        changes |= {"phases.0.epochs": 20, "phases.1.epochs": 20}
    else:
        epochs = _epochs(images, PRETRAINED_VIEWS)
        changes |= {"images.size": 224}
        changes |= {"phases.0.epochs": epochs, "phases.1.epochs": -(-epochs // 5)}
    changes["phases.1.groups.1.learning_rate"] = 1e-3 if pretrained else 0.05
    changes["phases.1.schedule.kind"] = "cosine"
    changes["drop_last"] = images >= changes["batch_size"]
    return Choice("bcnn-two-phase", tuple(f"{k}={_text(v)}" for k, v in changes.items()))


def _epochs(images: int, views: int) -> int:
    return min(max(views // images, 2), MAX_EPOCHS)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
