"""Two tensors element by element, with broadcasting; comparison, logic and choice."""

import functools

import numpy as np
import tensorflow as tf
from keras import layers, ops

from liteback.emit.names import is_symbolic
from liteback.emit.ops.common import add, codes_of, dtype_of, numbers_of, real_of, truncated_divide, typed
from liteback.emit.registry import Layer, computes, emits
from liteback.ir import CODE_RANGE
from liteback.numerics.fixed_point import quantize_multiplier


def _mergeable(values):
    """Keras' merging layers broadcast by other rules than numpy, and say that they give floats, whatever they take."""
    if len(values) < 2 or not all(map(is_symbolic, values)):
        return False
    shapes = {tuple(v.shape) for v in values}
    shape = shapes.pop()
    return not shapes and bool(shape) and 0 not in shape and {dtype_of(v) for v in values} == {"float32"}


def _merge(fn, layer):
    def emitter(x, y):
        """x, y of shapes that broadcast -> the broadcast shape."""
        return Layer(layer, [x, y]) if _mergeable([x, y]) else fn(x, y)

    return emitter


def _merge_numbers(fn, layer):
    def emitter(x, y, *, context):
        """x, y of one shape -> the same shape."""
        numbers_of(context)
        return Layer(layer, [x, y]) if _mergeable([x, y]) else fn(x, y)

    return emitter


for _op, _fn, _layer in (
    ("ADD", add, layers.Add),
    ("SUB", ops.subtract, layers.Subtract),
    ("MUL", ops.multiply, layers.Multiply),
    ("MAXIMUM", ops.maximum, layers.Maximum),
    ("MINIMUM", ops.minimum, layers.Minimum),
):
    emits(_op)(_merge(_fn, _layer))
    if _op != "SUB":
        emits(f"STABLEHLO_{'MULTIPLY' if _op == 'MUL' else _op}")(_merge_numbers(_fn, _layer))

for _op, _fn in {
    "ATAN2": ops.arctan2,
    "LOGICAL_AND": ops.logical_and,
    "LOGICAL_OR": ops.logical_or,
    "POW": ops.power,
}.items():
    emits(_op)(_fn)


def _floored(fn):
    def emitter(x, y, *, context, out):
        """Of the quotient rounded down. The kernels take codes for numbers (floor_div.cc, floor_mod.cc, v2.14.0)."""
        if context.numerics != "fakequant" or out.dtype not in CODE_RANGE or not out.is_quantized:
            return fn(x, y)
        codes = fn(*(codes_of(v, s) for v, s in zip((x, y), context.sources, strict=True)))
        return real_of(ops.cast(ops.cast(codes, "int32"), out.dtype), out)  # -128 / -1 wraps

    return emitter


emits("FLOOR_DIV")(_floored(ops.floor_divide))
emits("FLOOR_MOD")(_floored(ops.mod))


@emits("DIV")
def div(x, y, *, context, out):
    """x / y; of integers the quotient rounded towards zero, as in C++."""
    if "int" in dtype_of(x):
        return truncated_divide(x, y)
    quotient = ops.divide(x, y)
    if context.numerics != "fakequant" or out.dtype not in ("int8", "uint8", "int16"):
        return quotient
    return ops.multiply(quotient, _lost_shift(quotient, x, y, *(s.quantization.scale[0] for s in context.sources), out))


def _lost_shift(quotient, x, y, left, right, out):
    """2**32 where the kernel of codes shifts a small quotient down by 32 bits or more: of a word, that shifts by less.

    Source: DivElementwise (kernels/internal/reference/div.h), RoundingDivideByPOT (gemmlowp fixedpoint.h) (v2.21.0).
    """
    shift = quantize_multiplier(float(left / (right * out.quantization.scale[0])))[1]
    above, below = (ops.abs(ops.round(ops.divide(v, scale))) for v, scale in ((x, left), (y, right)))
    above = ops.subtract(above, ops.cast(ops.less(quotient, 0), "float32"))  # it is the bits of ~x that count below 0
    ahead = [ops.floor(ops.log2(ops.add(n, 0.5))) for n in (above, below)]  # the place of the first bit that is set
    down = ops.add(ops.subtract(ahead[1], ahead[0]), 30 - shift)
    return ops.power(2.0**32, ops.floor(ops.divide(down, 32)))


@emits("SQUARED_DIFFERENCE")
def squared_difference(x, y):
    """(x - y)²."""
    return ops.square(ops.subtract(x, y))


@emits("RIGHT_SHIFT")
def right_shift(x, y):
    """x >> y, the sign kept; y is clamped to the bits of its type (right_shift.cc, v2.14.0)."""
    bits = 8 * tf.as_dtype(dtype_of(y)).size
    return ops.bitwise_right_shift(_spread(x, y), ops.clip(y, 0, bits - 1))


@emits("BITWISE_XOR")
def bitwise_xor(x, y):
    """The bits in which x and y differ."""
    return ops.bitwise_xor(_spread(x, y), y)


@emits("STABLEHLO_SHIFT_LEFT")
def shift_left(x, y):
    """x << y; C++ leaves open what more bits than the type has would give (stablehlo_shift_left.cc, v2.21.0)."""
    return ops.bitwise_left_shift(x, y)


@emits("STABLEHLO_AND")
def stablehlo_and(x, y):
    """The bits that x and y have in common; of booleans, whether both are true."""
    return (ops.logical_and if dtype_of(x) == "bool" else ops.bitwise_and)(x, y)


def _spread(x, y):
    """x in the shape that x and y broadcast to: Keras takes a bitwise operation to keep the shape of x."""
    return x if tuple(x.shape) == tuple(y.shape) else ops.multiply(x, ops.ones_like(y))


@emits("ADD_N")
def add_n(*values):
    """The sum of tensors of one shape."""
    return Layer(layers.Add, list(values)) if _mergeable(values) else functools.reduce(add, values)


def _compared(x, source):
    """What the kernel compares: 8-bit codes as whole 256ths of their real value, 16-bit codes as they are.

    Source: ComparisonQuantized in kernels/comparisons.cc (v2.14.0).
    """
    if not source.is_quantized or source.dtype not in ("int8", "uint8", "int16"):
        return x
    scaled = ops.multiply(x, 1 / source.quantization.scale[0] if source.dtype == "int16" else np.float32(256))
    return ops.multiply(ops.sign(scaled), ops.floor(ops.add(ops.absolute(scaled), 0.5)))  # halves away from zero


def _comparison(fn, string_fn):
    def emitter(x, y, *, context):
        """x, y of one type and of shapes that broadcast -> bool."""
        if dtype_of(x) == "string":
            return NotImplemented
        if context.numerics == "fakequant":
            x, y = _compared(x, context.sources[0]), _compared(y, context.sources[1])
        return fn(x, y)

    if string_fn is not None:
        computes(string_fn[0])(string_fn[1])
    return emitter


for _op, _fn, _kernel in (
    ("EQUAL", ops.equal, tf.equal),
    ("NOT_EQUAL", ops.not_equal, tf.not_equal),
    ("GREATER", ops.greater, None),
    ("GREATER_EQUAL", ops.greater_equal, None),
    ("LESS", ops.less, None),
    ("LESS_EQUAL", ops.less_equal, None),
):
    emits(_op)(_comparison(_fn, _kernel and (_op, _kernel)))


@emits("SELECT")
def select(condition, x, y):
    """x where condition, else y; a vector chooses along the first axis."""
    rank = len(x.shape)
    if len(condition.shape) == 1 and rank > 1:
        condition = ops.reshape(condition, (-1, *[1] * (rank - 1)))
    return ops.where(condition, x, y)


@emits("SELECT_V2")
def select_v2(condition, x, y):
    """x where condition, else y."""
    return typed(ops.where(condition, x, y), x, y)
