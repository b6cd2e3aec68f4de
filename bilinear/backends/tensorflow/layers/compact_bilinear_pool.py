"""`CompactBilinearPool` as a Keras layer."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ....contract import EPS, L2_EPS, Reduction, check_root_and_norm
from ....contract.layers import DIM, check_arguments, check_channels
from ....contract.sketches import MaclaurinTables, SketchMethod, SketchTables
from ...initial_values import layer_tables
from .._tables import sure_channels
from .._tensors import as_written, spec
from ..l2_normalize import normalized
from ..random_maclaurin import projected
from ..signed_sqrt import rooted
from ..tensor_sketch import sketched
from ._maps import checked, chosen_format, flattened


@keras.saving.register_keras_serializable(package="bilinear")
class CompactBilinearPool(keras.layers.Layer):
    """Compact bilinear pooling: ``l2_normalize(signed_sqrt(sketch))`` of the maps' locations.

    The sketch is `tensor_sketch` or `random_maclaurin`. Its tables are integer weights that are
    not trained (h1, s1, h2, s2, or w1, w2): saved with the model, never rounded by a dtype
    policy. They are drawn from `seed`, without any global generator, equal in every framework; or
    given as `tables` (`SketchTables` or `MaclaurinTables`), and then `seed` is None. With neither
    they are blank, as in a layer made from such a config, for saved weights to fill, and until then
    the layer gives zeros.

    Shapes: x (N, *spatial, C) for `channels` C, or x and y (N, *spatial, D) for [C, D]
        -> (N, dim); with ``data_format="channels_first"`` (N, C, *spatial). None is
        `keras.config.image_data_format()` at construction.
    Masks, dtypes: as `BilinearPool`.
    Gradient, edges: those of the operators, in that order.
    Cost: that of the operator, C·D + dim numbers a sample held for the gradient by
        "tensor_sketch", 2·L·dim by "random_maclaurin"; tables of 2 (C + D) or (C + D)·dim entries.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`, for maps of other
        channels than the layer's, for tables that are not its, or for a y where `channels` is no
        pair. Sizes unknown when the model is traced are checked at run time, as in `outer_pool`.
    Source: Gao, Beijbom, Zhang, Darrell, "Compact Bilinear Pooling", CVPR 2016.
    """

    def __init__(
        self,
        channels: int | Sequence[int],
        dim: int = DIM,
        *,
        method: SketchMethod = "tensor_sketch",
        seed: int | None = 0,
        tables: SketchTables | MaclaurinTables | None = None,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        op = "CompactBilinearPool"
        self.channels = check_arguments(op, locals())["channels"]
        made = layer_tables(op, self.channels, dim, method, seed, tables)
        self.dim, self.method, self.seed = int(dim), method, seed if tables is None else None
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = float(eps), float(l2_eps)
        self.data_format = chosen_format(op, data_format)
        for name, table in made.items():
            weight = self.add_weight(
                shape=table.shape,
                initializer=lambda shape, dtype=None, table=table: tf.constant(table, dtype),
                dtype=table.dtype.name,
                trainable=False,
                autocast=False,
                name=name,
            )
            setattr(self, name, weight)

    def build(self, x_shape: Any, y_shape: Any = None) -> None:
        """Nothing to make; it names the shapes as `call` does, which `model.summary()` reads."""

    @property
    def tables(self) -> SketchTables | MaclaurinTables:
        """As the operator takes them."""
        kind = SketchTables if self.method == "tensor_sketch" else MaclaurinTables
        own = {n: tf.convert_to_tensor(getattr(self, n)) for n in kind._fields if n != "dim"}
        return kind(**own, **({"dim": self.dim} if kind is SketchTables else {}))

    @as_written
    def call(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> tf.Tensor:
        op = "CompactBilinearPool"
        checked(op, self.data_format, x, y, mask, x_mask, y_mask)
        self._check_streams(x, y)
        x, y, kept = flattened(op, self.data_format, x, y, mask, x_mask, y_mask)
        check_root_and_norm(op, spec(x).dtype, self.eps, self.l2_eps)
        tables = self.tables
        x = sure_channels(op, x, y, tables)
        sketch = sketched if self.method == "tensor_sketch" else projected
        z = sketch(x, y, tables, kept, self.reduction)  # pyright: ignore
        return tf.cast(normalized(rooted(z, self.eps), self.l2_eps), x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any, y_shape: Any = None) -> tuple[Any, Any]:
        return x_shape[0], self.dim

    def compute_output_spec(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> keras.KerasTensor:
        op = "CompactBilinearPool"
        checked(op, self.data_format, x, y, mask, x_mask, y_mask)
        self._check_streams(x, y)
        check_root_and_norm(op, spec(x).dtype, self.eps, self.l2_eps)
        return keras.KerasTensor((x.shape[0], self.dim), x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """dim, whatever the channels."""
        return self.dim

    def get_config(self) -> dict[str, Any]:
        own = ("channels", "dim", "method", "seed", "reduction", "eps", "l2_eps", "data_format")
        return super().get_config() | {name: getattr(self, name) for name in own}

    def _check_streams(self, x: Any, y: Any) -> None:
        axis = 1 if self.data_format == "channels_first" else -1
        given = [m.shape[axis] for m in (x, y) if m is not None]
        check_channels("CompactBilinearPool", self.channels, *given)
