"""A layer that computes an operator on codes, as a kernel set of a board does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from liteback.emit.names import NameBook, is_symbolic
from liteback.emit.op_layer import ABSENT, TENSOR, ConstantsLayer, array_of, describe
from liteback.ir import Graph, Node
from liteback.numerics import kernels  # noqa: F401  (fills the registry)
from liteback.numerics.operator import EXACT, Operator, compute, is_moving
from liteback.numerics.profile import KernelProfile


@keras.saving.register_keras_serializable(package="liteback")
class ExactLayer(ConstantsLayer):
    """One quantized operator of TensorFlow Lite on integers: codes in, codes out, every bit the kernel's.

    operator: `Operator.to_json()`. arguments: as `OpLayer` has them. Nothing of it trains: codes have no gradient.
    """

    def __init__(self, operator: dict[str, Any], arguments: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(arguments, **kwargs)
        self.operator = Operator.from_json(operator)
        self._kernel = tf.function(self._compute, autograph=False)
        self.refusal = ""

    @classmethod
    def of(cls, operator: Operator, inputs: Sequence[Any], name: str) -> ExactLayer:
        """The layer of an operator. inputs: KerasTensors, arrays of codes, or None."""
        layer = cls(operator.to_json(), [describe(value) for value in inputs], name=name)
        layer.assign(inputs)
        return layer

    def call(self, inputs: Any) -> Any:
        # In a graph the kernel becomes part of it; by itself it is traced once, with its constants prepared.
        fn = self._kernel if tf.executing_eagerly() else self._compute
        return fn(*(inputs if isinstance(inputs, (list, tuple)) else [inputs]))

    def _compute(self, *tensors: Any) -> Any:
        """Constants go into the graph as numbers: what a kernel prepares of them, it prepares once."""
        given = iter(tensors)
        try:
            return compute(self.operator, [self._codes(i, a, given) for i, a in enumerate(self.arguments)])
        except NotImplementedError as error:
            self.refusal = str(error)  # Keras tells it in words of its own
            raise

    def _codes(self, position: int, argument: Any, tensors: Any) -> Any:
        if argument == TENSOR:
            return next(tensors)
        if argument == ABSENT:
            return None
        if "weight" in argument:
            with tf.init_scope():  # a variable has its value outside of the graph that is being built
                return np.asarray(self.constant(position))
        return array_of(argument)

    def load_own_variables(self, store: Any) -> None:
        super().load_own_variables(store)
        self._kernel = tf.function(self._compute, autograph=False)  # the old one holds the old constants

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "operator": self.operator.to_json()}


def operator_of(node: Node, graph: Graph, profile: KernelProfile | None) -> Operator | None:
    """A node as its exact kernel sees it, in the profile's variant; None where it has no such kernel.

    Raises:
        NotImplementedError: the profile names a variant that the kernel does not know.
    """
    operator = Operator.of(node, graph)
    if not operator.on_codes or is_moving(operator):
        return None
    known = EXACT[node.op].variants_of(operator.kind)
    variant = (profile.variant(operator.kind, node.index) if profile else "") or known[0]
    if variant not in known:
        raise NotImplementedError(f"its exact kernel knows the variants {', '.join(known)}, not {variant!r}")
    return operator.in_variant(variant)


def exact_result(operator: Operator, inputs: Sequence[Any], name: str, names: NameBook) -> Any:
    """What an operator gives: a layer's results, or codes that are known at once where its inputs are."""
    tensors = [v for v in inputs if is_symbolic(v)]
    if not tensors:
        values = compute(operator, inputs)
        return [np.asarray(v) for v in values] if isinstance(values, (list, tuple)) else np.asarray(values)
    layer = ExactLayer.of(operator, inputs, name)
    try:
        value = layer(tensors[0] if len(tensors) == 1 else tensors)
    except NotImplementedError:
        raise NotImplementedError(layer.refusal) from None
    names.keep(value)
    return value
