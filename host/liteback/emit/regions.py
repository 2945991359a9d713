"""The subgraphs that a node runs: as models inside a layer, or laid out in place.

What a subgraph is given decides what is built: an argument whose value is known is a constant inside, a resource is
its handle, and the variables that the subgraph uses become arguments and results like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from liteback.calls import reachable
from liteback.emit.batch import UnknownBatch, holds_batch
from liteback.emit.control_flow import If, Pick, While
from liteback.emit.names import is_symbolic
from liteback.emit.state import Handle, States, variables_of
from liteback.ir import Node

if TYPE_CHECKING:
    from liteback.emit.builder import Builder
    from liteback.emit.emission import Binding


@dataclass(frozen=True)
class Spec:
    """An argument of a model that is to be built."""

    shape: tuple[int | None, ...]
    dtype: str

    @classmethod
    def of(cls, value: Any) -> Spec:
        return cls(tuple(value.shape), str(keras.backend.standardize_dtype(value.dtype)))

    def input(self, name: str) -> Any:
        return keras.Input(batch_shape=self.shape, dtype=self.dtype, name=name)

    def merged(self, other: Any) -> Spec:
        """What the shapes of both have in common."""
        if len(self.shape) != len(other.shape):
            raise NotImplementedError(f"a loop turns a value of shape {self.shape} into one of {tuple(other.shape)}")
        return replace(self, shape=tuple(a if a == b else None for a, b in zip(self.shape, other.shape, strict=True)))


@dataclass(frozen=True)
class Regions:
    """What an emitter of control flow needs of the driver: `subgraphs`."""

    builder: Builder
    node: Node
    name: str

    def inline(self, index: int, values: Sequence[Any]) -> list[Any]:
        """Lay a subgraph out in place: its nodes become operations of this model."""
        return self.builder.inlined(index, f"{self.name}_").lay_out(values)

    def choose(self, condition: Any, values: Sequence[Any], then_index: int, else_index: int) -> list[Any]:
        """Run one of two subgraphs; which one is known now, or when the model runs."""
        if not is_symbolic(condition):
            return self.inline(then_index if bool(condition) else else_index, values)
        branches = {"then_branch": then_index, "else_branch": else_index}
        return self._run_one(lambda *models: If(*models, name=self.name), condition, values, branches)

    def pick(self, number: Any, values: Sequence[Any], indices: Sequence[int]) -> list[Any]:
        """Run one of several subgraphs, the last where there is none of that number."""
        if not indices:
            raise NotImplementedError("it has no subgraph to run")
        if not is_symbolic(number):
            place = int(np.ravel(number)[0])
            return self.inline(indices[place if 0 <= place < len(indices) else -1], values)
        branches = {f"branch_{k}": index for k, index in enumerate(indices)}
        return self._run_one(lambda *models: Pick(models, name=self.name), number, values, branches)

    def _run_one(self, layer: Any, which: Any, values: Sequence[Any], branches: Mapping[str, int]) -> list[Any]:
        """A layer of the models of subgraphs, by the attributes that they are in it, called on `which` and values."""
        self._fix_batch(values)
        keys = self._variables(values, *branches.values())
        given = [v for v in values if is_symbolic(v)]
        start = [which, *given, *self._current(keys)]
        arguments = [Spec.of(v) if is_symbolic(v) else v for v in values]
        models = [self._model(place, i, arguments, keys, [Spec.of(which)]) for place, i in branches.items()]
        return self._finish(self._call(layer(*models), start), keys)

    def loop(self, values: Sequence[Any], cond_index: int, body_index: int) -> list[Any]:
        """Repeat a subgraph. What is known and comes back unchanged is a constant of the loop."""
        self._fix_batch(values)
        body = self.builder.graphs[body_index]
        keys = self._variables(values, cond_index, body_index)
        fixed = [
            isinstance(v, Handle) or (not is_symbolic(v) and source == result)
            for v, source, result in zip(values, body.inputs, body.outputs, strict=True)
        ]
        carried = [self._symbolic(v) for v, known in zip(values, fixed, strict=True) if not known]
        start = [*carried, *self._current(keys)]
        if not start:
            raise NotImplementedError("a loop over constants alone")
        specs = [Spec.of(v) for v in start]
        while True:
            given = iter(specs)
            arguments = [v if known else next(given) for v, known in zip(values, fixed, strict=True)]
            step = self._model("body", body_index, arguments, keys, variables=list(given), leave_out=fixed)
            merged = [spec.merged(result) for spec, result in zip(specs, step.outputs, strict=True)]
            if merged == specs:
                break
            specs = merged
        test = self._model("cond", cond_index, arguments, keys, variables=specs[len(carried) :], stores=False)
        layer = While(test, step, [spec.shape for spec in specs], name=self.name)
        changed = iter(self._finish(self._call(layer, start), keys))
        return [v if known else next(changed) for v, known in zip(values, fixed, strict=True)]

    def _model(
        self,
        place: str,
        index: int,
        arguments: Sequence[Any],
        keys: Sequence[Handle],
        before: Sequence[Spec] = (),
        variables: Sequence[Spec] | None = None,
        leave_out: Sequence[bool] = (),
        stores: bool = True,
    ) -> Any:
        """The model of a subgraph, which is to be the layer's attribute `place`.

        [before, the arguments that are Specs, variables] -> [results, variables]
        """
        builder = self.builder
        held = variables if variables is not None else [Spec.of(v) for v in self._current(keys)]
        front = [s.input(f"condition_{k}") for k, s in enumerate(before)]
        places = [a.input(f"argument_{k}") if isinstance(a, Spec) else a for k, a in enumerate(arguments)]
        back = [s.input(f"variable_{k}") for k, s in enumerate(held)]
        inputs = [*front, *(p for p in places if is_symbolic(p)), *back]
        states = States(builder.states.initial, dict(zip(keys, back, strict=True)), builder.states.tables)
        part = builder.apart(index, states, inputs)
        results = part.lay_out(places)
        wanted = [r for k, r in enumerate(results) if not isinstance(r, Handle) and not (leave_out and leave_out[k])]
        if stores:
            wanted += [states.current[key] for key in keys]
        outputs = [part.symbolic(value, f"result_{k}") for k, value in enumerate(wanted)]
        self._bind(place, part.bindings)
        return keras.Model(inputs, outputs, name=f"{self.name}_{place}")

    def _bind(self, place: str, bindings: Sequence[Binding]) -> None:
        """Take over what a model inside this node's layer has of the file; a model built anew replaces the last."""
        way = f"{self.name}/{place}/"
        kept = [b for b in self.builder.bindings if not b.layer.startswith(way)]
        self.builder.bindings[:] = [*kept, *(replace(b, layer=way + b.layer) for b in bindings)]

    def _variables(self, values: Sequence[Any], *indices: int) -> list[Handle]:
        """The variables that subgraphs may use: those they name, and those handed to them."""
        used = [h for g in reachable(self.builder.graphs, *indices) for h in variables_of(g).values()]
        used += [v for v in values if isinstance(v, Handle)]
        return [h for h in self.builder.states.current if h in used]

    def _current(self, keys: Sequence[Handle]) -> list[Any]:
        return [self._symbolic(self.builder.states.current[key]) for key in keys]

    def _symbolic(self, value: Any) -> Any:
        return self.builder.symbolic(value, f"{self.name}_start")

    def _call(self, layer: Any, values: Sequence[Any]) -> list[Any]:
        results = layer(list(values))
        self.builder.names.keep(results)
        return list(results)

    def _finish(self, results: list[Any], keys: Sequence[Handle]) -> list[Any]:
        """Take the variables off the end of a layer's results."""
        count = len(results) - len(keys)
        for key, value in zip(keys, results[count:], strict=True):
            self.builder.states.write(key, value)
        return results[:count]

    def _fix_batch(self, values: Sequence[Any]) -> None:
        if self.builder.free_batch or any(map(holds_batch, values)):
            raise UnknownBatch  # a loop's or a branch's arithmetic may count on the batch that the file has
