"""The Keras layer of the root of the pooled covariance."""

from typing import Any

import keras
import tensorflow as tf

from ....contract.layers import check_arguments
from ....contract.matrices import STEPS, Method, Normalize
from ....contract.pooling import check_one_stream, packed_size
from .._tensors import as_written
from ..covariance_pool import covaried
from ..half_vectorize import halved
from ..matrix_sqrt import matrix_rooted
from ._maps import checked, chosen_format, flattened


@keras.saving.register_keras_serializable(package="bilinear")
class CovariancePool(keras.layers.Layer):
    """The covariance of feature maps and its root: `half_vectorize` of `matrix_sqrt` of
    `covariance_pool` of their locations, of one stream.

    ``pool(x, mask=None)``; ``mask`` is boolean at the resolution of the maps, True where a
    location is kept. There is no root of entries and no normalisation of the descriptor.

    Shapes: x (N, *spatial, C), mask (N, *spatial) -> (N, C(C+1)/2), for any number of spatial
        axes of any size.
        with ``data_format="channels_first"`` (N, C, *spatial). None is
        `keras.config.image_data_format()` at construction.
    Masks: boolean (N, *spatial). A location is kept where every given mask is true: `mask`,
        and `x_mask`, which Keras fills in where x carries one; no mask leaves the layer.
    Dtypes: those of `BilinearPool`.
    Cost: time N·(L·C² + some 3·steps·C³); output N·C(C+1)/2.
    Raises: ValueError and TypeError as `bilinear.contract.matrices.check_root` when made and
        `bilinear.contract.check_operands`, with the shapes as they were passed, when called.
    Source: Li, Xie, Wang, Zuo, ICCV 2017 (``method="eigen"``); Li, Xie, Wang, Gao, CVPR 2018.
    """

    def __init__(
        self,
        method: Method = "newton_schulz",
        steps: int = STEPS,
        normalize: Normalize = "trace",
        tol: float | None = None,
        isometric: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        op = "CovariancePool"
        check_arguments(op, locals())
        self.method: Method = method
        self.steps = int(steps)
        self.normalize: Normalize = normalize
        self.tol = None if tol is None else float(tol)
        self.isometric = isometric
        self.data_format = chosen_format(op, data_format)

    def build(self, x_shape: Any) -> None:
        """Nothing to make; it names the shape as `call` does, which `model.summary()` reads."""

    @as_written
    def call(self, x: Any, mask: Any = None, x_mask: Any = None) -> tf.Tensor:
        x, _, kept = flattened("CovariancePool", self.data_format, x, None, mask, x_mask)
        c = covaried(x, None, kept)
        root = matrix_rooted(c, self.method, self.steps, self.normalize, self.tol)
        return tf.cast(halved(root, self.isometric), x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any) -> tuple[Any, Any]:
        channels = x_shape[1 if self.data_format == "channels_first" else -1]
        return x_shape[0], None if channels is None else self.descriptor_size(channels)

    def compute_output_spec(self, x: Any, mask: Any = None, x_mask: Any = None) -> Any:
        checked("CovariancePool", self.data_format, x, None, mask, x_mask)
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C(C+1)/2; of one stream, and a second is refused."""
        check_one_stream("CovariancePool", channels, channels_b)
        return packed_size(channels)

    def get_config(self) -> dict[str, Any]:
        own = ("method", "steps", "normalize", "tol", "isometric", "data_format")
        return super().get_config() | {name: getattr(self, name) for name in own}
