"""The pooling of published code, by name: one table of layers and their arguments.

``from bilinear.torch import preset`` (or another namespace) makes the layer: ``preset("umass")``.
`PRESETS` has the source of each preset and a note; `explain` describes one in words.

All presets differ from published code in three points:

- Values and gradients are finite for a dead channel or an all-zero map, where published code may
  give NaN. An all-zero map gives zeros; with ``haomood`` and ``hawkeye``, a unit vector of equal
  entries; with ``lrbp``, the bias.
- The gradient is the derivative of the forward formula, unless ``published_backward=True`` selects
  the published backward pass.
- An eps that underflows in the accumulation dtype raises an error.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .contract import check_floor, check_reduction, refuse
from .contract.arguments import REDUCTIONS

NO_FLOOR = 1e-30
"""An eps below any norm whose squares float32 can hold, for an L2 norm without eps."""


class Preset(NamedTuple):
    """One published computation."""

    layer: str
    arguments: Mapping[str, Any]
    source: str
    note: str = ""
    published: Mapping[str, Any] | None = None
    """The arguments that replace the derivative by the published backward pass."""


def _pool(reduction: str, eps: float, **forms: Any) -> dict[str, Any]:
    return {"reduction": reduction, "eps": eps, **forms}


_UMASS = {"eps": 1e-5, "root": "shifted", "l2_eps": 1e-12}
_HASHES = "Tables are drawn from `seed`. For a trained model, pass its own tables as `tables`."
_RELU = "For features >= 0, as after a ReLU: a product below -1e-5 is NaN. An all-zero map gives "
_RELU += "a unit vector of equal entries. The slope of the root at 0 is 158."
_FAST_MPN = Preset(
    "BilinearPool",
    _pool("mean", 1e-8, l2_eps=1e-12),
    "jiangtaoxie/fast-MPN-COV, BCNN.py (2021)",
    "The option is_vec=False of this code, which normalizes columns, is different.",
)

PRESETS: dict[str, Preset] = {
    "default": Preset(
        "BilinearPool",
        _pool("mean", 1e-10, l2_eps=1e-12),
        "this library; also tutorials of B-CNN on VGG16 and ResNet18",
    ),
    "paper": Preset(
        "BilinearPool",
        _pool("sum", 0.0, l2_eps=NO_FLOOR),
        "Lin, RoyChowdhury, Maji, ICCV 2015, sections 3 and 3.1",
        "Without eps, the slope near 0 is unbounded.",
    ),
    "umass": Preset(
        "BilinearPool", _pool("mean", **_UMASS), "cvl-umass/bilinear-cnn, BCNN.py (2020)"
    ),
    "umass-improved": Preset(
        "ImprovedBilinearPool",
        {"steps": 5, "method": "newton_schulz", "normalize": "frobenius", "reduction": "mean"}
        | _UMASS,
        "Lin, Maji, BMVC 2017; cvl-umass/bilinear-cnn, matrixSquareRoot.py (2020)",
        "The published backward pass, 5 steps of a Lyapunov solver, is not implemented.",
    ),
    "haomood": Preset(
        "BilinearPool",
        _pool("mean", 1e-5, root="unsigned", l2_eps=1e-12),
        "HaoMood/bilinear-cnn (2019)",
        _RELU,
    ),
    "hawkeye": Preset(
        "BilinearPool",
        _pool("mean", 1e-5, root="unsigned", l2_eps=1e-12),
        "Hawkeye-FineGrained/Hawkeye, BCNN.py (2023)",
        f"{_RELU} The published feature maps follow VGG16's last max pooling: 14 × 14 at 448.",
    ),
    "hawkeye-cbp": Preset(
        "CompactBilinearPool",
        {"dim": 6000, "method": "tensor_sketch"} | _pool("sum", 1e-10, l2_eps=1e-12),
        "Hawkeye-FineGrained/Hawkeye, CBCNN.py (2023)",
        f"Needs `channels`. {_HASHES}",
    ),
    "fast-mpn": _FAST_MPN,
    "fast-mpn-bcnn": _FAST_MPN,
    "fast-mpn-cbp": Preset(
        "CompactBilinearPool",
        {"dim": 8192, "method": "tensor_sketch"} | _pool("sum", 1e-8, l2_eps=1e-12),
        "jiangtaoxie/fast-MPN-COV, CBP.py (2021)",
        f"Needs `channels`. {_HASHES}",
    ),
    "keras": Preset(
        "BilinearPool",
        _pool("mean", 1e-9, l2_eps=1e-6),
        "ryanfwy/BCNN-keras-clean (2019) and others on Keras",
        "K.l2_normalize has its epsilon, 1e-12, on the squared norm; on the norm it is 1e-6.",
    ),
    "matconvnet-gao": Preset(
        "BilinearPool",
        _pool("sum", 0.0, l2_eps=NO_FLOOR),
        "layers of Lin et al. and Gao et al. for MatConvNet, as in aimerykong/LRBP (2017)",
        "Published backward: slope 0.5 / (√|g| + 0.1). The 1e-10 in its norm is left out.",
        {"slope_eps": 0.1},
    ),
    "caffe-gao": Preset(
        "BilinearPool",
        _pool("sum", 0.0, norm="added", l2_eps=1e-7),
        "Gao et al., Caffe layers, as in aimerykong/LRBP (2017)",
        "Published backward: slope 0.5 / (√|g| + 0.03). Its gradient 2 Γ X of one stream, which "
        "is correct only for a symmetric Γ, is left out.",
        {"slope_eps": 0.03},
    ),
    "scaled-sqrt": Preset(
        "BilinearPool",
        _pool("sum", 0.0, l2_eps=NO_FLOOR),
        "aimerykong/LRBP, scaledSqrt (2017)",
        "The published root is divided by √10000; the norm cancels this, forward and backward.",
        {"slope_eps": 0.1},
    ),
    "block": Preset(
        "BilinearPool",
        _pool("sum", 0.0, l2_eps=1e-12),
        "Cadene/block.bootstrap.pytorch, fusions.py (2019)",
        "The root and norm of its fusions, for all products of two vectors: maps x and y with one "
        "location. The learned low-rank cores are left out; LowRankBilinearPool has those of MLB "
        "and MFB.",
    ),
    "isqrt-cov": Preset(
        "CovariancePool",
        {"steps": 5, "method": "newton_schulz", "normalize": "trace", "isometric": False},
        "Li, Xie, Wang, Gao, CVPR 2018; jiangtaoxie/fast-MPN-COV, MPNCOV.py (2021)",
        "No element-wise root and no norm. The zero matrix has root 0; published code gives NaN.",
    ),
    "democratic": Preset(
        "DemocraticPool",
        {"pool": {"name": "BilinearPool", **_pool("sum", **_UMASS)}}
        | {"gamma": 0.5, "damping": 0.5, "steps": 10, "eps": 1e-10, "weight_eps": 1e-8},
        "Lin, Maji, Koniusz, ECCV 2018; cvl-umass/bilinear-cnn, BCNN.py (2020)",
        "Published backward: the targets are treated as constants.",
        {"detach_target": True},
    ),
    "lrbp": Preset(
        "LowRankBilinearClassifier",
        {"rank": 8, "reduction": "sum"},
        "Kong, Fowlkes, CVPR 2017; aimerykong/LRBP, bisvm (2017)",
        "Needs `channels` (100 after a projection in the published code) and `num_classes`. It "
        "computes scores, without root and norm.",
    ),
}


def describe(name: str, *, published_backward: bool = False, **arguments: Any) -> dict[str, Any]:
    """Return a preset as ``{"name": class, **arguments}``, as the portable file describes a pool.

    `arguments` are added to those of the preset, or replace them.

    Raises: ValueError for an unknown preset, or where no backward pass was published.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        refuse(
            ValueError, "preset", f"name must be one of {known}", repr(name), "Check the spelling."
        )
    preset = PRESETS[name]
    if published_backward and preset.published is None:
        having = ", ".join(key for key, other in PRESETS.items() if other.published)
        invariant = f"published_backward=True must be for one of {having}"
        refuse(ValueError, "preset", invariant, repr(name), "Leave out published_backward.")
    more = preset.published if published_backward and preset.published else {}
    return {"name": preset.layer, **preset.arguments, **more, **arguments}


def make_layer(described: Mapping[str, Any], make: Callable[..., Any], **inner: Any) -> Any:
    """Make a described layer by ``make(class name, **arguments)``, a pool within it first.

    `inner` has default arguments of the pool within.
    """
    arguments = {key: value for key, value in described.items() if key != "name"}
    if isinstance(arguments.get("pool"), Mapping):
        arguments["pool"] = make_layer({**inner, **arguments["pool"]}, make, **inner)
    return make(described["name"], **arguments)


def equivalent_eps(eps: float, *, locations: int, of: str, to: str) -> float:
    """Return the eps that has the effect for reduction `to` that `eps` has for `of`.

    ``√(|L·m| + L·ε) = √L · √(|m| + ε)``: an eps of the mean, times L, is the equivalent eps of the
    sum, and the norm cancels √L. For example, 1e-5 of the mean is 7.84e-3 of the sum at 28 × 28
    locations, and 1.96e-3 at 14 × 14. So with ``"sum"``, the effect of an eps depends on the
    resolution.

    This holds for the element-wise root of a pooled sum. After a matrix root, the sum is larger
    only by √L, so the factor of `ImprovedBilinearPool` is the square root of this one.

    Raises: ValueError for an unknown reduction, or fewer than one location.
    """
    op = "equivalent_eps"
    check_reduction(op, of)
    check_reduction(op, to)
    if not isinstance(locations, int) or locations < 1:
        remedy = "Pass the height times the width of the feature maps."
        refuse(ValueError, op, "locations must be a positive integer", repr(locations), remedy)
    return eps * locations ** (REDUCTIONS.index(to) - REDUCTIONS.index(of))


def floor_of_squared(epsilon: float) -> float:
    """Return the `l2_eps` for TensorFlow's epsilon, which is a floor on the squared norm: its root.

    ``tf.math.l2_normalize`` and ``K.l2_normalize`` are ``z · rsqrt(max(Σz², epsilon))``.
    """
    check_floor("floor_of_squared", epsilon, "float64", name="epsilon")
    return float(epsilon) ** 0.5


def explain(name: str, locations: int) -> str:
    """Describe a preset: its layer, source and note, and its eps for the other reduction."""
    described = describe(name)
    layer, inner = described["name"], described.get("pool")
    lines = [f"{name}: {_written(described)}", f"Source: {PRESETS[name].source}."]
    lines += [PRESETS[name].note] if PRESETS[name].note else []
    inside = inner or described
    of, eps = inside.get("reduction"), inside.get("eps", 0.0)
    if of in REDUCTIONS and eps:
        to = "sum" if of == "mean" else "mean"
        factor = equivalent_eps(1.0, locations=locations, of=of, to=to)
        same = eps * (factor**0.5 if layer == "ImprovedBilinearPool" else factor)
        lines.append(f"eps {eps:g} of the {of} is {same:.3g} of the {to} at {locations} locations.")
    if of in REDUCTIONS and inside.get("norm") == "added":
        to, added = "sum" if of == "mean" else "mean", inside["l2_eps"]
        same = equivalent_eps(added, locations=locations, of=of, to=to)
        lines.append(
            f"l2_eps {added:g}, added to Σz² of the {of}, is {same:.3g} of the {to} at {locations} "
            "locations. Σz² of the sum grows with the locations, so the effect of l2_eps falls."
        )
    return "\n".join(lines)


def _written(value: Any) -> str:
    if not isinstance(value, Mapping):
        return repr(value)
    arguments = ", ".join(f"{k}={_written(v)}" for k, v in value.items() if k != "name")
    return f"{value['name']}({arguments})"
