"""What the layers share: arguments, the check of a call, root and norm, descriptor sizes."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import jax
from flax import nnx

from ....contract import DescriptorOptions, check_tensor
from ....contract.layers import check_arguments, check_call, descriptor_length
from ...class_signature import ClassSignature
from .._arrays import ArrayLike, round_to, specs
from ..l2_normalize import l2_normalize_unchecked
from ..signed_sqrt import signed_sqrt_unchecked


class FeatureMapLayer:
    """Base of the layers. Feature maps are (N, *spatial, C), masks (N, *spatial)."""

    class_name: ClassVar[str]
    """Key of the layer in `bilinear.contract.layers.LAYERS`."""

    def to_locations(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        *,
        channels: Any = None,
        options: DescriptorOptions | None = None,
    ) -> tuple[Any, Any, Any]:
        """Check the arguments of a call; give maps as (N, L, C) and their mask as (N, L)."""
        if options is None and hasattr(self, "l2_eps"):
            options = DescriptorOptions(eps=self.eps, l2_eps=self.l2_eps)  # pyright: ignore
        op = self.class_name
        check_call(op, *specs(op, x, y, mask), channels=channels, options=options)
        locations = x.shape[0], math.prod(x.shape[1:-1])  # (N, L), L = 1 for x (N, C)
        return (
            x.reshape(*locations, x.shape[-1]),
            None if y is None else y.reshape(*locations, y.shape[-1]),
            None if mask is None else mask.reshape(locations),
        )


class Pool(FeatureMapLayer):
    """Base of the layers that pool feature maps to descriptors."""

    def root_and_norm(self, z: jax.Array, x: ArrayLike) -> jax.Array:
        """Root and norm of the descriptors `z`, rounded to the dtype of `x`."""
        layer: Any = self
        s = signed_sqrt_unchecked(z, layer.eps, getattr(self, "root", "signed"))
        return round_to(x, l2_normalize_unchecked(s, layer.l2_eps))

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """Length of the descriptor of one or two feature maps with these channels."""
        return descriptor_length(self.class_name, self, channels, channels_b)


class StaticPool(Pool):
    """Base of the layers without tensors: frozen dataclasses, static values without leaves."""

    def __post_init__(self) -> None:
        check_arguments(self.class_name, vars(self))


class Module(nnx.Module):
    """A Flax module whose class shows its arguments."""

    __signature__ = ClassSignature()
    class_name: ClassVar[str]

    if TYPE_CHECKING:  # `set_arguments` sets attributes that pyright does not see

        def __getattr__(self, name: str) -> Any: ...

    def set_arguments(self, given: Mapping[str, Any]) -> None:
        """Check the arguments of a constructor, its ``locals()``, and make them attributes."""
        if "rngs" in given:
            given = {**given, "seed": draw_seed(self.class_name, given["seed"], given["rngs"])}
        for name, value in check_arguments(self.class_name, given).items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)


def draw_seed(op: str, seed: int | None, rngs: nnx.Rngs | None) -> int | None:
    """The seed of the initial values: drawn from ``rngs.params()``, or `seed` without `rngs`."""
    if rngs is None:
        return seed
    check_tensor(op, "rngs", rngs, nnx.Rngs, "flax.nnx.Rngs")
    return int(jax.random.bits(rngs.params(), dtype="uint32"))
