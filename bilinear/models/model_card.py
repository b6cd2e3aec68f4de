"""The model card of a portable file: the ``README.md`` of its repository on the Hub."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..data.images import Preprocessing
from .hub_client import hub_client

NAMESPACES = {"torch": "PyTorch", "tensorflow": "TensorFlow", "jax": "JAX"}
TAGS = ["bilinear-pooling", "fine-grained-image-classification"]
TASK = "image-classification"


def model_card(
    repo_id: str,
    summary: Mapping[str, Any],
    *,
    accuracy: float | None = None,
    dataset: str | None = None,
    license: str | None = None,
) -> str:
    """Return the model card as Markdown, with its metadata as YAML at the beginning.

    Args:
        repo_id: name of the repository.
        summary: of the file, by `summarize`.
        accuracy: fraction of correct predictions, from 0 to 1; None leaves the section out.
        dataset: name of the data on which it was measured. With both, the metadata has them too.
        license: identifier of the license of the model, for example ``"apache-2.0"``.
    """
    hub = hub_client("push_to_hub")
    name = repo_id.rsplit("/", maxsplit=1)[-1]
    results = None
    if accuracy is not None and dataset is not None:
        measured = {"metric_type": "accuracy", "metric_value": accuracy}
        data = {"dataset_type": dataset, "dataset_name": dataset}
        results = [hub.EvalResult(task_type=TASK, **data, **measured)]
    metadata = hub.ModelCardData(
        library_name="bilinear",
        pipeline_tag=TASK,
        tags=TAGS,
        license=license,
        metrics=None if accuracy is None else ["accuracy"],
        model_name=name if results else None,
        eval_results=results,
    )
    classes = f"{summary['num_classes']:,} classes"
    sections = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {name}",
        f"A bilinear CNN that classifies images into {classes}, written by bilinear "
        f"{summary['library_version']}.",
        *_use(repo_id, summary),
        "## Model",
        _table(summary),
        "## Preprocessing",
        _preprocessing(summary["preprocessing"]),
        "## Classes",
        _classes(summary["classes"], classes),
    ]
    if accuracy is not None:
        where = "" if dataset is None else f" on {dataset}"
        text = f"{100 * accuracy:.4g} % of the predictions{where} are correct."
        sections += ["## Accuracy", text]
    if license is not None:
        sections += ["## License", f"The license of this model is `{license}`."]
    return "\n\n".join(sections) + "\n"


def _use(repo_id: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """How to load the model in each framework that can."""
    custom = {k: summary[k] for k in ("backbone", "backbone_b") if isinstance(summary[k], dict)}
    only = {stream["framework"] for stream in custom.values()}
    where = "every framework, with the same logits up to rounding"
    if only:
        where = f"{NAMESPACES[min(only)]} only"
    extras = " or ".join(f"`bilinear[{name}]`" for name in NAMESPACES if not only or name in only)
    yield "## Use"
    yield f"Install {extras} by pip. The file opens in {where}."
    given = "".join(f", {key}=module" for key in custom)  # modules of the same architecture
    image = "images"
    if summary["preprocessing"] is not None and summary["in_channels"] in (1, 3):
        image = 'load_image("image.jpg", model.preprocessing)'
    imported = "from_pretrained" + (", load_image" if image != "images" else "")
    for namespace, title in NAMESPACES.items():
        if not only or namespace in only:
            yield (
                f"```python\n# {title}\nfrom bilinear.{namespace} import {imported}\n\n"
                f'model = from_pretrained("{repo_id}"{given})\n'
                f"logits = model({image})"
                f"  # (N, {summary['num_classes']}), in the order of the classes\n```"
            )
    if custom:
        yield f"{' and '.join(custom)} must be a module with the architecture named below."


def _table(summary: Mapping[str, Any]) -> str:
    rows = {
        "backbone": _stream(summary["backbone"]),
        "second backbone": _stream(summary["backbone_b"]),
        "feature maps": summary["taps"] and ", ".join(f"`{tap}`" for tap in summary["taps"]),
        "projection": summary["projection"] and f"to {summary['projection']:,} channels",
        "pooling": f"`{_call(summary['pooling'])}`",
        "descriptor": f"{summary['descriptor_size']:,} values",
        "parameters": f"{summary['parameters']['total']:,}",
        "dtype": summary["dtype"],
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value is not None]
    return "\n".join(["| part | value |", "|---|---|", *lines])


def _stream(stream: Any) -> str | None:
    if isinstance(stream, dict):
        return f"`{stream['name']}`, a custom module of {stream['framework']}"
    return stream and f"`{stream}`"


def _call(pooling: Mapping[str, Any]) -> str:
    """The pool as the call that makes it."""
    arguments = (
        f"{key}={_call(value) if isinstance(value, Mapping) else repr(value)}"
        for key, value in pooling.items()
        if key != "name"
    )
    return f"{pooling['name']}({', '.join(arguments)})"


def _preprocessing(data: Mapping[str, Any] | None) -> str:
    if data is None:
        return "The file does not record it. Prepare images as in training."
    given = Preprocessing.from_dict(data)
    height, width = given.shape
    side = "each side" if given.square else "the shorter side"
    length = "the smallest size that covers the crop"
    length = length if given.resize is None else f"{given.resize} pixels"
    return (
        f"Resize {side} of the image to {length}, and crop {height} × {width} pixels at its "
        "center. Scale the values to [0, 1], subtract the mean and divide by the standard "
        f"deviation of each channel:\n\n- mean: {_numbers(given.mean)}\n- standard deviation: "
        f"{_numbers(given.std)}"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _classes(names: tuple[str, ...] | None, count: str) -> str:
    if names is None:
        return f"{count}, whose names the file does not record."
    # JSON escapes line breaks, and a line that begins with a number cannot end the block
    lines = (f"{i} {json.dumps(name, ensure_ascii=False)[1:-1]}" for i, name in enumerate(names))
    return "\n".join(["```text", *lines, "```"])
