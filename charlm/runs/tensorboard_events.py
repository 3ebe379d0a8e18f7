"""Event files of TensorBoard, written by its own classes without TensorFlow and PyTorch."""

import io
from collections.abc import Mapping

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from charlm.results.metrics import RunScalars

FILE_VERSION = "brain.Event:2"  # first event of every file
FILE_NAME = "events.out.tfevents.0.charlm"
SETTINGS_TAG = "settings"


def render_events(run: RunScalars) -> bytes:
    """Return the event file of a run: its settings as text, and its scalars.

    A scalar without a time of its own has the last time that was recorded before it.
    """
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    time = run.started or 0.0
    events = [
        Event(wall_time=time, file_version=FILE_VERSION),
        Event(wall_time=time, step=0, summary=_settings_summary(run.settings)),
    ]
    for scalar in run.scalars:
        time = time if scalar.time is None else max(time, scalar.time)
        value = Summary.Value(tag=scalar.tag, simple_value=scalar.value)
        events.append(Event(wall_time=time, step=scalar.step, summary=Summary(value=[value])))
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()


def _settings_summary(settings: Mapping[str, str]) -> Summary:
    """Return the settings as a table of Markdown, which TensorBoard shows with its images."""
    rows = [f"| {name} | `{_code(value)}` |" for name, value in settings.items()]
    summary: Summary = text_pb(SETTINGS_TAG, "\n".join(["| setting | value |", "|---|---|", *rows]))
    return summary


def _code(text: str) -> str:
    """Return a text that stays inside of inline code, in a cell of a table."""
    return "".join(c if c.isprintable() and c not in "`|" else "\ufffd" for c in text)
