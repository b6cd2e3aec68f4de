"""`outer_max_pool` with root and norm, as a Keras layer."""

from typing import Any

import keras
import tensorflow as tf

from ....contract import EPS, L2_EPS, check_root_and_norm
from ....contract.layers import check_arguments
from .._tensors import as_written, sizes, spec
from ..l2_normalize import normalized
from ..outer_max_pool import largest
from ..signed_sqrt import rooted
from ._maps import checked, chosen_format, flattened


@keras.saving.register_keras_serializable(package="bilinear")
class OuterMaxPool(keras.layers.Layer):
    """The largest products over all places of feature maps, as unit descriptors.

    ``l2_normalize(signed_sqrt(flatten(outer_max_pool(x, y))))``: `BilinearPool` with the maximum
    in place of the mean. Calls, masks, dtypes and layouts are those of `BilinearPool`.

    Shapes: x (N, *spatial, C), y (N, *spatial, D) -> (N, C·D), for any number of spatial axes
        (none is one location); with ``data_format="channels_first"`` (N, C, *spatial).
    Gradient, edges: those of `outer_max_pool`, `signed_sqrt` and `l2_normalize`.
    Cost: that of `outer_max_pool`; the descriptor is C·D.
    Raises: ValueError and TypeError as `BilinearPool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    def __init__(
        self,
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_arguments("OuterMaxPool", locals())
        self.eps, self.l2_eps = float(eps), float(l2_eps)
        self.data_format = chosen_format("OuterMaxPool", data_format)

    def build(self, x_shape: Any, y_shape: Any = None) -> None:
        """Nothing to make; it names the shapes as `call` does, which `model.summary()` reads."""

    @as_written
    def call(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> tf.Tensor:
        op = "OuterMaxPool"
        x, y, kept = flattened(op, self.data_format, x, y, mask, x_mask, y_mask)
        check_root_and_norm(op, spec(x).dtype, self.eps, self.l2_eps)
        products = largest(x, y, kept)
        n, c, d = sizes(products)
        roots = rooted(tf.reshape(products, [n, c * d]), self.eps)
        return tf.cast(normalized(roots, self.l2_eps), x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any, y_shape: Any = None) -> tuple[Any, Any]:
        axis = 1 if self.data_format == "channels_first" else -1
        c, d = x_shape[axis], (x_shape if y_shape is None else y_shape)[axis]
        return x_shape[0], None if c is None or d is None else self.descriptor_size(c, d)

    def compute_output_spec(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> keras.KerasTensor:
        op = "OuterMaxPool"
        checked(op, self.data_format, x, y, mask, x_mask, y_mask)
        check_root_and_norm(op, spec(x).dtype, self.eps, self.l2_eps)
        shape = self.compute_output_shape(x.shape, None if y is None else y.shape)
        return keras.KerasTensor(shape, x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, the length of the descriptor: C² for one stream."""
        return channels * (channels if channels_b is None else channels_b)

    def get_config(self) -> dict[str, Any]:
        own = ("eps", "l2_eps", "data_format")
        return super().get_config() | {name: getattr(self, name) for name in own}
