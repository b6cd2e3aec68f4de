"""The metrics of a run as TensorBoard reads them: an event for each line, so that they agree.

    step      loss/step, and rate/PART of each group
    epoch     loss/training, loss/validation and accuracy/validation, at its last step
    phase     phase, its number from 1 up, at the last step before it

Steps are those of all phases, numbers float32. What the folder of events holds is removed when a
process takes up the run, and written anew of the metrics as they are then: a line that was cut
off has no event. The times are those of writing.

`tensorboard` has a writer of whole files too, but that imports TensorFlow wherever it is
installed, and tells of a full disk minutes later, from a thread of its own.
"""

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore
from tensorboard.summary.writer.record_writer import RecordWriter

from .._files import append
from .recipes import Recipe
from .run import Run

PREFIX = "events.out.tfevents."
"""Of the names by which TensorBoard knows its files; it reads them in alphabetical order."""


class Events:
    """Called with each event once it is in the metrics.

    Raises: OSError naming the file; the run can be resumed.
    """

    def __init__(self, run: Run, recipe: Recipe) -> None:
        self._run = run
        self._parts = {phase.name: [g.part for g in phase.groups] for phase in recipe.phases}
        self._path: Path | None = None
        self._step = 0

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self._path is None:
            self._path = self._begun()  # of this event too, which the metrics hold already
        else:
            append(self._path, self.record(event))

    def finish(self) -> None:
        """Write the events of a run that was at its end, too: who ended it may not have."""
        if self._path is None:
            self._path = self._begun()

    def _begun(self) -> Path:
        """A file of all metrics so far, in the place of what there is."""
        folder = self._run.events
        folder.mkdir(exist_ok=True)
        for path in folder.glob(f"{PREFIX}*"):
            path.unlink()
        # A TensorBoard that looks on forgets at START what it has read of the file before
        start = Event(session_log=SessionLog(status=SessionLog.START))
        records = [_record(Event(file_version="brain.Event:2")), _record(start)]
        records += [self.record(event) for event in self._run.logged()]
        path = folder / f"{PREFIX}{time.time_ns()}"
        append(path, b"".join(records))
        return path

    def record(self, event: Mapping[str, Any]) -> bytes:
        """What a file has of it."""
        self._step = event.get("step", self._step)
        said = _values(event, self._parts)
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in said.items()]
        return _record(Event(step=self._step, summary=Summary(value=values)))


def _values(event: Mapping[str, Any], parts: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Tag -> number of an event of the metrics, where each phase trains some `parts`."""
    phase = event["phase"]
    if event["event"] == "phase":
        return {"phase": list(parts).index(phase) + 1}
    if event["event"] == "step":
        rates = zip(parts[phase], event["rates"], strict=True)
        return {"loss/step": event["loss"]} | {f"rate/{part}": rate for part, rate in rates}
    return {
        "loss/training": event["training_loss"],
        "loss/validation": event["validation_loss"],
        "accuracy/validation": event["validation_accuracy"],
    }


def _record(event: Event) -> bytes:
    """With its length and checksums, as files have it."""
    event.wall_time = time.time()
    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()
