"""The Keras layer around the operators."""

from typing import Any

import keras
import tensorflow as tf

from ....contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ....contract.layers import check_arguments
from ....contract.options import check_options
from ....contract.pooling import descriptor_size
from .._tensors import as_written, spec
from ..bilinear_pool import described
from ._maps import checked, chosen_format, flattened


@keras.saving.register_keras_serializable(package="bilinear")
class BilinearPool(keras.layers.Layer):
    """Bilinear pooling of feature maps to descriptors, see `bilinear_pool`.

    One stream is ``pool(x)``, two are ``pool(x, y)``; their spatial shapes must be equal.

    Shapes: x (N, *spatial, C), y (N, *spatial, D) -> (N, C·D), or (N, C(C+1)/2) if packed, for
        any number of spatial axes (none is one location); (N, C, *spatial) with
        ``data_format="channels_first"``. None is `keras.config.image_data_format()` at
        construction.
    Masks: boolean (N, *spatial). A location is kept where every given mask is true: `mask`,
        and those of the two streams, `x_mask` and `y_mask`. Keras fills in the masks that `x`
        and `y` carry unless they are passed here; no mask leaves the layer.
    Dtypes: x and y are cast to the policy's compute dtype, which the descriptors have too;
        under ``"mixed_float16"`` and ``"mixed_bfloat16"`` all between is computed in float32.
    Gradient, edges: those of `bilinear_pool`.
    Cost: that of `bilinear_pool`; the result is N·C·D numbers, N·C(C+1)/2 with `packed`.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`, with the shapes as
        they were passed. Sizes unknown when the model is traced are checked at run time, as in
        `outer_pool`; XLA, which Keras chooses by itself where it can, words the error otherwise.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    def __init__(
        self,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        packed: bool = False,
        root: Root = "signed",
        slope_eps: float | None = None,
        norm: Norm = "floor",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_arguments("BilinearPool", locals())
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = float(eps), float(l2_eps)
        self.packed = packed
        self.root: Root = root
        self.norm: Norm = norm
        self.slope_eps = None if slope_eps is None else float(slope_eps)
        self.data_format = chosen_format("BilinearPool", data_format)

    def build(self, x_shape: Any, y_shape: Any = None) -> None:
        """Nothing to make; it names the shapes as `call` does, which `model.summary()` reads."""

    @as_written
    def call(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> tf.Tensor:
        op = "BilinearPool"
        x, y, kept = flattened(op, self.data_format, x, y, mask, x_mask, y_mask)
        options = self._options()
        check_options(op, options, spec(x).dtype, spec(y))
        return described(x, y, kept, options)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any, y_shape: Any = None) -> tuple[Any, Any]:
        axis = 1 if self.data_format == "channels_first" else -1
        channels = [shape[axis] for shape in (x_shape, y_shape) if shape is not None]
        return x_shape[0], None if None in channels else self.descriptor_size(*channels)

    def compute_output_spec(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> keras.KerasTensor:
        op = "BilinearPool"
        checked(op, self.data_format, x, y, mask, x_mask, y_mask)
        check_options(op, self._options(), spec(x).dtype, spec(y))
        shape = self.compute_output_shape(x.shape, None if y is None else y.shape)
        return keras.KerasTensor(shape, x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, the length of the descriptor: C² for one stream, C(C+1)/2 for half of it."""
        return descriptor_size("BilinearPool", self.packed, channels, channels_b)

    def get_config(self) -> dict[str, Any]:
        own = ("reduction", "eps", "l2_eps", "packed", "root", "slope_eps", "norm", "data_format")
        return super().get_config() | {name: getattr(self, name) for name in own}

    def _options(self) -> DescriptorOptions:
        return DescriptorOptions._make(getattr(self, name) for name in DescriptorOptions._fields)
