"""Networks that a test has the converter convert."""

from __future__ import annotations

from collections.abc import Callable

import keras

from emit.case import rand


def trained(make: Callable[[], keras.Model]) -> keras.Model:
    """A network whose weights are no longer those of a new one: there biases are zeros and ones."""
    keras.utils.set_random_seed(3)
    model = make()
    for k, w in enumerate(model.trainable_weights):
        w.assign(w + rand(*w.shape, seed=k) * 0.3)
    return model
