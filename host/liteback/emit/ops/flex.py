"""Operators of TensorFlow that a file carries as they are; see `carried.py`."""

from functools import lru_cache

import tensorflow as tf
from google.protobuf.message import DecodeError
from keras import layers

from liteback.emit.carried import ANY, known, node_def
from liteback.emit.registry import Layer, computes, emits


@computes(ANY, pure=False)  # some draw random numbers
def flex(*inputs, custom_options):
    """What TensorFlow's own operator computes, with the attributes that the file has."""
    results = _function(custom_options)(*inputs)
    return results[0] if len(results) == 1 else list(results)


@emits("CUSTOM:FlexMaxPool3D")
def max_pool_3d(x, *, custom_options):
    """x (N,D,H,W,C) -> (N,D',H',W',C), the largest of each window."""
    return _pool_3d(layers.MaxPooling3D, x, parsed(custom_options).attr)


@emits("CUSTOM:FlexAvgPool3D")
def average_pool_3d(x, *, custom_options):
    """x (N,D,H,W,C) -> (N,D',H',W',C), the mean of each window. Padded elements do not count."""
    return _pool_3d(layers.AveragePooling3D, x, parsed(custom_options).attr)


def _pool_3d(cls, x, attr):
    size, strides = (tuple(attr[name].list.i) for name in ("ksize", "strides"))
    padding, ordered = attr["padding"].s.decode().lower(), attr["data_format"].s in (b"", b"NDHWC")
    if not (ordered and len(size) == len(strides) == 5 and {*size[::4], *strides[::4]} == {1}):
        return NotImplemented
    return Layer(cls, x, config={"pool_size": size[1:4], "strides": strides[1:4], "padding": padding})


def parsed(custom_options):
    """The NodeDef that the options hold."""
    try:
        return tf.compat.v1.NodeDef.FromString(node_def(custom_options)[1])
    except DecodeError as error:
        raise ValueError("its options hold no NodeDef") from error


@lru_cache(maxsize=1024)
def _function(custom_options):
    """The operator as a function; traced anew for other shapes."""
    node = parsed(custom_options)
    if node.op not in known():  # a saved model may come from anywhere
        raise NotImplementedError(f"TensorFlow has no operator {node.op!r} that computes tensors from tensors alone")
    node.name = "operator"
    node.input[:] = [f"input_{k}" for k in range(len(node.input))]
    graph = tf.compat.v1.GraphDef(node=[node])
    graph.versions.producer = tf.version.GRAPH_DEF_VERSION

    @tf.function(autograph=False)
    def run(*inputs):
        if len(inputs) != len(node.input):
            raise NotImplementedError(f"{len(inputs)} inputs; its NodeDef has {len(node.input)}")
        given = {f"{name}:0": tf.convert_to_tensor(x) for name, x in zip(node.input, inputs, strict=True)}
        (operator,) = tf.graph_util.import_graph_def(graph, given, [node.name], name="")
        return operator.outputs

    return run
