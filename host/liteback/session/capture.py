"""Run a model on a board with its tensors tapped; keep what it computed, and proof that no tap did harm."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from numpy.typing import NDArray

from liteback.errors import BoardUnreachable, ModelRefused, RunFailed, UsageError
from liteback.flatbuffer.tap import tap
from liteback.inputs import Inputs
from liteback.ir import Graph, Model
from liteback.recording import FORMAT, PLAIN, Certificate, Manifest, Recording, RecordingWriter, only_writer
from liteback.session.board import Board, RunOptions, RunSession
from liteback.session.plan import WORKER_BYTES, default_budget, plan
from liteback.session.plan import select as select_tensors
from liteback.tensorfile import digest
from liteback.words import counted
from liteback_proto import agent_pb2

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]  # runs done, runs in all, what is under way
Passes = tuple[tuple[int, ...], ...]
DEFAULT_OPTIONS = RunOptions()
Arrays = Mapping[int, NDArray[Any]]


def capture(
    board: Board,
    model: Model,
    model_bytes: bytes,
    inputs: Inputs,
    path: Path | str,
    options: RunOptions = DEFAULT_OPTIONS,
    select: str | Sequence[str] = (),
    budget: int | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Record the tensors of the main subgraph that `select` names, for every sample, into the folder `path`.

    The untouched model runs first, twice a sample; then each pass runs the tapped model. Every pass also
    reads the model's outputs. State is reset before each sample. Where `path` holds a part of the same
    recording, it goes on at the first run that is missing, and runs nothing where none is; so it does after the link
    to the board was cut.
    budget: bytes of tapped tensors a pass may hold on the board (default: see `plan.default_budget`). The
    certificate may be a bad one: the caller decides what follows.

    Raises:
        UsageError: no samples, a pattern that names nothing, or a `path` that holds something else, as a recording of
            other inputs.
        ModelRefused: the board's runtime does not take the model.
        RunFailed, BoardUnreachable: the session ended early; what is recorded is kept.
    """
    if not len(inputs):
        raise UsageError(f"A capture needs at least one sample. Received: {inputs.description}.")
    return board.persist(
        lambda: _capture(board, model, model_bytes, inputs, Path(path), options, select, budget, progress)
    )


def _capture(
    board: Board,
    model: Model,
    model_bytes: bytes,
    inputs: Inputs,
    path: Path,
    options: RunOptions,
    select: str | Sequence[str],
    budget: int | None,
    progress: Progress | None,
) -> Recording:
    """One attempt: as far as the link lasts."""
    selection = select_tensors(model.main, select)
    passes = _passes(model.main, selection.tensors, _budget(board.info, options) if budget is None else budget)
    if budget is None:
        passes = _passes_of(path, passes)
    sha256 = board.put_model(model_bytes)
    with ExitStack() as held:
        with _resumable(path), board.open(sha256, options, tensors=_unique(model.main.outputs)) as session:
            manifest = _manifest(board.info, session.ready, sha256, options, inputs, passes, selection.untappable)
            writer = _writer(path, model_bytes, manifest, held)
            if writer.manifest.certificate is not None:
                return _finished(Recording.open(path), inputs)
            steps = _Steps((1 + len(passes)) * len(inputs), progress)
            runs = _Runs(inputs, writer, _Evidence(model.main, passes), steps)
            try:
                runs.untouched(session, Recording.open(path))
            except ModelRefused:
                writer.discard_if_empty()  # which can never go on
                raise
        for number, tensors in enumerate(passes):
            missing = runs.recorded(number)
            if missing:
                patch = tap(model_bytes, tensors)
                with _resumable(path), board.open(sha256, options, tensors=tensors, patches=[patch]) as session:
                    runs.tapped(session, number, missing)
        return writer.finish(runs.evidence.certificate(len(inputs)))


@dataclass(frozen=True)
class _Runs:
    """The runs of a capture: each goes to the recording, to the evidence, and to the progress."""

    inputs: Inputs
    writer: RecordingWriter
    evidence: _Evidence
    steps: _Steps

    def untouched(self, session: RunSession, recorded: Recording) -> None:
        """Record each sample's inputs and the untouched model's outputs; run it again: does it repeat itself?"""
        for sample in range(len(self.inputs)):
            self.steps.next("untouched model", sample)
            values = self.inputs[sample]
            if self.writer.has(sample, PLAIN):
                _check_inputs(values, recorded.inputs(sample), sample)
                self.evidence.untouched(sample, self.writer.read(sample, PLAIN))
            else:
                step = session.invoke(sample, values)
                self.evidence.untouched(sample, step.tensors)
                self.writer.write_inputs(sample, values)
                self.writer.write(sample, PLAIN, step.tensors, step.invoke_ns)
            self.evidence.untouched_again(sample, session.invoke(sample, values).tensors)

    def recorded(self, number: int) -> list[int]:
        """Take what an earlier session recorded of a pass as evidence; the samples that are still to run."""
        missing = [sample for sample in range(len(self.inputs)) if not self.writer.has(sample, number)]
        for sample in sorted(set(range(len(self.inputs))).difference(missing)):
            self.steps.next("recorded earlier", sample)
            self.evidence.tapped(sample, self.writer.read(sample, number))
        return missing

    def tapped(self, session: RunSession, number: int, samples: Iterable[int]) -> None:
        for sample in samples:
            self.steps.next(f"pass {number + 1} of {len(self.writer.manifest.passes)}", sample)
            step = session.invoke(sample, self.inputs[sample])
            self.evidence.tapped(sample, step.tensors)
            self.writer.write(sample, number, step.tensors, step.invoke_ns)


def _finished(recording: Recording, inputs: Inputs) -> Recording:
    """A recording that has everything, if it is of these inputs. Raises: UsageError, where it is of others."""
    for sample in range(len(inputs)):
        _check_inputs(inputs[sample], recording.inputs(sample), sample)
    return recording


def _check_inputs(now: Arrays, then: Arrays, sample: int) -> None:
    if {i: digest(a) for i, a in now.items()} != {i: digest(a) for i, a in then.items()}:
        raise UsageError(
            "A recording keeps the inputs it was started with. "
            f"Received: other values for sample {sample}. Use the old inputs, or record into a new folder."
        )


class _Evidence:
    """What the certificate rests on, gathered run by run. It keeps digests, not tensors."""

    def __init__(self, graph: Graph, passes: Passes) -> None:
        captured = [t for tensors in passes for t in tensors]
        self._graph = graph
        self._shared = {t for t in captured if captured.count(t) > 1} - set(graph.outputs)
        self._seen: dict[tuple[int, int], bytes] = {}  # (sample, tensor) -> digest
        self._differing: set[int] = set()
        self._shared_equal = True
        self._deterministic = True

    def untouched(self, sample: int, outputs: Arrays) -> None:
        self._seen.update({(sample, index): digest(array) for index, array in outputs.items()})

    def untouched_again(self, sample: int, outputs: Arrays) -> None:
        self._deterministic &= all(self._seen[sample, i] == digest(a) for i, a in outputs.items())

    def tapped(self, sample: int, arrays: Arrays) -> None:
        for index in self._graph.outputs:
            if self._seen[sample, index] != digest(arrays[index]):
                self._differing.add(index)
        for index in self._shared.intersection(arrays):
            found = digest(arrays[index])
            self._shared_equal &= self._seen.setdefault((sample, index), found) == found

    def certificate(self, samples: int) -> Certificate:
        differing = tuple(self._graph.label(t) for t in sorted(self._differing))
        return Certificate(samples, not differing, differing, self._shared_equal, self._deterministic)


class _Steps:
    """Counts runs for a progress callback."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def next(self, what: str, sample: int) -> None:
        if self._progress is not None:
            self._progress(self._done, self._total, f"{what}, sample {sample}")
        self._done += 1


def _passes(graph: Graph, tensors: Sequence[int], budget: int) -> Passes:
    """The planner's passes, each with the model's outputs: a file of the recording then proves itself."""
    passes = plan(graph, tensors, budget) or ((),)
    if large := sum(graph.tensors[index].nbytes > budget for index in tensors):
        alone = (
            f"{counted(large, 'tensor')}, each with a pass of its own: larger than the {budget} bytes a pass may hold"
        )
        logger.warning("%s", alone)
    return tuple(_unique((*p, *graph.outputs)) for p in passes)


def _passes_of(path: Path, passes: Passes) -> Passes:
    """The passes of the recording in `path` where they capture the same tensors, else `passes`.

    The default budget follows the board's free memory, which is another one each time.
    """
    if not (path / "manifest.json").exists():
        return passes
    old = Recording.open(path).manifest.passes
    return old if {t for p in old for t in p} == {t for p in passes for t in p} else passes


def _budget(info: agent_pb2.Info, options: RunOptions) -> int:
    return default_budget(info.ram_available_bytes, info.limits.memory_bytes, options.memory_bytes or WORKER_BYTES)


def _unique(indices: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(indices))


def _writer(path: Path, model_bytes: bytes, manifest: Manifest, held: ExitStack) -> RecordingWriter:
    """The recording's one writer, as long as `held` is."""
    fresh = None
    if not (path / "manifest.json").exists():
        fresh = RecordingWriter.create(path, model_bytes, manifest)
    held.enter_context(only_writer(path))
    return fresh or RecordingWriter.resume(path, manifest)


def _manifest(
    info: agent_pb2.Info,
    ready: agent_pb2.Ready,
    sha256: str,
    options: RunOptions,
    inputs: Inputs,
    passes: Passes,
    untappable: tuple[tuple[str, str], ...],
) -> Manifest:
    return Manifest(
        format=FORMAT,
        model_sha256=sha256,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        board=_facts(info),
        runtime=ready.runtime.name,
        runtime_version=ready.runtime.version,
        kernels=options.kernels,
        delegate=options.delegate,
        threads=options.threads,
        agent_version=info.agent_version,
        inputs=inputs.description,
        samples=len(inputs),
        passes=passes,
        untappable=untappable,
    )


def _facts(message: Message) -> dict[str, Any]:
    """A message's fields as plain values. (MessageToDict would write 64-bit numbers as text.)"""
    return {field.name: _plain(getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return _facts(value)
    if isinstance(value, (str, int, float)):
        return value
    return [_plain(v) for v in value]


@contextmanager
def _resumable(path: Path) -> Iterator[None]:
    try:
        yield
    except (RunFailed, BoardUnreachable) as error:
        if (path / "manifest.json").exists():
            error.kept = path
        raise
