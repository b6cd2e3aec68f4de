"""Recipes by name, with the values that their authors published.

The docstring of each recipe says what differs.

No accuracy is claimed for them. The published accuracies were often chosen on the test split,
which training never reads here.
"""

from collections.abc import Callable
from typing import Any

from ..contract import refuse
from .recipes import Group, Images, Model, Phase, Recipe, Schedule


def bcnn_two_phase(backbone: str = "vgg16") -> Recipe:
    """Train the classifier on a frozen backbone, then all parameters.

    Two values differ from the published ones. The schedule follows the validation accuracy, not the
    test accuracy. The classifier has the same learning rate in both phases, 1.0 with `BilinearPool`
    as in jiangtaoxie/fast-MPN-COV, not 0.01 in the second.
    """
    schedule = Schedule("plateau", factor=0.1, patience=3)
    return Recipe(
        "bcnn-two-phase",
        Model(backbone),
        (
            Phase("classifier", (Group("head", None, 1e-8),), 55, schedule=schedule),
            Phase(
                "all", (Group("head", None, 1e-5), Group("all", 1e-2, 1e-5)), 25, schedule=schedule
            ),
        ),
        Images(448),
        batch_size=64,
        monitor="accuracy",
        source="Lin, RoyChowdhury, Maji, ICCV 2015; values of HaoMood/bilinear-cnn bcc2883",
    )


def bcnn_two_stream(backbone: str = "vgg16") -> Recipe:
    """Two networks on each image: train the classifier on both frozen ones, then all parameters.

    The published code froze only one of them in the first phase, at a learning rate of 1, and then
    trained everything at 0.001. Here, only the backbones train at 0.001. Its rotations, shears and
    changes of aspect ratio are replaced by random crops and mirroring.
    """
    return Recipe(
        "bcnn-two-stream",
        Model(backbone, backbone),
        (
            Phase("classifier", (Group("head"),), 40),
            Phase("all", (Group("head"), Group("all", 1e-3)), 30),
        ),
        Images(150),
        batch_size=32,
        source="tommarvoloriddle's Keras notebooks, 4c1b516 (2021)",
    )


def multi_phase(
    backbone: str = "vgg16",
    *,
    layers: tuple[int, ...] = (1, 2, 3),
    reinitialize: bool = False,
) -> Recipe:
    """Train a new classifier, then also the last layers, more of them in each phase.

    Every phase starts from the best weights of the phase before and stops after three epochs
    without a better validation loss.

    Args:
        backbone: of the model. Default: ``"vgg16"``.
        layers: for each phase after the first, how many of the last layers train.
        reinitialize: draw new initial values for these layers. Default: False.
    """
    first = Phase("classifier", (Group("head"),), 50, patience=3)
    later = [
        Phase(
            f"last-{count}",
            (Group("head"), Group(f"last:{count}", 1e-3, 1e-5)),
            50,
            patience=3,
            reinitialize=f"last:{count}" if reinitialize else None,
        )
        for count in layers
    ]
    return Recipe(
        "multi-phase",
        Model(backbone),
        (first, *later),
        Images(448, 512, square=True),
        batch_size=32,
        source="nmd2000's transfer learning on FGVC-Aircraft: phases, patience, batch and crops; "
        "its learning rates are not published, those here are ours",
    )


NAMED_RECIPES: dict[str, Callable[..., Recipe]] = {
    "bcnn-two-phase": bcnn_two_phase,
    "bcnn-two-stream": bcnn_two_stream,
    "multi-phase": multi_phase,
}
"""Name -> function that makes the recipe."""


def named_recipe(name: str, **options: Any) -> Recipe:
    """The recipe of a name; `options` are those of its function. Raises: ValueError if unknown."""
    if name not in NAMED_RECIPES:
        known = ", ".join(map(repr, NAMED_RECIPES))
        remedy = "A custom recipe is a path that ends in .json."
        refuse(ValueError, "recipe", f"its name must be one of {known}", repr(name), remedy)
    return NAMED_RECIPES[name](**options)
