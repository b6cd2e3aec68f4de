"""The directory of a run: what it was told, what it saw, the best model, and where it is.

::

    recipe.json        what was asked for
    environment.json   what it ran on: packages, machine, settings of the framework
    data.json          how the validation part was cut, by `bilinear train`
    metrics.jsonl      one line an event
    events/            the same for TensorBoard, by `events`
    curves.png         the same drawn, by `curves`
    best.safetensors   the portable file of the best epoch, by validation
    phases/            the same of each phase
    state.safetensors  everything needed to go on

Files are replaced whole or not at all, and the state is written last: it knows how long the
metrics were, and going on cuts them to that. So the directory is whole after any death. Events
and curves follow from the metrics, and are made of them anew.
"""

import functools
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from .._files import LEFTOVERS, append, locked, replace_file
from ..contract import refuse
from ..models.checkpoint import MOMENTUM
from ..models.tensorfile import (
    check_finite,
    check_layout,
    open_tensors,
    spec,
    specs,
    write_tensors,
)
from .recipes import Recipe

ENTRY = "bilinear-run"
LOGGED = "phase", "step", "epoch"
"""The events of the metrics."""
_DAMAGED = "The run's files were changed by something else; restore them or start a new run."


@dataclass
class Progress:
    """Where a run is, as JSON carries it; floats survive that bit by bit."""

    recipe: str
    """The checksum of its recipe."""
    data: str = ""
    """The checksum of its data, if it was told one."""
    cache: str = ""
    """The views that it has cached, if any: they decide what is seen, and how it is rounded."""
    phase: int = 0
    epoch: int = 0
    """Of the phase."""
    passes: int = 0
    """Epochs of all phases: the number of the order in which images come."""
    batch: int = 0
    """The next one of the epoch."""
    step: int = 0
    """Of all phases."""
    loss: float = 0.0
    """Summed over the images that the epoch has seen so far."""
    images: int = 0
    history: list[list[float]] = field(default_factory=list)
    """Validation loss and accuracy of each epoch of the phase."""
    before: list[float] | None = None
    """The best of those of the phase before."""
    best: float | None = None
    """What is monitored, smaller is better, at the best epoch of all."""
    metrics: int = 0
    """Bytes of the metrics at this point."""


class Run:
    """The files of one directory. Errors are OSErrors that name the file."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.recipe = self.folder / "recipe.json"
        self.environment = self.folder / "environment.json"
        self.metrics = self.folder / "metrics.jsonl"
        self.events = self.folder / "events"
        self.curves = self.folder / "curves.png"
        self.best = self.folder / "best.safetensors"
        self.state = self.folder / "state.safetensors"

    def phase(self, number: int, name: str) -> Path:
        """The best model of a phase."""
        return self.folder / "phases" / f"{number + 1}-{name}.safetensors"

    def exists(self) -> bool:
        return self.recipe.exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """That no other process works here. Raises: BlockingIOError where one does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / "lock"))
            except BlockingIOError:
                remedy = "Wait for it to end, or stop it."
                invariant = "a run must be of one process"
                refuse(BlockingIOError, "train", invariant, f"{self.folder} in use", remedy)
            yield

    def start(self, recipe: Recipe, environment: Mapping[str, Any]) -> None:
        """Make the directory. Raises: FileExistsError where there is a run already."""
        if self.exists():
            remedy = "Resume it, or name another directory."
            refuse(FileExistsError, "train", "a run needs a directory", f"{self.folder}", remedy)
        (self.folder / "phases").mkdir(parents=True, exist_ok=True)
        _write_text(self.environment, json.dumps(environment, indent=2, sort_keys=True) + "\n")
        self.metrics.write_bytes(b"")
        _write_text(self.recipe, recipe.to_json())

    def differing(self, environment: Mapping[str, Any]) -> list[str]:
        """What of an environment is not as it was when the run was begun."""
        old = json.loads(self.environment.read_text(encoding="utf-8"))
        new = json.loads(json.dumps(environment))
        return [key for key in new if old.get(key) != new[key]]

    def sweep(self) -> None:
        """Remove what a killed process was writing when it ended."""
        for folder in self.folder, self.folder / "phases":
            for path in (path for pattern in LEFTOVERS for path in folder.glob(pattern)):
                path.unlink(missing_ok=True)

    def log(self, event: Mapping[str, Any]) -> None:
        """One more line of the metrics, handed to the system before this returns."""
        line = json.dumps(event, allow_nan=False, separators=(",", ":"))
        append(self.metrics, line.encode() + b"\n")

    def logged(self) -> list[dict[str, Any]]:
        """The events of the metrics."""
        return [json.loads(line) for line in self.metrics.read_bytes().splitlines()]

    def save(
        self,
        progress: Progress,
        tensors: Mapping[str, np.ndarray],
        buffers: Mapping[str, np.ndarray],
    ) -> None:
        """Write the state, the metrics up to here brought to the disk before it.

        Raises: ValueError for a tensor that is not finite: the state before it is still there.
        """
        op = f"save {self.state}"
        with open(self.metrics, "rb+") as file:
            os.fsync(file.fileno())
            progress.metrics = file.seek(0, os.SEEK_END)
        content = dict(tensors) | {MOMENTUM + name: array for name, array in buffers.items()}
        for name, array in content.items():
            _finite(op, name, array)
        data = json.dumps(asdict(progress), allow_nan=False)
        write_tensors(op, self.state, content, {ENTRY: data})

    def load(
        self, like: Mapping[str, np.ndarray], start: Progress
    ) -> tuple[Progress, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The last state of a run that began at `start`; the metrics are cut to it.

        Args:
            like: tensors of the names, shapes and dtypes of the model's.

        Raises: ValueError that names the file, for one that is damaged or of another model,
            recipe or data.
        """
        op = f"resume {self.folder}"
        with open_tensors(self.state, op) as file:
            progress = _progress(op, (file.metadata() or {}).get(ENTRY))
            for what, by in ("recipe", "checksum"), ("data", "checksum"), ("cache", "views"):
                own, given = getattr(progress, what), getattr(start, what)
                if own != given:
                    invariant = f"the {what} must be that of the run, of {by} {own!r}"
                    remedy = "A changed one needs a run of its own."
                    refuse(ValueError, op, invariant, repr(given), remedy)
            found = {k: v for k, v in specs(file).items() if not k.startswith(MOMENTUM)}
            check_layout(op, found, {k: spec(v) for k, v in like.items()}, _DAMAGED)
            names = [MOMENTUM + name for name in like]
            kept = [name for name in names if name in specs(file)]
            tensors = {name: _finite(op, name, file.get_tensor(name)) for name in like}
            buffers = {
                name.removeprefix(MOMENTUM): check_finite(op, name, file.get_tensor(name))
                for name in kept
            }
        with open(self.metrics, "rb+") as file:
            length = file.seek(0, os.SEEK_END)
            if length < progress.metrics:
                received = f"{length} bytes"
                invariant = f"{self.metrics.name} must have at least {progress.metrics} bytes"
                refuse(ValueError, op, invariant, received, _DAMAGED)
            file.truncate(progress.metrics)
        return progress, tensors, buffers


def tensors_of(path: Path, names: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of a portable file that a model has, too."""
    op = f"resume {path}"
    with open_tensors(path, op) as file:
        return {name: _finite(op, name, file.get_tensor(name)) for name in names}


def environment(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run depends on beside its recipe and data; `settings` are the engine's."""
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
    """Everything installed: which of it decides the numbers cannot be known."""
    found = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {name: found[name] for name in sorted(found, key=str) if name}


def _finite(op: str, name: str, array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind in "iu" else check_finite(op, name, array)


def _progress(op: str, text: str | None) -> Progress:
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
