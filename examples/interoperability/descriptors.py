"""scikit-learn on descriptors, which needs no framework."""

from typing import Any

import numpy as np

from bilinear.reference import bilinear_pool

from . import CLASSES, check, compare


@check("`StandardScaler`, `PCA` and `LinearSVC` on descriptors, and as one linear layer")
def sklearn_pipeline(sklearn: Any) -> str:
    from sklearn.decomposition import PCA  # type: ignore[import] # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # type: ignore[import] # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # type: ignore[import] # noqa: PLC0415
    from sklearn.svm import LinearSVC  # type: ignore[import] # noqa: PLC0415

    labels = np.arange(30) % CLASSES
    maps = np.random.default_rng(0).normal(size=(30, 20, 6))
    maps[:, :, :CLASSES] *= 1 + 4 * np.eye(CLASSES)[labels][:, None]
    full, packed = bilinear_pool(maps), bilinear_pool(maps, packed=True)
    components = [np.abs(PCA(8).fit_transform(x)) for x in (full, packed)]  # without their signs
    pipeline = make_pipeline(StandardScaler(), PCA(8), LinearSVC()).fit(full, labels)
    scale, pca, svm = (step for _, step in pipeline.steps)
    projected = svm.coef_ @ pca.components_
    weight = projected / scale.scale_
    bias = svm.intercept_ - projected @ pca.mean_ - weight @ scale.mean_
    scores = compare(full @ weight.T + bias, pipeline.decision_function(full), 1e-9)
    assert pipeline.score(full, labels) > 0.9
    distance = compare(*components, tolerance=1e-9)
    return f"components of packed and full descriptors: {distance}; scores of the layer: {scores}"
