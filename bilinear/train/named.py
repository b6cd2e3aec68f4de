"""Recipes by name, with the numbers of whoever published them.

None says that its numbers reach a published accuracy: the published ones were often chosen on
the test part, which no run here sees.
"""

from collections.abc import Callable
from typing import Any

from ..contract import refuse
from .recipes import Group, Images, Model, Phase, Recipe, Schedule


def bcnn_two_phase(backbone: str = "vgg16") -> Recipe:
    """The classifier on a frozen backbone, then everything.

    The published schedule watches the test part; here it is the validation part.
    """
    schedule = Schedule("plateau", factor=0.1, patience=3)
    return Recipe(
        "bcnn-two-phase",
        Model(backbone),
        (
            Phase("classifier", (Group("head", 1.0, 1e-8),), 55, schedule=schedule),
            Phase("all", (Group("all", 1e-2, 1e-5),), 25, schedule=schedule),
        ),
        Images(448),
        batch_size=64,
        monitor="accuracy",
        source="Lin, RoyChowdhury, Maji, ICCV 2015; numbers of HaoMood/bilinear-cnn bcc2883",
    )


def bcnn_two_stream(backbone: str = "vgg16") -> Recipe:
    """Two networks of their own on each image: the classifier on both frozen, then everything.

    The published code froze only one of them in the first phase, at a rate of 1; its squashed,
    turned and sheared images are crops and mirrors here.
    """
    return Recipe(
        "bcnn-two-stream",
        Model(backbone, backbone),
        (
            Phase("classifier", (Group("head", 1.0),), 40),
            Phase("all", (Group("all", 1e-3),), 30),
        ),
        Images(150),
        batch_size=32,
        source="tommarvoloriddle's Keras notebooks, 4c1b516 (2021)",
    )


def multi_phase(
    backbone: str = "vgg16",
    pool: str | None = None,
    *,
    layers: tuple[int, ...] = (1, 2, 3),
    reinitialize: bool = False,
) -> Recipe:
    """A new classifier on transferred layers, then the last layers too, more of them each time.

    Every phase starts from the best weights of the one before and stops after three epochs
    without a better validation loss. With `reinitialize` the last layers are drawn anew.

    Args:
        pool: of the model; ``"AveragePool"`` makes the plain network, the baseline.
        layers: for each phase after the first, how many of the last ones train.
    """
    head = 1e-2 if pool == "AveragePool" else 1.0  # unit descriptors have a hundredth the slopes
    first = Phase("classifier", (Group("head", head),), 50, patience=3)
    later = [
        Phase(
            f"last-{count}",
            (Group("head", head if reinitialize else 1e-3), Group(f"last:{count}", 1e-3, 1e-5)),
            50,
            patience=3,
            reinitialize=f"last:{count}" if reinitialize else None,
        )
        for count in layers
    ]
    return Recipe(
        "multi-phase",
        Model(backbone, pool=pool),
        (first, *later),
        Images(448, 512, square=True),
        batch_size=32,
        source="nmd2000's transfer learning on FGVC-Aircraft: phases, patience, batch and crops; "
        "its rates are not published, those here are ours",
    )


NAMED: dict[str, Callable[..., Recipe]] = {
    "bcnn-two-phase": bcnn_two_phase,
    "bcnn-two-stream": bcnn_two_stream,
    "multi-phase": multi_phase,
}
"""Name -> what makes the recipe."""


def named(name: str, **options: Any) -> Recipe:
    """The recipe of a name, with the options of its function."""
    if name not in NAMED:
        known = ", ".join(map(repr, NAMED))
        refuse(ValueError, "recipe", f"its name must be one of {known}", repr(name), "Spell it so.")
    return NAMED[name](**options)
