"""Activations that are operators of their own."""

import math

import tensorflow as tf
from keras import layers, ops

from liteback.emit.ops.common import as_shape
from liteback.emit.registry import Layer, computes, emits
from liteback.emit.table import looked_up, softmax_looked_up
from liteback.emit.weight import Weight


def _activation(cls, **config):
    def emitter(x):
        """x of any shape -> the same shape."""
        return Layer(cls, x, config=config)

    return emitter


for _op, _emitter in {
    "ELU": _activation(layers.ELU),
    "HARD_SWISH": _activation(layers.Activation, activation="hard_silu"),
    "RELU": _activation(layers.ReLU),
    "RELU6": _activation(layers.ReLU, max_value=6.0),
    "RELU_0_TO_1": _activation(layers.ReLU, max_value=1.0),
    "RELU_N1_TO_1": _activation(layers.Activation, activation="hard_tanh"),
}.items():
    emits(_op)(_emitter)


def _tabled(op, name):
    def emitter(x, *, context, out):
        """x of any shape -> the same shape; of int16 codes as the kernel's table has it."""
        table = looked_up(op, x, context, out)
        return table or Layer(layers.Activation, x, config={"activation": name})

    return emitter


for _op, _name in {"LOGISTIC": "sigmoid", "TANH": "tanh"}.items():
    emits(_op)(_tabled(_op, _name))


@emits("GELU")
def gelu(x, *, approximate, context, out):
    """x Φ(x); approximate: Φ through tanh."""
    table = looked_up("GELU_APPROXIMATE" if approximate else "GELU", x, context, out)
    return table or ops.gelu(x, approximate=bool(approximate))


@emits("LEAKY_RELU")
def leaky_relu(x, *, alpha):
    """x where x > 0, else alpha x."""
    if alpha < 0:  # the layer refuses it
        return ops.leaky_relu(x, float(alpha))
    return Layer(layers.LeakyReLU, x, config={"negative_slope": float(alpha)})


@emits("PRELU", weights=["alpha"])
def prelu(x, alpha):
    """x where x >= 0, else alpha x; alpha broadcasts to x."""
    rank = len(x.shape)
    shape = (1,) * (rank - len(alpha.shape)) + tuple(alpha.shape)
    if not isinstance(alpha, Weight) or rank < 2 or len(shape) != rank or shape[0] != 1:
        return NotImplemented
    shared = [axis for axis in range(1, rank) if shape[axis] == 1]
    return Layer(layers.PReLU, x, [alpha.reshape(*shape[1:])], {"shared_axes": shared or None})


@computes("PRELU", weights=["alpha"])
def prelu_kernel(x, alpha):
    """An alpha that is computed, or differs from sample to sample."""
    return tf.where(x >= 0, x, alpha * x)


@emits("SOFTMAX")
def softmax(x, *, beta, context, out):
    """exp(beta x) / sum(exp(beta x)) over the last axis."""
    table = softmax_looked_up(x, context, out, beta)
    return table or _over_rows(layers.Softmax, x if beta == 1.0 else ops.multiply(x, beta), axis=-1)


@emits("LOG_SOFTMAX")
def log_softmax(x):
    """x - log(sum(exp(x))), the sum over the last axis; of a single number 0."""
    return _over_rows(layers.Activation, x, activation="log_softmax")


def _over_rows(cls, x, **config):
    """A layer of the last axis; TensorFlow's kernels (oneDNN in 2.21) take from one axis to five."""
    shape = as_shape(x.shape)
    if 0 < len(shape) < 6:
        return Layer(cls, x, config=config)
    if 0 in shape:  # there is nothing to compute, and an extent that is not known cannot be told from what is there
        return Layer(layers.Identity, x)
    *lead, last = shape or (1,)
    rows = ops.reshape(x, (-1 if -1 in lead else math.prod(lead), last))
    return Layer(cls, rows, config=config, then=lambda y: ops.reshape(y, shape))
