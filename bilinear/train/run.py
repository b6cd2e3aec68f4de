"""The directory of a run.

::

    recipe.json        the recipe
    environment.json   packages, machine, settings of the framework
    data.json          how the validation split was made, by `bilinear train`
    command.json       its other options
    images.json        checksum of each image file, by `fit`
    images.cache       the same with sizes and times, by which unchanged files are recognized
    metrics.jsonl      one event in each line, see `events`
    events/            the metrics for TensorBoard, by `tensorboard_log`
    curves.png         the metrics as a figure, by `curves`
    best.safetensors   portable file of the best epoch, by validation
    last.safetensors   portable file of the last epoch, when the run has ended
    phases/            portable file of the best epoch of each phase
    state.safetensors  everything that resuming needs, with its checksum

Files are replaced whole or not at all. The state is written last and records the length of the
metrics; resuming truncates them to it. So the directory is consistent after a kill at any time.
TensorBoard's events and the curves are rebuilt from the metrics.
"""

import functools
import hashlib
import json
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from .._files import (
    LEFTOVERS,
    append,
    file_checksum,
    name_in_errors,
    open_regular,
    read_regular,
    write_text,
)
from .._json import format_json, parse_json, read_json
from ..contract import refuse
from ..models.tensorfile import check_finite, check_layout, open_tensors, spec, write_tensors
from .checksums import ImageFiles, tensors_checksum
from .differences import differences
from .events import Metric, decode, encode
from .locks import exclusive_lock, folder_lock
from .progress import DAMAGED, Progress, decode_progress
from .recipes import Recipe

ENTRY = "bilinear-run"
BUFFERS = ("momentum.", "exp_avg.", "exp_avg_sq.", "step.", "average.")
"""The beginnings of the names of an engine's buffers."""


class Run:
    """The files of one run. Errors name the file; resuming compares `files` if they are given."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.files: ImageFiles | None = None
        self.folder = Path(folder)
        self.recipe = self.folder / "recipe.json"
        self.environment = self.folder / "environment.json"
        self.images = self.folder / "images.json"
        self.images_cache = self.folder / "images.cache"
        self.metrics = self.folder / "metrics.jsonl"
        self.events = self.folder / "events"
        self.curves = self.folder / "curves.png"
        self.best = self.folder / "best.safetensors"
        self.last = self.folder / "last.safetensors"
        self.state = self.folder / "state.safetensors"
        self._check_lock: Callable[[], None] = lambda: None

    def best_of_phase(self, index: int, name: str) -> Path:
        return self.folder / "phases" / f"{index + 1}-{name}.safetensors"

    def outputs(self, recipe: Recipe) -> list[Path]:
        """The files that training this recipe writes or replaces, except ``recipe.json``."""
        phases = [self.best_of_phase(i, phase.name) for i, phase in enumerate(recipe.phases)]
        files = [self.environment, self.images, self.images_cache, self.metrics, self.curves]
        files += [self.best, self.last, self.state]
        return files + phases

    def exists(self) -> bool:
        return self.recipe.exists()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the exclusive lock. Raises: BlockingIOError; in `save` OSError if it was deleted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(folder_lock(self.folder))  # also if the file is deleted
                self._check_lock = stack.enter_context(exclusive_lock(self.folder / "lock"))
            except BlockingIOError:
                invariant = "a run must be used by one process at a time"
                remedy = "Wait for the other process to end, or stop it."
                refuse(BlockingIOError, "train", invariant, f"{self.folder} in use", remedy)
            yield

    def create(
        self, recipe: Recipe, environment: Mapping[str, Any], *, again: bool = False
    ) -> None:
        """Make the directory. Raises: FileExistsError if it has a run already, except with `again`,
        for a run that was killed before its first state."""
        if self.exists() and not again:
            remedy = "Resume the run (--resume, resume=True), or choose another folder."
            invariant = "the folder of a new run must not contain a run"
            refuse(FileExistsError, "train", invariant, f"{self.folder}", remedy)
        (self.folder / "phases").mkdir(parents=True, exist_ok=True)
        write_text(self.environment, format_json(environment, indent=2, sort_keys=True) + "\n")
        if self.files:
            self.files.write(self.images)
        write_text(self.metrics, "")
        write_text(self.recipe, recipe.to_json())

    def resume(
        self,
        environment: Mapping[str, Any],
        like: Mapping[str, np.ndarray],
        start: Progress,
        recipe: Recipe,
    ) -> tuple[Progress, dict[str, np.ndarray], dict[str, np.ndarray]] | None:
        """`load` in an environment, with a warning if it is another one; None without a state."""
        self.remove_leftovers()
        if not self.state.exists():
            return None
        if differences := self.differences(environment):
            text = f"{self.folder} was started elsewhere ({'; '.join(differences)})"
            warnings.warn(f"{text}: its end will not be bit-identical", stacklevel=7)
        return self.load(like, start, recipe)

    def differences(self, environment: Mapping[str, Any]) -> list[str]:
        """The fields of an environment that differ from those when the run was created."""
        op = f"resume {self.folder}"
        old, new = read_json(op, self.environment, DAMAGED), parse_json(format_json(environment))
        if not isinstance(old, dict):
            invariant = f"{self.environment} must have a JSON object"
            refuse(ValueError, op, invariant, type(old).__name__, DAMAGED)
        return differences({key: old.get(key) for key in new}, new)

    def remove_leftovers(self) -> None:
        """Remove the temporary files of a killed process."""
        for folder in self.folder, self.folder / "phases":
            for path in (path for pattern in LEFTOVERS for path in folder.glob(pattern)):
                path.unlink(missing_ok=True)

    def log(self, event: Metric) -> None:
        """Append a line to the metrics; it has reached the operating system on return."""
        append(self.metrics, encode(event).encode() + b"\n")

    def read_metrics(self) -> list[Metric]:
        """The events so far. Raises: OSError; ValueError that names the file and the line."""
        events = []
        for number, line in enumerate(read_regular(self.metrics).splitlines(), 1):
            try:
                events.append(decode(line))
            except ValueError as error:
                invariant = f"line {number} of {self.metrics} must be an event of the run"
                refuse(ValueError, f"resume {self.folder}", invariant, f"{error}"[:200], DAMAGED)
        return events

    def save(
        self,
        progress: Progress,
        tensors: Mapping[str, np.ndarray],
        buffers: Mapping[str, np.ndarray],
    ) -> None:
        """Write the state, after the metrics. Raises: ValueError for a tensor with NaN or inf."""
        op = f"save {self.state}"
        self._check_lock()
        with open_regular(self.metrics, "rb+") as file, name_in_errors(self.metrics):
            os.fsync(file.fileno())
            metrics = file.read()
        progress.metrics, progress.metrics_checksum = len(metrics), _sha256(metrics)
        content = dict(tensors) | dict(buffers)
        for name, array in content.items():
            _check_finite(op, name, array)
        progress.checksum = _checksum(progress, content)
        write_tensors(op, self.state, content, {ENTRY: format_json(asdict(progress))})

    def load(
        self, like: Mapping[str, np.ndarray], start: Progress, recipe: Recipe
    ) -> tuple[Progress, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The last state, to which the metrics are truncated; `start` is that of a new run.

        Raises: ValueError that names the file, for a state that is damaged or of another model,
            recipe, data or cache, and for images that changed after the run had read them.
        """
        op = f"resume {self.folder}"
        with open_tensors(self.state, op) as file:
            progress = decode_progress(op, (file.metadata() or {}).get(ENTRY))
            for what, by in ("recipe", "checksum"), ("data", "checksum"), ("cache", "views"):
                saved, given = getattr(progress, what), getattr(start, what)
                if saved != given:
                    invariant = f"the {what} must be that of the run, of {by} {saved!r}"
                    received = "; ".join(self._differences(op, what, recipe)) or repr(given)
                    remedy = f"Resume with the same {what}, or start a new run."
                    refuse(ValueError, op, invariant, received, remedy)
            saved = file.specs()
            found = {k: v for k, v in saved.items() if not k.startswith(BUFFERS)}
            check_layout(op, found, {k: spec(v) for k, v in like.items()}, DAMAGED)
            content = {name: _check_finite(op, name, file.get_tensor(name)) for name in saved}
        if (found := _checksum(progress, content)) != progress.checksum:
            invariant = f"{self.state} must have the checksum {progress.checksum}"
            refuse(ValueError, op, invariant, found, DAMAGED)
        progress.check(op, recipe.phases)
        metrics = read_regular(self.metrics)[: progress.metrics]
        if _sha256(metrics) != progress.metrics_checksum:
            invariant = f"{self.metrics} must begin with the metrics of the run"
            refuse(ValueError, op, invariant, f"{len(metrics)} other bytes", DAMAGED)
        if self.files:
            self.files.check(op, self.images, progress)
        os.truncate(self.metrics, progress.metrics)
        buffers = {name: content.pop(name) for name in saved.keys() - like.keys()}
        return progress, content, buffers

    def _differences(self, op: str, what: str, recipe: Recipe) -> list[str]:
        """What differs in the recipe or in the data; empty if it is unknown."""
        if what == "recipe":
            return differences(read_json(op, self.recipe, DAMAGED), json.loads(recipe.to_json()))
        return self.files.differences(op, self.images) if self.files and what == "data" else []


def read_tensors(
    path: Path, names: Mapping[str, Any], checksum: str | None = None
) -> dict[str, np.ndarray]:
    """These tensors of a portable file. Raises: ValueError for a file with another checksum."""
    op = f"resume {path}"
    if checksum is not None and (found := file_checksum(path)) != checksum:
        refuse(ValueError, op, f"the file must have the checksum {checksum}", found, DAMAGED)
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


def _checksum(progress: Progress, tensors: Mapping[str, np.ndarray]) -> str:
    text = format_json(asdict(replace(progress, checksum="")))
    return _sha256((text + tensors_checksum(tensors)).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
