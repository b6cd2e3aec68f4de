"""Checkpoints of published B-CNN code: the names of their tensors, their pooling and preprocessing.

The layouts were read from the code at these commits:

- ``umass``: cvl-umass/bilinear-cnn d6a05aa, with one VGG16, or two on one image;
  ``umass-improved`` with ``--matrix_sqrt_iter`` (not in the file: its steps, 5 are assumed);
  ``umass-democratic`` with ``--pooling_method gamma_demo`` (not in the file: γ, 0.5 is assumed).
- ``haomood``: HaoMood/bilinear-cnn bcc2883 and blinear-cnn-faster (its second step).
- ``hawkeye``: Hawkeye-FineGrained/Hawkeye 626ad69.
- ``fast-mpn-bcnn``: jiangtaoxie/fast-MPN-COV c430c78, ``--representation BCNN --pretrained``.

All of them flatten in row-major order, and test on the center crop, 448 pixels, of an image that is
normalized as in torchvision; for ``fast-mpn-bcnn`` on ImageNet, use ``Preprocessing(224, 256)``.
Some first resize to a square: ``umass`` for Cars, Aircraft and MIT Indoor, ``fast-mpn-bcnn`` for
Cars and Aircraft, and blinear-cnn-faster always. For such a model, use
``Preprocessing(448, square=True)``, and for Aircraft ``Preprocessing(448, 512, square=True)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .. import presets
from ..analysis.classifiers import ORDER, Order
from ..contract import check_argument, refuse
from ..data.images import Preprocessing
from . import plans
from .pools import POOLS, check_map_count
from .streams import STREAMS

Backbones = str | tuple[str, str]
"""The backbone of one stream, or of each of two."""


def backbone_names(backbone: Backbones) -> tuple[str, ...]:
    """The backbone of each stream."""
    return (backbone,) if isinstance(backbone, str) else backbone


@dataclass(frozen=True)
class Layout:
    """Names and meaning of the tensors in the checkpoints of other code.

    Args:
        streams: prefix of the names of the backbone tensors, for each stream.
        classifier: prefix of the names of the weight and the bias of the classifier.
        pooling: the preset in `bilinear.presets` that the classifier was trained with.
        backbones: the named backbones of the code, pairs for two streams; the default is the first.
        numbered: backbone layers have their index in one `nn.Sequential`, not torchvision's names.
        order: order of the features, as in `permute_classifier`.
        preprocessing: preprocessing of the test images of the code.
        differs: why `BCNN` cannot compute the same as the code; empty if it can.
        constants: name -> shape of tensors that must exist and are not read.

    Raises: ValueError for an unknown order or preset, for a preset that has tensors or takes
        fewer maps than there are streams, or for a backbone of more streams than `streams`.
    """

    streams: tuple[str, ...]
    classifier: str
    pooling: str
    backbones: tuple[Backbones, ...] = ("vgg16",)
    numbered: bool = True
    order: Order = "row-major"
    preprocessing: Preprocessing = Preprocessing()  # noqa: RUF009 - frozen
    differs: str = ""
    constants: Mapping[str, plans.Shape] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for backbone in self.backbones:
            if not 0 < len(backbone_names(backbone)) <= min(len(self.streams), len(STREAMS)):
                invariant = f"a backbone must have at most the {len(self.streams)} of streams"
                remedy = "Give streams a prefix for each, of two at most."
                refuse(ValueError, "Layout", invariant, repr(backbone), remedy)
        check_argument("Layout", "order", self.order, ORDER)
        name = presets.describe(self.pooling)["name"]
        pool = POOLS[name]
        if "channels" in pool.arguments:
            invariant = "pooling must be a preset without tensors"
            remedy = "Load such a checkpoint into a BCNN with that pool by assign()."
            refuse(ValueError, "Layout", invariant, repr(self.pooling), remedy)
        most = max(len(backbone_names(backbone)) for backbone in self.backbones)
        check_map_count("Layout", name, most, "Pass backbones of that many streams.")

    def names(self, backbone: Backbones) -> dict[str, str]:
        """Return {name in the checkpoint: canonical name}."""
        names = {
            prefix + self._layer(stream, name): f"{own}.{name}"
            for own, prefix, stream in zip(
                STREAMS, self.streams, backbone_names(backbone), strict=False
            )
            for name in plans.tensor_shapes(stream)
        }
        return names | {
            f"{self.classifier}{part}": f"classifier.{part}" for part in ("weight", "bias")
        }

    def fits(self, arrays: Mapping[str, object], backbone: Backbones) -> bool:
        """Whether these are the names of such a checkpoint."""
        return arrays.keys() == self.names(backbone).keys() | self.constants.keys()

    def shapes(self, backbone: Backbones, head: plans.Head) -> dict[str, plans.Shape]:
        """Return {name in the checkpoint: shape} of all its tensors."""
        first, second = (*backbone_names(backbone), None)[:2]
        own = plans.bcnn_shapes(first, second, head)
        return dict(self.constants) | {k: own[name] for k, name in self.names(backbone).items()}

    def _layer(self, backbone: str, name: str) -> str:
        if not self.numbered:
            return name
        groups = list(dict.fromkeys(_group(layer.name) for layer in plans.BACKBONES[backbone]))
        rest = name.removeprefix(f"{_group(name)}.")
        # the `features` of a VGG are themselves such an `nn.Sequential`
        return rest if len(groups) == 1 else f"{groups.index(_group(name))}.{rest}"


def _group(name: str) -> str:
    return name.partition(".")[0]


_EXTRACTORS = "feature_extractors.feature_extractors."

LAYOUTS = {
    "umass": Layout(
        (f"{_EXTRACTORS}0.model.", f"{_EXTRACTORS}1.model."),
        "fc.",
        "umass",
        backbones=("vgg16", ("vgg16", "vgg16")),
    ),
    "umass-improved": Layout(
        (f"{_EXTRACTORS}0.model.",),
        "fc.",
        "umass-improved",
        constants={"m_sqrt.I": (512, 512)},
    ),
    "umass-democratic": Layout((f"{_EXTRACTORS}0.model.",), "fc.", "democratic"),
    "haomood": Layout(("features.",), "fc.", "haomood"),
    "hawkeye": Layout(
        ("backbone.",),
        "classifier.",
        "hawkeye",
        preprocessing=Preprocessing(448, 512),
        differs="it pools behind pool5, at half the resolution of BCNN's vgg16",
    ),
    "fast-mpn-bcnn": Layout(
        ("features.",), "classifier.", "fast-mpn-bcnn", backbones=("vgg16", "resnet18")
    ),
}
"""The layouts that are known by name."""
