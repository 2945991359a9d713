"""The driver of a graph's emission. What concerns every operator is done here, once.

Constants become weights or plain arrays, what depends on constants alone is computed at once, each layer gets its
node's name, the fused activation acts, and in `fakequant` every quantized tensor is put on its device's grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from liteback.emit import ops  # noqa: F401  (fills the registry)
from liteback.emit.batch import UnknownBatch, batch_source, check_arithmetic, holds_batch
from liteback.emit.emission import Binding, Emission, Numerics, Value, shown
from liteback.emit.exact_layer import exact_result, operator_of
from liteback.emit.fake_quant import FakeQuant
from liteback.emit.hybrid import dynamic_quant
from liteback.emit.limits import Folding, refusing
from liteback.emit.loop_layer import RecurrentLoops
from liteback.emit.moved import filled, moved
from liteback.emit.names import NameBook, as_list, is_symbolic, model_name
from liteback.emit.op_layer import OpLayer, OutputSpec, beside
from liteback.emit.parameters import parameters
from liteback.emit.regions import Regions
from liteback.emit.registry import EMITTERS, Context, Emitter, Layer, kernel_of
from liteback.emit.sharing import SharedLayers
from liteback.emit.sparsity import keep_zeros
from liteback.emit.state import Handle, Memory, States, tensor_handle
from liteback.emit.ties import Constant, Ties, leads_to_tables, place, table, taken
from liteback.emit.variables import built, fill
from liteback.emit.verdict import CLAMPS
from liteback.emit.weight import Weight
from liteback.errors import Problem, UnsupportedModel
from liteback.ir import ABSENT, CODE_RANGE, Graph, Node, Tensor
from liteback.numerics.affine import dequantize, quantize
from liteback.numerics.operator import DATA
from liteback.numerics.profile import KernelProfile
from liteback.passes.fold_dequantize import folded_quantization, held

BIAS = "b"  # what emitters call it
SIZED_BY_VALUES = frozenset({"SKIP_GRAM", "UNIQUE", "WHERE"})  # what a file says of their results' shapes is a guess
NOT_IN_KERAS = frozenset({"string", "complex64", "complex128"})


class NotStatic(NotImplementedError):
    """An input that must be known when the model is built is computed at run time."""


@dataclass
class Builder:
    """Builds one model; the graphs that are laid out in it have builders that share all but `graph` and `env`."""

    graphs: tuple[Graph, ...]
    graph: Graph
    numerics: Numerics
    free_batch: bool
    profile: KernelProfile | None = None  # the kernel set of `exact`
    env: dict[int, Any] = field(default_factory=dict)  # tensor index -> KerasTensor, or an array that is known
    names: NameBook = field(default_factory=NameBook)
    bindings: list[Binding] = field(default_factory=list)
    shared: SharedLayers = field(default_factory=SharedLayers)
    states: States = field(default_factory=States)
    anchor: Any = None  # a tensor of the model, for layers that need none
    place: Any = None  # the index of the one row of tables that hold a constant, as a tensor of the model
    prefix: str = ""  # before the names of nodes
    running: tuple[int, ...] = ()  # the subgraphs that this one runs in
    folding: Folding = field(default_factory=Folding)
    joined: bool = False  # a first axis of more than one element is that of each sample, one after another
    carried: bool = False  # SHAPE gives a number for the extent of a first axis that varies: see batch.py
    ties: Ties = field(default_factory=Ties)
    variables: dict[Constant, tuple[Any, Weight]] = field(default_factory=dict)  # what layers of their own give of them
    plain: set[Constant] = field(default_factory=set)  # the constants that were used as numbers
    loops: RecurrentLoops = field(init=False)
    parameters: Mapping[int, str] = field(init=False)  # constants that train in layers of their own

    def __post_init__(self) -> None:
        self.parameters = {} if self.numerics == "exact" else parameters(self.graph, self.graphs)
        self.loops = RecurrentLoops.of(self.graphs, self.graph, self.numerics)

    def anew(self, ties: Ties) -> Builder:
        """A builder of the same graph that has built nothing yet."""
        new = Builder(self.graphs, self.graph, self.numerics, self.free_batch, self.profile, states=self.states.copy())
        return replace(new, joined=self.joined, carried=self.carried, ties=ties)

    def run(self) -> Emission:
        graph = self.graph
        inputs = [self._input(graph.tensors[t]) for t in graph.inputs]
        self.anchor = inputs[0] if inputs else None
        memory = self._recall()
        self.lay_out([self.env[t] for t in graph.inputs])
        outputs = [self.symbolic(self.known(t, weight=False), f"constant_{t}") for t in graph.outputs]
        if memory is not None:
            last = [self.symbolic(value, "variable") for value in self.states.current.values()]
            # One output goes through the memory: keras 3.15 refuses a layer that gives more later than at first.
            outputs = [memory(outputs[0], values=last), *outputs[1:]]
        model = keras.Model(
            inputs[0] if len(inputs) == 1 else inputs,
            outputs[0] if len(outputs) == 1 else outputs,
            name=model_name(graph),
        )
        values = {t: Value.of(v) for t, v in self.env.items() if is_symbolic(v)}
        values.update({t: Value.of(v, time_first=True) for t, v in self.loops.batch_first.items()})
        return Emission(model, graph, self.numerics, shown(model, values), tuple(self.bindings))

    def lay_out(self, arguments: Sequence[Any]) -> list[Any]:
        """Make operations of the graph's nodes; the values of its inputs -> those of its outputs."""
        graph = self.graph
        given = zip(graph.inputs, arguments, strict=True)
        self.env.update((t, value) for t, value in given if not graph.tensors[t].is_constant)
        for node in graph.nodes:
            with refusing(node.op, graph.label(node.outputs[0]) if node.outputs else ""):
                for index, value in zip(node.outputs, self._results(node), strict=True):
                    self._check_batch(value, graph.tensors[index])
                    self.env[index] = value
        return [self.known(t, weight=False) for t in graph.outputs]

    def inlined(self, index: int, prefix: str) -> Builder:
        """The builder of a graph that is laid out in this model."""
        return replace(self, graph=self._enter(index), env={}, prefix=prefix, running=(*self.running, index))

    def apart(self, index: int, states: States, inputs: Sequence[Any]) -> Builder:
        """The builder of a graph that becomes a model of its own."""
        part = Builder(self.graphs, self._enter(index), self.numerics, False, self.profile, states=states)
        for x in inputs:
            part.names.keep(x)
        return replace(part, ties=self.ties, plain=self.plain, anchor=inputs[0], running=(*self.running, index))

    def _enter(self, index: int) -> Graph:
        if not 0 <= index < len(self.graphs):
            raise NotImplementedError(f"subgraph {index} does not exist")
        if index in (self.graph.index, *self.running):
            raise NotImplementedError(f"subgraph {index} runs itself")
        return self.graphs[index]

    def symbolic(self, value: Any, name: str) -> Any:
        """A value as a tensor of the model: a number that is known stands in a layer."""
        if is_symbolic(value):
            return value
        if holds_batch(value):
            raise UnknownBatch
        if self.anchor is None:
            raise UnsupportedModel([Problem("output", name, "a model needs an input")])
        known = np.asarray(value)
        result = beside(self.anchor, known)
        if result is not None:
            return self.names.claim(name, [result], [])[0]
        spec = OutputSpec(known.shape, "string" if known.dtype == object else str(known.dtype))
        layer = OpLayer.of("CONSTANT", {}, [self.anchor, known], [spec], self.names.free(name))
        result = layer(self.anchor)
        self.names.keep(result)
        return result

    def _recall(self) -> Memory | None:
        """Read the variables, where there are any."""
        if not self.states.initial:
            return None
        if self.anchor is None:
            raise UnsupportedModel([Problem("READ_VARIABLE", "", "a model needs an input")])
        memory = Memory.of(self.states.initial, self.names.free("memory"))
        values = memory(self.anchor)
        self.names.keep(values)
        self.states.current.update(zip(self.states.initial, values, strict=True))
        return memory

    def _input(self, tensor: Tensor) -> Any:
        shape: list[int | None] = [
            None if s == -1 else d for s, d in zip(tensor.shape_signature, tensor.shape, strict=True)
        ]
        if self.free_batch:
            shape[0] = None
        # Real values stand for codes, here as everywhere but in `exact`.
        dtype = "float32" if tensor.is_quantized and self.numerics != "exact" else tensor.dtype
        x = keras.Input(batch_shape=shape, dtype=dtype, name=self.names.free(tensor.name or f"input_{tensor.index}"))
        self.names.keep(x)
        self.env[tensor.index] = self._quantized(x, tensor, x._keras_history.operation.name)
        return x

    def _results(self, node: Node) -> Sequence[Any]:
        result = self._exact(node) if self.numerics == "exact" else NotImplemented
        clamped = result is not NotImplemented  # the fused activation is a range of codes there
        if result is NotImplemented:
            result = self.loops.result(node, self)
        if result is NotImplemented:
            result = self._stock(node)
        if result is NotImplemented:
            result = self._own_layer(node)
        if clamped or (node.op in EMITTERS and "activation" in EMITTERS[node.op].keywords):
            node = replace(node, activation="NONE")  # the emitter has seen to it
        values = self._build(node, result) if isinstance(result, Layer) else self._settled(node, result)
        if node.outputs and self.numerics != "exact":
            out, wraps = self.graph.tensors[node.outputs[0]], self.numerics == "fakequant"
            values = [filled(v, node, out, wraps) for v in values]
        claimed = iter(self.names.claim(self.name_of(node), [v for v in values if is_symbolic(v)], self.env.values()))
        values = [next(claimed) if is_symbolic(v) else v for v in values]
        count = len(node.outputs)
        self._keep_variables(node, values[count:])
        outputs = [self.graph.tensors[t] for t in node.outputs]
        names = [f"{self.name_of(node)}_{i}" for i in range(count)] if count != 1 else [self.name_of(node)]
        return [self._quantized(v, t, s) for v, t, s in zip(values[:count], outputs, names, strict=True)]

    def name_of(self, node: Node) -> str:
        return self.prefix + node.name

    def _keep_variables(self, node: Node, values: Sequence[Any]) -> None:
        """What an emitter gives beyond the node's outputs are the new values of its variable tensors."""
        variables = [t for t in node.inputs if t != ABSENT and self.graph.tensors[t].is_variable]
        for index, value in zip(variables, values, strict=False):  # none, where the emitter starts anew each time
            handle = tensor_handle(self.graph, index)
            if handle in self.states.current:
                self.states.write(handle, value)

    def _exact(self, node: Node) -> Any:
        """The operator's integer kernel; NotImplemented for what only moves codes, or has none."""
        operator = operator_of(node, self.graph, self.profile)
        if operator is None:
            return NotImplemented
        return exact_result(
            operator, [self.known(t, weight=False) for t in node.inputs], self.name_of(node), self.names
        )

    def _stock(self, node: Node) -> Any:
        """What the stock emitter makes of a node; NotImplemented where a kernel must compute it."""
        stock = EMITTERS.get(node.op)
        if stock is None or (kernel_of(node.op) is not None and self._dtypes(node) & NOT_IN_KERAS):
            return NotImplemented
        try:
            result = self._call(stock, node)
        except NotStatic:
            if kernel_of(node.op) is None:
                raise
            return NotImplemented
        # Where its extent is not carried along, it is a tensor, not a number to calculate with.
        return NotImplemented if not self.carried and holds_batch(result) else result

    def _dtypes(self, node: Node) -> set[str]:
        return {self.graph.tensors[t].dtype for t in (*node.inputs, *node.outputs) if t != ABSENT}

    def _call(self, emitter: Emitter, node: Node, inputs: Sequence[Any] | None = None) -> Any:
        """Run an emitter or a kernel on a node's inputs."""
        inputs = self._inputs(node, emitter) if inputs is None else inputs
        check_arithmetic(node.op, inputs)
        extra = {name: value for name, value in self._extras(node).items() if name in emitter.keywords}
        options = {**emitter.bind_options(dict(node.options)), **extra}
        if not any(is_symbolic(v) for v in inputs) and not extra.keys() - {"out", "activation", "context"}:
            apart = {name: v.apart() if isinstance(v, Context) else v for name, v in options.items()}
            self.folding.check(emitter.fn, inputs, apart)
        return emitter.fn(*inputs, **options)

    def _extras(self, node: Node) -> dict[str, Any]:
        """What an emitter may ask for beside inputs and options: registry.EXTRAS."""
        tensors = self.graph.tensors
        outputs = [tensors[t] for t in node.outputs]
        return {
            "out": outputs[0] if len(outputs) == 1 else outputs,
            "activation": node.activation,
            "context": Context(
                [None if t == ABSENT else tensors[t] for t in node.inputs],
                [tensors[t] for t in node.intermediates],
                self.numerics,
                lambda: batch_source(node, self.graph, self.env),
                lambda recipe, suffix: self._build(replace(node, activation="NONE"), recipe, suffix),
            ),
            "states": self.states,
            "subgraphs": Regions(self, node, self.name_of(node)),
        }

    def _inputs(self, node: Node, emitter: Emitter) -> list[Any]:
        """A node's inputs as its emitter wants them."""
        inputs = []
        names = [*emitter.arguments, *["*"] * len(node.inputs)]
        variables = {
            name for name, t in zip(names, node.inputs, strict=False) if self.graph.home(t) in self.ties.variables
        }
        tied = bool(variables - {BIAS})  # a layer does without its bias
        for i, (name, t) in enumerate(zip(names, node.inputs, strict=False)):
            weight = name in emitter.weights
            value = self.known(t, weight)
            if tied and isinstance(value, Weight):
                value = self._variable(t)  # there is no layer to have it
            if name in emitter.static and is_symbolic(value):
                raise NotStatic(f"its input {name!r} ({self.graph.label(t)}) must be a constant")
            if t != ABSENT and node.outputs and self.numerics != "exact":
                value = moved(value, node, self.graph.tensors[t], self.graph.tensors[node.outputs[0]])
            if self.anchor is not None and getattr(value, "dtype", None) in ("complex64", "complex128"):
                value = self.symbolic(value, f"constant_{t}")  # Keras cannot write one into a configuration
            inputs.append(self._hybrid(node, value) if i == DATA.get(node.op, 0) else value)
        return inputs

    def _hybrid(self, node: Node, value: Any) -> Any:
        """A node's activations as a hybrid kernel quantizes them."""
        layer = dynamic_quant(node, self.graph, self.profile) if self.numerics == "fakequant" else None
        if layer is None:
            return value
        if not is_symbolic(value):
            return np.asarray(layer(value))
        layer.name = self.names.free(f"{node.name}_dynamic_quant")
        value = layer(value)
        self.names.keep(value)
        return value

    def known(self, index: int, weight: bool) -> Any:
        """A tensor's KerasTensor, or its value where that is known: real values for codes."""
        if index == ABSENT:
            return None
        if index in self.env:
            return self.env[index]
        tensor = self.graph.tensors[index]
        if tensor.is_variable:
            return self.states.current.get(tensor_handle(self.graph, index))
        if tensor.data is None:
            return None
        trains = index in self.parameters and not weight and leads_to_tables(self.anchor)
        if trains or self.graph.home(index) in self.ties.variables:
            return self._variable(index)
        coded = tensor.quantization if tensor.is_quantized and self.numerics != "exact" else None
        if weight and (coded is not None or tensor.dtype.startswith("float")):
            return self._weight(tensor, tensor.data)
        self.plain.add(self.graph.home(index))
        return held(self.graph, tensor) if coded is None else dequantize(tensor.data, coded)

    def _weight(self, tensor: Tensor, data: NDArray[Any]) -> Weight:
        coded = tensor.quantization if tensor.is_quantized else None
        coded = coded or folded_quantization(self.graph, tensor)
        return Weight.of(tensor, self.graph.home(tensor.index), data, coded)

    def _variable(self, index: int) -> Any:
        """A constant as a tensor of the model, which a layer of its own gives: see ties.py and parameters.py."""
        weight = self._weight(self.graph.tensors[index], np.asarray(self.graph.tensors[index].data))
        return self._of_table(weight, self.parameters.get(index, f"constant_{index:03d}"))

    def _of_table(self, weight: Weight, name: str) -> Any:
        if weight.constant not in self.variables:
            self.place = place(self.anchor) if self.place is None else self.place
            name = self.names.free(self.prefix + name)
            value = self.called(table(weight.unturned, self.place), name)
            self.names.keep(value)
            if len(weight.unturned.shape) != 1:
                value = self.names.claim(f"{name}_value", [keras.ops.reshape(value, weight.unturned.shape)], [])[0]
            self.variables[weight.constant] = value, weight
        return taken(*self.variables[weight.constant], weight)

    def _own_layer(self, node: Node) -> Any:
        """The operator in an OpLayer; computed at once where all its inputs are known."""
        kernel = kernel_of(node.op)
        if kernel is None:
            raise NotImplementedError("stock Keras has no equal of it with these arguments")
        inputs = [part for v in self._inputs(node, kernel) for part in self.states.spread(v)]
        tensors = [v for v in inputs if is_symbolic(v)]
        if not tensors and kernel.pure:
            return self._call(kernel, node, inputs)
        if any(holds_batch(v) for v in inputs):
            raise UnknownBatch
        # What is drawn anew in every run needs a tensor of the run to be called on; the kernel does not see it.
        tensors = tensors or [v for v in self.env.values() if is_symbolic(v)][:1]
        if not tensors:
            raise NotImplementedError("a model needs an input")
        held = [t for t in node.inputs if t != ABSENT and self.graph.tensors[t].is_variable] if kernel.stateful else []
        if kernel.stateful and not held:
            raise NotImplementedError(f"its options give what it keeps no size, or one too large: {dict(node.options)}")
        outputs = [self.graph.tensors[t] for t in (*node.outputs, *held)]
        known = [self._extents(node, t) for t in outputs]
        layer = OpLayer.of(node.op, dict(node.options), inputs, outputs, self.name_of(node), known)
        value = layer(tensors[0] if len(tensors) == 1 else tensors)
        for position, weight in enumerate(inputs):
            if isinstance(weight, Weight):
                place = next(i for i, v in enumerate(layer.weights) if v is layer.constant(position))
                self.bindings.append(Binding(layer.name, place, weight))
        self.names.keep(value)
        return value

    def _build(self, node: Node, recipe: Layer, suffix: str = "") -> Sequence[Any]:
        """A recipe's layer and what goes with it: a bias of its own, the fused activation, the recipe's last step."""
        recipe, bias = self._without_bias(recipe)
        fused = CLAMPS.get(node.activation)
        inside = bias is None and "activation" in recipe.cls.__init__.__code__.co_varnames
        if fused and inside:
            recipe = replace(recipe, config={**recipe.config, "activation": fused})
        value = self.called(recipe, self.name_of(node) + suffix)
        if any(map(is_symbolic, as_list(value))):
            self.names.keep(value)
        if bias is not None:
            value = keras.ops.add(value, bias)
        values = as_list(value) if inside else self._activated(node, value)
        return [recipe.then(v) for v in values] if recipe.then else values

    def called(self, recipe: Layer, name: str) -> Any:
        """The result of a recipe's layer: the same one again where another node has the same constants and settings."""
        weights = [w for w in recipe.weights if w is not None]
        narrow = {str(v.dtype) for v in as_list(recipe.inputs)} & {"float16", "float64"}
        # A layer makes its inputs its own type.
        config = {**recipe.config, "dtype": min(narrow)} if narrow else recipe.config
        kind = (recipe.cls, repr(sorted(config.items())))
        layer, first = self.shared.find(kind, weights)
        if layer is not None:
            self.bindings += [
                Binding(layer.name, i, part, made_of)
                for i, (w, own) in enumerate(zip(weights, first, strict=True))
                for part, made_of in zip(w.parts, own.parts, strict=True)
                if w.key != own.key
            ]
            return layer(recipe.inputs, **recipe.given)
        layer = recipe.cls(name=name, **config)
        value = built(layer, recipe)
        fill(layer, weights)
        keep_zeros(layer, weights, self.graphs)
        if not any(map(is_symbolic, as_list(recipe.inputs))):  # it is computed at once, and is not in the model
            for result in as_list(value):
                self.folding.spend(result.shape)
            return layer(recipe.inputs, **recipe.given)
        self.bindings += [Binding(layer.name, i, part) for i, w in enumerate(weights) for part in w.parts]
        if weights:
            self.shared.add(kind, weights, layer)
        return value

    def _without_bias(self, recipe: Layer) -> tuple[Layer, Any]:
        """A layer whose bias is another's too, or whose kernel has one only here, without it; and that bias."""
        kernel, bias = (*recipe.weights, None, None)[:2]
        if bias is None or not recipe.config.get("use_bias"):
            return recipe, None
        if isinstance(bias, Weight):
            shared = isinstance(kernel, Weight) and kernel.constant in self.ties.kernels
            if not shared or bias.steps:
                return recipe, None
            bias = self._of_table(bias, f"constant_{bias.tensor:03d}")
        return replace(recipe, weights=recipe.weights[:1], config={**recipe.config, "use_bias": False}), bias

    def _settled(self, node: Node, result: Any) -> Sequence[Any]:
        """Results of operations, in the shapes that the file knows them to have where Keras does not."""
        values = as_list(result)
        for k, (value, index) in enumerate(zip(values, node.outputs, strict=False)):
            extents = self._extents(node, self.graph.tensors[index])
            if not is_symbolic(value) or len(value.shape) != len(extents):
                continue
            shape = [d if e is None else e for d, e in zip(value.shape, extents, strict=True)]
            if None in value.shape and shape != list(value.shape) and shape.count(None) < 2:
                values[k] = keras.ops.reshape(value, [-1 if d is None else d for d in shape])
        return self._activated(node, values)

    def _extents(self, node: Node, tensor: Tensor) -> list[int | None]:
        """What the file knows of a result's shape, None for what may vary."""
        if node.op in SIZED_BY_VALUES:
            return [None] * len(tensor.shape)
        signature = tensor.shape_signature
        if -1 in signature:
            known = [None if s == -1 else d for s, d in zip(signature, tensor.shape, strict=True)]
            return [None, *known[1:]] if self.free_batch else known
        varies = self.free_batch or any(-1 in g.tensors[i].shape_signature for g in self.graphs for i in g.inputs)
        return [None] * len(tensor.shape) if varies else list(tensor.shape)

    def _activated(self, node: Node, value: Any) -> Sequence[Any]:
        fused = CLAMPS.get(node.activation)
        return [_clamped(v, fused) for v in as_list(value)] if fused else as_list(value)

    def _quantized(self, value: Any, tensor: Tensor, name: str) -> Any:
        if value is None or isinstance(value, Handle):
            return value
        on_grid = self.numerics == "fakequant" and tensor.is_quantized and tensor.dtype in (*CODE_RANGE, "int32")
        if not is_symbolic(value):
            known = np.asarray(value)
            if on_grid and tensor.quantization is not None:
                known = dequantize(quantize(known, tensor.quantization, tensor.dtype), tensor.quantization)
            elif known.dtype.kind in "iu" and not tensor.is_quantized and not holds_batch(known):
                known = known.astype(tensor.dtype)  # shape arithmetic is done in int64
            return known
        if not on_grid or "float" not in str(value.dtype):  # integers that have a scale all the same
            return value
        value = FakeQuant.like(tensor, name=f"{name}_quant")(value)
        self.names.keep(value)
        return value

    def _check_batch(self, value: Any, tensor: Tensor) -> None:
        """Refuse a freed batch that is not still the first axis, or that changed the others."""
        if not self.free_batch or not is_symbolic(value):
            return
        axis = 1 if tensor.index in self.loops.time_first else 0
        shape = tuple(value.shape)
        if len(shape) <= axis or shape[axis] is not None:
            raise UnknownBatch
        dynamic = any(-1 in self.graph.tensors[i].shape_signature for i in self.graph.inputs)
        as_file = (*tensor.shape[:axis], None, *tensor.shape[axis + 1 :])
        if not dynamic and (shape != as_file or not (self.joined or tensor.shape[axis] == 1)):
            raise UnknownBatch


def _clamped(value: Any, activation: str) -> Any:
    if activation == "hard_tanh" and "int" in str(value.dtype):
        return keras.ops.clip(value, -1, 1)  # the activation's limits are floats
    return keras.layers.Activation(activation)(value)
