"""ONNX files and programs of `torch.export` of a PyTorch B-CNN."""

import importlib
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from ...data.images import Preprocessing
from .bcnn import BCNN
from .framework import from_numpy

METADATA = "bilinear"
"""Key in the ``metadata_props`` of an ONNX file, and name of the ``.json`` in a program."""


class _OfPixels(nn.Module):
    """A model of pixels, (N, H, W, 3) uint8."""

    def __init__(self, model: BCNN, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        for name in "mean", "std":
            values = torch.tensor(getattr(preprocessing, name))
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() / 255 - self.mean) / self.std  # pyright: ignore[reportOperatorIssue]
        return self.model(x.permute(0, 3, 1, 2))


def write(
    model: BCNN,
    path: str,
    form: str,
    images: np.ndarray,
    preprocessing: Preprocessing | None,
    metadata: str,
) -> None:
    """Write a program for any batch size, with the size of the example `images`."""
    whole = model.cpu().eval()
    if preprocessing is not None:
        whole = _OfPixels(whole, preprocessing)
    given, sizes = (_to_tensor(images),), ({0: torch.export.Dim("batch")},)
    if form == "torch.export":
        # strict, the default of older releases, makes the sizes constants in PyTorch 2.6
        program = torch.export.export(whole, given, dynamic_shapes=sizes, strict=False)
        with open(path, "wb") as file:
            torch.export.save(program, file, extra_files={f"{METADATA}.json": metadata})
        return
    with warnings.catch_warnings(action="ignore"):  # of the exporter about itself
        onnx = torch.onnx.export(
            whole,
            given,
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=sizes,
            verbose=False,
        )
        assert onnx is not None
        onnx.model.metadata_props[METADATA] = metadata
        onnx.save(path, external_data=False)


def run(path: str, form: str, images: np.ndarray) -> np.ndarray:
    """The logits of an exported model."""
    x = _to_tensor(images)
    if form == "torch.export":
        with open(path, "rb") as file, torch.inference_mode():
            return torch.export.load(file).module()(x).numpy()
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": x.numpy()})[0]


def _to_tensor(images: np.ndarray) -> Tensor:
    """Normalized images with channels first; pixels as they are."""
    x = from_numpy(images)
    return x if images.dtype == np.uint8 else x.movedim(-1, 1).contiguous()
