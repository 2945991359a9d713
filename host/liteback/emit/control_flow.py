"""Layers that hold models: a loop, and a choice between two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from liteback.emit.op_layer import dense


class _Holder(keras.layers.Layer):
    """A layer whose configuration is that of the models it holds, by attribute."""

    held_models: Sequence[str] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def compute_output_spec(self, inputs: Any) -> Any:
        return super().compute_output_spec(dense(inputs))

    def get_config(self) -> dict[str, Any]:
        models = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in self.held_models}
        return {**super().get_config(), **models}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        models = {name: keras.saving.deserialize_keras_object(config[name]) for name in cls.held_models}
        return cls(**{**config, **models})


@keras.saving.register_keras_serializable(package="liteback")
class While(_Holder):
    """Repeats `body` on its values for as long as `cond` of them holds: v = body(v) while cond(v).

    cond, body: keras.Model of a list of tensors; body's results have the types of its inputs. shapes: what of each
    tensor's shape is the same in every round, None for an extent that may change.
    """

    held_models = ("cond", "body")

    def __init__(self, cond: Any, body: Any, shapes: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cond, self.body, self.shapes = cond, body, [list(s) for s in shapes]

    def call(self, inputs: Any) -> Any:
        return list(
            tf.while_loop(
                lambda *values: tf.reshape(_run(self.cond, values)[0], ()),
                lambda *values: tuple(_run(self.body, values)),
                tuple(inputs),
                shape_invariants=tuple(tf.TensorShape(s) for s in self.shapes),
            )
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shapes": self.shapes}


@keras.saving.register_keras_serializable(package="liteback")
class If(_Holder):
    """Runs one of two models: then_branch(values) if the first input is true, else else_branch(values).

    then_branch, else_branch: keras.Model of the list of all inputs, the condition included.
    """

    held_models = ("then_branch", "else_branch")

    def __init__(self, then_branch: Any, else_branch: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.then_branch, self.else_branch = then_branch, else_branch

    def call(self, inputs: Any) -> Any:
        values = list(inputs)
        return tf.cond(
            tf.reshape(tf.cast(values[0], tf.bool), ()),
            lambda: _run(self.then_branch, values),
            lambda: _run(self.else_branch, values),
        )


@keras.saving.register_keras_serializable(package="liteback")
class Pick(_Holder):
    """Runs one of several models: models[k](values), k the first input; the last, where there is none of that number.

    models: keras.Model of the list of all inputs, the number included. They are the attributes branch_0, branch_1, ...
    """

    def __init__(self, models: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.models = list(models)
        for number, model in enumerate(models):
            setattr(self, f"branch_{number}", model)

    def call(self, inputs: Any) -> Any:
        values = list(inputs)
        branches = [lambda model=model: _run(model, values) for model in self.models]
        return tf.switch_case(tf.reshape(values[0], ()), branches)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "models": [keras.saving.serialize_keras_object(m) for m in self.models]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**{**config, "models": [keras.saving.deserialize_keras_object(m) for m in config["models"]]})


def _run(model: Any, values: Sequence[Any]) -> list[Any]:
    """A model's results as a list; Keras takes and gives a single tensor bare."""
    results = model(values[0] if len(values) == 1 else list(values))
    return list(results) if isinstance(results, (list, tuple)) else [results]
