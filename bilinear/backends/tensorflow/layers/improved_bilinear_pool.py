"""The Keras layer of bilinear pooling with a matrix root."""

from typing import Any

import keras
import tensorflow as tf

from ....contract import EPS, L2_EPS, Reduction, Root, check_root_and_norm
from ....contract.layers import check_arguments
from ....contract.matrices import STEPS, Method, Normalize
from ....contract.pooling import check_one_stream
from .._tensors import as_written, sizes, spec
from ..l2_normalize import normalized
from ..matrix_sqrt import matrix_rooted
from ..outer_pool import pooled
from ..signed_sqrt import rooted
from ._maps import checked, chosen_format, flattened


@keras.saving.register_keras_serializable(package="bilinear")
class ImprovedBilinearPool(keras.layers.Layer):
    """Bilinear pooling with a matrix root before the root of entries: ``l2_normalize(
    signed_sqrt(flatten(matrix_sqrt(outer_pool(x)))))`` of the locations of maps, of one stream.

    ``pool(x, mask=None)``; ``mask`` is boolean at the resolution of the maps, True where a
    location is kept. `root` is the form of `signed_sqrt`.

    Shapes: x (N, *spatial, C), mask (N, *spatial) -> (N, C²), for any number of spatial axes of
        any size.
        with ``data_format="channels_first"`` (N, C, *spatial). None is
        `keras.config.image_data_format()` at construction.
    Masks: boolean (N, *spatial). A location is kept where every given mask is true: `mask`,
        and `x_mask`, which Keras fills in where x carries one; no mask leaves the layer.
    Dtypes: those of `BilinearPool`.
    Cost: time N·(L·C² + some 3·steps·C³); output N·C².
    Raises: ValueError and TypeError as `bilinear.contract.matrices.check_root` and
        `check_improved` there when made, and `bilinear.contract.check_operands`, with the shapes
        as they were passed, when called.
    Source: Lin, Maji, "Improved Bilinear Pooling with CNNs", BMVC 2017.
    """

    def __init__(
        self,
        method: Method = "newton_schulz",
        steps: int = STEPS,
        normalize: Normalize = "frobenius",
        tol: float | None = None,
        reduction: Reduction = "mean",
        eps: float = EPS,
        root: Root = "signed",
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        op = "ImprovedBilinearPool"
        check_arguments(op, locals())
        self.method: Method = method
        self.steps = int(steps)
        self.normalize: Normalize = normalize
        self.tol = None if tol is None else float(tol)
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = float(eps), float(l2_eps)
        self.root: Root = root
        self.data_format = chosen_format(op, data_format)

    def build(self, x_shape: Any) -> None:
        """Nothing to make; it names the shape as `call` does, which `model.summary()` reads."""

    @as_written
    def call(self, x: Any, mask: Any = None, x_mask: Any = None) -> tf.Tensor:
        op = "ImprovedBilinearPool"
        x, _, kept = flattened(op, self.data_format, x, None, mask, x_mask)
        check_root_and_norm(op, spec(x).dtype, self.eps, self.l2_eps)
        g = pooled(x, None, kept, self.reduction)
        g = matrix_rooted(g, self.method, self.steps, self.normalize, self.tol)
        n, channels, _ = sizes(g)
        flat = tf.reshape(g, [n, channels * channels])
        return tf.cast(normalized(rooted(flat, self.eps, self.root), self.l2_eps), x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any) -> tuple[Any, Any]:
        channels = x_shape[1 if self.data_format == "channels_first" else -1]
        return x_shape[0], None if channels is None else self.descriptor_size(channels)

    def compute_output_spec(self, x: Any, mask: Any = None, x_mask: Any = None) -> Any:
        op = "ImprovedBilinearPool"
        checked(op, self.data_format, x, None, mask, x_mask)
        check_root_and_norm(op, spec(x).dtype, self.eps, self.l2_eps)
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C²; of one stream, and a second is refused."""
        check_one_stream("ImprovedBilinearPool", channels, channels_b)
        return channels * channels

    def get_config(self) -> dict[str, Any]:
        own = ("method", "steps", "normalize", "tol", "reduction", "eps", "root", "l2_eps")
        names = (*own, "data_format")
        return super().get_config() | {name: getattr(self, name) for name in names}
