"""What `bilinear.models` asks of a framework, and where its networks are."""

import importlib
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

import numpy as np

from ..contract import Spec


def networks(framework: str, name: str) -> Any:
    """The module `name` of a framework's networks; those for TensorFlow are of Keras."""
    folder = "keras" if framework == "tensorflow" else framework
    return importlib.import_module(f"{__package__}.{folder}.{name}")


class Framework(Protocol):
    """What saving, loading and building a `BCNN` need: ``networks(framework, "framework")``."""

    name: str
    """``"torch"``, ``"tensorflow"`` or ``"jax"``."""
    module: type
    """The class of custom backbones."""
    module_name: str
    """The public name of that class."""
    pool_class: type
    """The class of custom pools."""
    channels_last: bool
    """Whether convolutions and linear layers have another layout than the canonical one."""
    linear: str
    """What `is_linear` accepts, in words."""

    @property
    def read_pth(self) -> Callable[[BinaryIO], Any] | None:
        """Read what `torch.save` wrote, as NumPy arrays; None where only PyTorch can."""
        ...

    def check_dtype(self, op: str, dtype: str) -> None:
        """ValueError for a dtype that the framework's settings exclude."""
        ...

    def layer(self, name: str, *, dtype: Any, **arguments: Any) -> Any:
        """Make a layer of the package by its class name, with weights of `dtype`."""
        ...

    def copied(self, module: Any) -> Any:
        """A copy of a custom module, or None of None."""
        ...

    def unwrapped(self, model: Any) -> Any:
        """The model within wrappers of the framework that do not change what it computes."""
        ...

    def is_linear(self, classifier: Any) -> bool:
        """Whether this is a plain linear layer, with tensors that `canonical` names."""
        ...

    def spec(self, tensor: Any) -> Spec:
        """Shape and dtype of a parameter or another tensor of a model."""
        ...

    def input_spec(self, name: str, x: Any, /) -> Spec:
        """Shape and dtype of images or a feature map. TypeError for what is no tensor."""
        ...

    def from_numpy(self, array: np.ndarray) -> Any: ...

    def to_numpy(self, tensor: Any, /) -> np.ndarray: ...

    def images(self, batch: np.ndarray, /) -> Any:
        """A batch of images (N, H, W, 3) as a model takes it."""
        ...

    def resample(self, *maps: Any) -> tuple[Any, ...]:
        """All maps at the smallest extent of each axis: half-pixel centers, no antialiasing."""
        ...
