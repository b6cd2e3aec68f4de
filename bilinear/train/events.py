"""The metrics of a run as TensorBoard reads them: an event for each line, so that they agree.

    step      loss/step, and rate/PART of each group
    epoch     loss/training, loss/validation and accuracy/validation, at its last step
    phase     its name and how many tensors it trains, as text, at the last step before it

Steps are those of all phases, numbers float32. What the folder of events holds is removed when a
process takes up the run, and written anew of the metrics as they are then: a line that was cut
off has no event. The times are those of writing.

`tensorboard` has a writer of whole files too, but that imports TensorFlow wherever it is
installed, and tells of a full disk minutes later, from a thread of its own.
"""

import io
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
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
            append(self._path, self._record(event))

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
        records += [self._record(event) for event in self._run.logged()]
        path = folder / f"{PREFIX}{time.time_ns()}"
        append(path, b"".join(records))
        return path

    def _record(self, event: Mapping[str, Any]) -> bytes:
        self._step = event.get("step", self._step)
        values = list(_values(event, self._parts[event["phase"]]))
        return _record(Event(step=self._step, summary=Summary(value=values)))


def _values(event: Mapping[str, Any], parts: list[str]) -> Iterator[Summary.Value]:
    """What there is to say of an event of the metrics, in a phase that trains these parts."""
    if event["event"] == "phase":
        yield _text("phase", f"{event['phase']}: {event['trained']} tensors are trained")
    elif event["event"] == "step":
        yield Summary.Value(tag="loss/step", simple_value=event["loss"])
        for part, rate in zip(parts, event["rates"], strict=True):
            yield Summary.Value(tag=f"rate/{part}", simple_value=rate)
    else:
        for measure in ("training_loss", "validation_loss", "validation_accuracy"):
            part, _, name = measure.partition("_")
            yield Summary.Value(tag=f"{name}/{part}", simple_value=event[measure])


def _text(tag: str, text: str) -> Summary.Value:
    plugin = SummaryMetadata.PluginData(plugin_name="text")
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
    return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin), tensor=tensor)


def _record(event: Event) -> bytes:
    """With its length and checksums, as files have it."""
    event.wall_time = time.time()
    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()
