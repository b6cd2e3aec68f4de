"""The metrics of a run for TensorBoard: one TensorBoard event for each line of the metrics.

Its values are those of `scalars`, in float32. Steps count over all phases. A process that continues
the run writes all events again from the metrics. TensorBoard's own writer of whole files imports
TensorFlow wherever that is installed, and reports a full disk minutes later, from its own thread.
"""

import io
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # pyright: ignore
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore
from tensorboard.summary.writer.record_writer import RecordWriter

from .._files import append
from .events import Metric, PhaseStarted
from .recipes import Recipe
from .run import Run
from .scalars import scalars

PREFIX = "events.out.tfevents."
"""Of the file names that TensorBoard recognizes; it reads them in alphabetical order."""


class TensorBoardLog:
    """Call it with each event after it was logged. Raises: OSError naming the file."""

    def __init__(self, run: Run, recipe: Recipe) -> None:
        self._run, self._recipe = run, recipe
        self._path: Path | None = None
        self._step = 0

    def __call__(self, event: Metric) -> None:
        if self._path is None:
            self.finish()  # writes this event too, which is in the metrics already
        else:
            append(self._path, self.encode(event))

    def finish(self) -> None:
        """Write the events so far; the first call replaces the files by one with all metrics."""
        if self._path is not None:
            return
        folder = self._run.events
        folder.mkdir(exist_ok=True)
        for path in folder.glob(f"{PREFIX}*"):
            path.unlink()
        # at START, a TensorBoard that is open discards what it has read before
        start = Event(session_log=SessionLog(status=SessionLog.START))
        records = [_encode(Event(file_version="brain.Event:2")), _encode(start)]
        records += [self.encode(event) for event in self._run.read_metrics()]
        path = folder / f"{PREFIX}{time.time_ns()}"
        append(path, b"".join(records))
        self._path = path

    def encode(self, event: Metric) -> bytes:
        """The record of an event."""
        if not isinstance(event, PhaseStarted):  # which has the last step before it
            self._step = event.step
        pairs = scalars(event, self._recipe).items()
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in pairs]
        return _encode(Event(step=self._step, summary=Summary(value=values)))


def _encode(event: Event) -> bytes:
    """A record with its length and checksums."""
    event.wall_time = time.time()
    buffer = io.BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()
