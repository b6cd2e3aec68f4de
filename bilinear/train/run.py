"""The directory of a run.

::

    recipe.json        the recipe
    environment.json   packages, machine, settings of the framework
    data.json          how the validation split was made, by `bilinear train`
    metrics.jsonl      one event in each line, see `events`
    events/            the metrics for TensorBoard, by `tensorboard_log`
    curves.png         the metrics as a figure, by `curves`
    best.safetensors   portable file of the best epoch, by validation
    phases/            portable file of the best epoch of each phase
    state.safetensors  everything that resuming needs

Files are replaced whole or not at all. The state is written last and records the length of the
metrics; resuming truncates them to it. So the directory is consistent after a kill at any time.
TensorBoard's events and the curves are rebuilt from the metrics.
"""

import functools
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from .._files import LEFTOVERS, append, replace_file
from ..contract import refuse
from ..models.checkpoint import MOMENTUM
from ..models.tensorfile import check_finite, check_layout, open_tensors, spec, specs, write_tensors
from .events import Metric, decode, encode
from .locks import exclusive_lock
from .recipes import Recipe

ENTRY = "bilinear-run"
_DAMAGED = "Another program changed the files of the run; restore them or start a new run."


@dataclass
class Progress:
    """The state of a run beside its tensors, as JSON, which keeps floats bit by bit."""

    recipe: str
    """Checksum of the recipe."""
    data: str = ""
    """Checksum of the data, empty if none was given."""
    cache: str = ""
    """The `views` of the cache, if any: they decide which images the model sees."""
    phase: int = 0
    epoch: int = 0
    """In the phase."""
    passes: int = 0
    """Epochs of all phases; decides the order of the images."""
    batch: int = 0
    """The next batch of the epoch."""
    step: int = 0
    """Of all phases."""
    loss: float = 0.0
    """Sum over the images of the epoch so far."""
    images: int = 0
    history: list[list[float]] = field(default_factory=list)
    """Validation loss and accuracy of each epoch of the phase."""
    before: list[float] | None = None
    """The best of those of the phase before."""
    best: float | None = None
    """The monitored measure of the best epoch so far, smaller is better."""
    metrics: int = 0
    """Bytes of the metrics."""


class Run:
    """The files of one run. Errors are OSErrors that name the file."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.recipe = self.folder / "recipe.json"
        self.environment = self.folder / "environment.json"
        self.metrics = self.folder / "metrics.jsonl"
        self.events = self.folder / "events"
        self.curves = self.folder / "curves.png"
        self.best = self.folder / "best.safetensors"
        self.state = self.folder / "state.safetensors"
        self._check_lock: Callable[[], None] = lambda: None

    def best_of_phase(self, index: int, name: str) -> Path:
        return self.folder / "phases" / f"{index + 1}-{name}.safetensors"

    def exists(self) -> bool:
        return self.recipe.exists()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the exclusive lock. Raises: BlockingIOError; in `save` OSError if it was deleted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                self._check_lock = stack.enter_context(exclusive_lock(self.folder / "lock"))
            except BlockingIOError:
                invariant = "a run must be used by one process at a time"
                remedy = "Wait for the other process to end, or stop it."
                refuse(BlockingIOError, "train", invariant, f"{self.folder} in use", remedy)
            yield

    def create(self, recipe: Recipe, environment: Mapping[str, Any]) -> None:
        """Make the directory. Raises: FileExistsError where it has a run already."""
        if self.exists():
            remedy = "Resume it, or choose another directory."
            invariant = "a new run needs a directory without one"
            refuse(FileExistsError, "train", invariant, f"{self.folder}", remedy)
        (self.folder / "phases").mkdir(parents=True, exist_ok=True)
        _write_text(self.environment, json.dumps(environment, indent=2, sort_keys=True) + "\n")
        self.metrics.write_bytes(b"")
        _write_text(self.recipe, recipe.to_json())

    def differences(self, environment: Mapping[str, Any]) -> list[str]:
        """The entries of an environment that differ from those when the run was created."""
        old = json.loads(self.environment.read_text(encoding="utf-8"))
        new = json.loads(json.dumps(environment))
        return [key for key in new if old.get(key) != new[key]]

    def remove_leftovers(self) -> None:
        """Remove the temporary files of a killed process."""
        for folder in self.folder, self.folder / "phases":
            for path in (path for pattern in LEFTOVERS for path in folder.glob(pattern)):
                path.unlink(missing_ok=True)

    def log(self, event: Metric) -> None:
        """Append a line to the metrics; it has reached the operating system on return."""
        append(self.metrics, encode(event).encode() + b"\n")

    def read_metrics(self) -> list[Metric]:
        return [decode(line) for line in self.metrics.read_bytes().splitlines()]

    def save(
        self,
        progress: Progress,
        tensors: Mapping[str, np.ndarray],
        buffers: Mapping[str, np.ndarray],
    ) -> None:
        """Write the state, after the metrics. Raises: ValueError for a tensor with NaN or inf."""
        op = f"save {self.state}"
        self._check_lock()
        with open(self.metrics, "rb+") as file:
            os.fsync(file.fileno())
            progress.metrics = file.seek(0, os.SEEK_END)
        content = dict(tensors) | {MOMENTUM + name: array for name, array in buffers.items()}
        for name, array in content.items():
            _check_finite(op, name, array)
        data = json.dumps(asdict(progress), allow_nan=False)
        write_tensors(op, self.state, content, {ENTRY: data})

    def load(
        self, like: Mapping[str, np.ndarray], start: Progress
    ) -> tuple[Progress, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The last state, to which the metrics are truncated; `start` is that of a new run.

        Raises: ValueError that names the file, for a state that is damaged or of another model,
            recipe, data or cache.
        """
        op = f"resume {self.folder}"
        with open_tensors(self.state, op) as file:
            progress = _decode_progress(op, (file.metadata() or {}).get(ENTRY))
            for what, by in ("recipe", "checksum"), ("data", "checksum"), ("cache", "views"):
                saved, given = getattr(progress, what), getattr(start, what)
                if saved != given:
                    invariant = f"the {what} must be that of the run, of {by} {saved!r}"
                    remedy = f"Resume with the same {what}, or start a new run."
                    refuse(ValueError, op, invariant, repr(given), remedy)
            saved = specs(file)
            found = {k: v for k, v in saved.items() if not k.startswith(MOMENTUM)}
            check_layout(op, found, {k: spec(v) for k, v in like.items()}, _DAMAGED)
            tensors = {name: _check_finite(op, name, file.get_tensor(name)) for name in like}
            buffers = {
                name: check_finite(op, MOMENTUM + name, file.get_tensor(MOMENTUM + name))
                for name in like
                if MOMENTUM + name in saved
            }
        with open(self.metrics, "rb+") as file:
            length = file.seek(0, os.SEEK_END)
            if length < progress.metrics:
                invariant = f"{self.metrics.name} must have at least {progress.metrics} bytes"
                refuse(ValueError, op, invariant, f"{length} bytes", _DAMAGED)
            file.truncate(progress.metrics)
        return progress, tensors, buffers


def read_tensors(path: Path, names: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """These tensors of a portable file."""
    op = f"resume {path}"
    with open_tensors(path, op) as file:
        return {name: _check_finite(op, name, file.get_tensor(name)) for name in names}


def describe_environment(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run depends on beside its recipe and data; `settings` are those of the engine."""
    return {
        "bilinear": __version__,
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": _packages(),
        "engine": dict(settings),
    }


@functools.cache
def _packages() -> dict[str, str]:
    """Every installed package: which of them affect the results is unknown."""
    found = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {name: found[name] for name in sorted(found, key=str) if name}


def _check_finite(op: str, name: str, array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind in "iu" else check_finite(op, name, array)


def _decode_progress(op: str, text: str | None) -> Progress:
    try:
        data = json.loads(text or "")
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.keys() != {f.name for f in fields(Progress)}:
        refuse(ValueError, op, "the state must be one of this version", f"{text}"[:80], _DAMAGED)
    return Progress(**data)


def _write_text(path: Path, text: str) -> None:
    with replace_file(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
