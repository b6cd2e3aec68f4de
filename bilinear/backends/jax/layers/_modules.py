"""What the layers with tensors share."""

import inspect
from typing import Any

import jax
from flax import nnx

from ....contract import check_tensor


class _Signature:
    """The arguments of ``__init__``, which the metaclass of Flax hides from `inspect`."""

    def __get__(self, instance: Any, owner: Any) -> inspect.Signature:
        if instance is not None:
            raise AttributeError
        parameters = inspect.signature(owner.__init__).parameters.values()
        return inspect.Signature(list(parameters)[1:])


class Module(nnx.Module):
    """A Flax module whose class shows its arguments."""

    __signature__ = _Signature()


def draw_seed(op: str, seed: int | None, rngs: nnx.Rngs | None) -> int | None:
    """The seed of the initial values: drawn from ``rngs.params()``, or `seed` without `rngs`."""
    if rngs is None:
        return seed
    check_tensor(op, "rngs", rngs, nnx.Rngs, "flax.nnx.Rngs")
    return int(jax.random.bits(rngs.params(), dtype="uint32"))
