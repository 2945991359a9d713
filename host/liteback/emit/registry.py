"""Which function emits which operator.

Both kinds of function stand under the schema's own names: the operator's inputs are positional, in the schema's order
(None for an optional one that is not given); its options are keyword-only.

    @emits("CONV_2D", weights=["w", "b"])
    def conv_2d(x, w, b=None, *, padding, stride_h, stride_w, dilation_h_factor, dilation_w_factor): ...

`emits` registers the way into stock Keras. An input arrives as a KerasTensor, or, where its value is known when the
model is built, as a numpy array of real values; the inputs named in `weights` then arrive as a `Weight`. It returns
KerasTensors, or a `Layer` for the driver to build, which carries the node's name, its weights and its fused
activation; or NotImplemented, where Keras has no equal for these arguments.

`computes` registers the operator's arithmetic in TensorFlow: tensors in, tensors out. The driver wraps it in an
`OpLayer`, a registered layer, where there is no stock way.

An emitter that needs more declares a keyword of EXTRAS, and the driver passes it. What it returns beyond the node's
outputs are the new values of the node's variable tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from liteback.emit.carried import ANY, PREFIX
from liteback.emit.weight import Joined, Weight
from liteback.errors import UsageError

Emit = Callable[..., Any]
EXTRAS = {
    "out": "the output tensor of the IR; a list of them, where the node has not one",
    "activation": "the schema's name of the fused activation, which the emitter then sees to",
    "context": "what the IR says of the node, and a way to build layers on the way (Context)",
    "region": "the operators of the subgraph that the node's options name, where it is no more than their names",
    "states": "the model's variables and tables (state.States)",
    "subgraphs": "what runs subgraphs (regions.Regions)",
}


@dataclass(frozen=True)
class Emitter:
    """A registered function and what its signature says."""

    fn: Emit
    static: frozenset[str]  # inputs whose values must be known when the model is built
    weights: frozenset[str]  # inputs that become variables where they are constants
    arguments: tuple[str, ...]  # the names of the operator's inputs
    keywords: frozenset[str]
    pure: bool = True  # the same inputs always give the same result
    stateful: bool = False  # after its outputs it gives the new values of its variable tensors

    def bind_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Of a node's options, those the function takes."""
        return {name: value for name, value in options.items() if name in self.keywords}


@dataclass(frozen=True)
class Layer:
    """A stock layer for the driver to build.

    cls: a keras.layers class. inputs: what it is called on. weights: in the layer's own order; None entries are left
    out. config: the arguments of cls besides name and activation. then: what is done with its result; as the fused
    activation acts before, it may only select or move elements. given: what else it is called with, by name.
    """

    cls: Any
    inputs: Any
    weights: Sequence[Weight | Joined | None] = ()
    config: dict[str, Any] = field(default_factory=dict)
    then: Callable[[Any], Any] | None = None
    given: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """For emitters of operators that are more than one layer, or whose arithmetic depends on the quantization.

    sources: the input tensors of the IR, None for one that is not given. intermediates: the tensors that record the
    scales of a kernel's inner values. numerics: float or fakequant. batch_source: -> the tensor whose batch the node's
    inputs hold, or None. build: a recipe and the end of its layer's name -> the layer's results.
    """

    sources: Sequence[Any]
    intermediates: Sequence[Any]
    numerics: str
    batch_source: Callable[[], Any]
    build: Callable[[Layer, str], Sequence[Any]]

    def apart(self) -> Context:
        """The same for a trial that must leave the model as it is: there what concerns the model is refused."""

        def refuse(*_: Any) -> Any:
            raise NotImplementedError("this is a trial")

        return replace(self, batch_source=refuse, build=refuse)


EMITTERS: dict[str, Emitter] = {}  # stock Keras
KERNELS: dict[str, Emitter] = {}  # TensorFlow arithmetic, for an OpLayer


def emits(*ops: str, static: Sequence[str] = (), weights: Sequence[str] = ()) -> Callable[[Emit], Emit]:
    """Register the way of operators into stock Keras."""
    return _registrar(EMITTERS, ops, static, weights)


def computes(
    *ops: str, static: Sequence[str] = (), weights: Sequence[str] = (), pure: bool = True, stateful: bool = False
) -> Callable[[Emit], Emit]:
    """Register the TensorFlow arithmetic of operators. One that is not pure is never computed beforehand.

    A stateful one gives the new values of its variable tensors after its outputs.
    """
    return _registrar(KERNELS, ops, static, weights, pure, stateful)


def register_custom_op(
    name: str, fn: Emit, *, stock: bool = False, static: Sequence[str] = (), weights: Sequence[str] = ()
) -> None:
    """Teach liteback a custom operator: call this before the model is reconstructed, and before it is loaded again.

    name: as in the file. fn: the operator's inputs are its positional parameters, its options (the entries of its
    flexbuffer map, or `custom_options`, the bytes) are keyword-only ones. stock: fn makes Keras layers and operations,
    as with `emits`; else it is TensorFlow arithmetic, as with `computes`. static, weights: inputs that must be
    constants, and constants that train. The same function defined anew, as where a notebook's cell runs again, takes
    its own place.

    Raises: UsageError where another function is registered under the name.

        register_custom_op("Scale", lambda x, *, factor: x * factor)
    """
    op, register, table = f"CUSTOM:{name}", emits if stock else computes, EMITTERS if stock else KERNELS
    if op in table:
        before = table[op].fn
        if (before.__module__, before.__qualname__) != (fn.__module__, fn.__qualname__):
            raise UsageError(
                f"A custom operator has one function. Received: {fn.__module__}.{fn.__qualname__} for {name!r}, which "
                f"{before.__module__}.{before.__qualname__} computes. Register under the file's own name, once."
            )
        del table[op]
    register(op, static=static, weights=weights)(fn)


def kernel_of(op: str) -> Emitter | None:
    """The arithmetic of an operator; None where there is none."""
    return KERNELS.get(op) or (KERNELS.get(ANY) if op.startswith(PREFIX) else None)


def supported_ops() -> frozenset[str]:
    """The schema's names of the operators that come back, and those of custom ones."""
    return frozenset(EMITTERS) | frozenset(KERNELS)


def _registrar(
    table: dict[str, Emitter],
    ops: Sequence[str],
    static: Sequence[str],
    weights: Sequence[str],
    pure: bool = True,
    stateful: bool = False,
) -> Callable[[Emit], Emit]:
    """Two functions for one operator are an error at import."""

    def register(fn: Emit) -> Emit:
        parameters = inspect.signature(fn).parameters.values()
        names = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        keywords = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        for op in ops:
            if op in table:
                raise ValueError(f"{op} is registered twice: {table[op].fn.__qualname__} and {fn.__qualname__}")
            table[op] = Emitter(fn, frozenset(static), frozenset(weights), names, keywords, pure, stateful)
        return fn

    return register
