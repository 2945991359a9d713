"""The only module that imports a TensorFlow Lite runtime. It runs in a worker, never in the server."""

from __future__ import annotations

import importlib
import re
import time
from typing import Any, Mapping, Tuple

import numpy as np

from liteback_agent.errors import AgentError
from liteback_agent.facts import RUNTIMES
from liteback_proto import agent_pb2

# BUILTIN of the runtimes still applies XNNPACK; ours means the optimised kernels and nothing else.
_RESOLVERS = {
    agent_pb2.DEFAULT: "AUTO",
    agent_pb2.BUILTIN: "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    agent_pb2.REFERENCE: "BUILTIN_REF",
}
# What a runtime raises for a model or a value it does not want.
_REFUSALS = (ValueError, RuntimeError, TypeError)
_NO_MEMORY = re.compile(r"malloc|bad_alloc|out of memory|allocate memory", re.IGNORECASE)


def load_runtime(wanted: str) -> Tuple[Any, agent_pb2.Runtime]:
    """The interpreter module of the wanted runtime, or of the first one that loads.

    Raises:
        AgentError: `no-runtime`, with what each import said.
    """
    if wanted and wanted not in RUNTIMES:
        raise AgentError("no-runtime", f"A runtime is one of {', '.join(RUNTIMES)}. Received: {wanted!r}")
    reasons = []
    for name in [wanted] if wanted else RUNTIMES:
        try:
            module = importlib.import_module(f"{name}.interpreter")
            version = str(getattr(importlib.import_module(name), "__version__", ""))
            return module, agent_pb2.Runtime(name=name, version=version)
        except (ImportError, AttributeError) as error:  # AttributeError: numpy 2 under a wheel built for numpy 1
            reasons.append(f"{name}: {error}")
    raise AgentError("no-runtime", "No TensorFlow Lite runtime loads here. " + "; ".join(reasons))


class Interpreter:
    """A model, loaded and allocated.

    Only inputs and outputs can be read: the memory of every other tensor is used again during a run, so what
    lies there afterwards may be another tensor's values. A tap makes a tensor an output.
    """

    def __init__(self, model: bytes, config: agent_pb2.RunConfig) -> None:
        if model[4:8] != b"TFL3":
            # The runtimes would say of an empty file that none was given.
            raise AgentError("model-refused", f"A .tflite file has TFL3 at byte 4. Received: {model[4:8]!r}")
        self._model = model
        self._config = config
        self._module, self.runtime = load_runtime(config.runtime)
        self._build()
        try:
            self.inputs = [int(d["index"]) for d in self._interpreter.get_input_details()]
            self.outputs = [int(d["index"]) for d in self._interpreter.get_output_details()]
            # A resource (VAR_HANDLE) outlives reset_all_variables; only a new interpreter forgets it.
            self._has_resources = any(op["op_name"] == "VAR_HANDLE" for op in self._interpreter._get_ops_details())
        except _REFUSALS as error:
            raise _refused("The runtime cannot describe the model", error) from error
        self._fed: Mapping[int, Any] = {}
        self._dirty = False

    def feed(self, inputs: Mapping[int, Any]) -> None:
        """Set the inputs of the next steps, {tensor index: array}; a shape that differs resizes the input.

        Raises:
            AgentError: `bad-request` for an index that is no input, or a value of another type.
        """
        for index in inputs:
            if index not in self.inputs:
                raise AgentError("bad-request", f"Only the inputs {self.inputs} can be fed. Received: tensor #{index}")
        self._fed = {**self._fed, **inputs}

    def invoke(self, reset_state: bool) -> int:
        """Run one step; nanoseconds of the runtime's invoke() alone."""
        if reset_state:
            self._reset()
        self._set_inputs()
        self._dirty = True
        start = time.perf_counter_ns()
        try:
            self._interpreter.invoke()
        except _REFUSALS as error:
            raise _refused("The runtime refuses to invoke the model", error) from error
        return time.perf_counter_ns() - start

    def read(self, index: int) -> Any:
        """A copy of an input or output after a step."""
        try:
            return self._interpreter.get_tensor(index)
        except _REFUSALS as error:
            for details in self._interpreter.get_output_details():
                # The runtime has no memory for a tensor without elements, and calls that an error.
                if details["index"] == index and 0 in details["shape"]:
                    return np.empty(details["shape"], details["dtype"])
            raise _refused(f"Tensor #{index} cannot be read", error) from error

    def _build(self) -> None:
        self._interpreter, self._allocated = self._new(), True
        try:
            self._interpreter.allocate_tensors()
        except _REFUSALS as error:
            if not any(-1 in d["shape_signature"] for d in self._interpreter.get_input_details()):
                raise _refused("The runtime refuses the model", error) from error
            # 1 may be too small an extent where any is allowed; the first step's inputs tell. What has failed once is
            # not used again: tflite-runtime 2.14 then leaves its delegate out.
            self._interpreter, self._allocated = self._new(), False

    def _new(self) -> Any:
        config, module = self._config, self._module
        try:
            resolver = module.OpResolverType[_RESOLVERS[config.kernels]]
        except KeyError as error:
            raise AgentError("no-runtime", f"{self.runtime.name} has no kernel set {error}") from error
        delegates = [_load_delegate(module, config)] if config.delegate else None
        try:
            return module.Interpreter(
                model_content=self._model,
                num_threads=max(1, config.threads),
                experimental_op_resolver_type=resolver,
                experimental_delegates=delegates,
            )
        except _REFUSALS as error:
            raise _refused("The runtime refuses the model", error) from error

    def _reset(self) -> None:
        if not self._dirty:
            return
        if self._has_resources:
            self._build()
            return
        try:
            self._interpreter.reset_all_variables()
        except _REFUSALS:
            # tflite-runtime 2.14 resets none where a variable tensor is what an operator makes of constants.
            self._build()

    def _set_inputs(self) -> None:
        shapes = {int(d["index"]): tuple(d["shape"]) for d in self._interpreter.get_input_details()}
        resized = [(i, a) for i, a in self._fed.items() if a.shape != shapes[i]]
        try:
            for index, array in resized:
                self._interpreter.resize_tensor_input(index, array.shape)
            if resized or not self._allocated:
                self._interpreter.allocate_tensors()
                self._allocated = True
            for index, array in self._fed.items():
                self._interpreter.set_tensor(index, array)
        except _REFUSALS as error:
            if not (resized or self._allocated):
                raise _refused("The runtime refuses the model", error) from error
            given = {index: list(array.shape) for index, array in self._fed.items()}
            raise AgentError(
                "bad-request",
                f"The runtime does not take inputs of shapes {given}, which decide every extent that the file leaves "
                f"open: {error}",
            ) from error


def _refused(what: str, error: Exception) -> AgentError:
    # The runtimes have no exception of their own for a malloc that failed.
    # They put names and bytes of the model into a message of 1 KiB, cut anywhere, and then fail to decode that.
    said = error.object.decode("utf-8", "replace") if isinstance(error, UnicodeDecodeError) else str(error)
    said = "\n".join(dict.fromkeys(said.splitlines()))  # one and the same line of each of a hundred tensors
    kind = "memory-limit" if _NO_MEMORY.search(said) else "model-refused"
    return AgentError(kind, f"{what}: {said}")


def _load_delegate(module: Any, config: agent_pb2.RunConfig) -> Any:
    try:
        return module.load_delegate(config.delegate, dict(config.delegate_options))
    except (OSError, AttributeError, *_REFUSALS) as error:
        raise AgentError("no-runtime", f"The delegate {config.delegate} does not load: {error}") from error
