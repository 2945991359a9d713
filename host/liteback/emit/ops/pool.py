"""Pooling over windows."""

from keras import layers, ops

from liteback.emit.registry import Layer, emits


def _pool(cls):
    def emitter(x, *, padding, stride_h, stride_w, filter_height, filter_width):
        """x (N,H,W,C) -> (N,H',W',C). Padded elements do not count."""
        return Layer(cls, x, config=_window(padding, stride_h, stride_w, filter_height, filter_width))

    return emitter


emits("AVERAGE_POOL_2D")(_pool(layers.AveragePooling2D))
emits("MAX_POOL_2D")(_pool(layers.MaxPooling2D))


@emits("L2_POOL_2D")
def l2_pool_2d(x, *, padding, stride_h, stride_w, filter_height, filter_width):
    """sqrt(mean(x^2)) over each window; padded elements do not count."""
    window = _window(padding, stride_h, stride_w, filter_height, filter_width)
    return ops.sqrt(ops.average_pool(ops.square(x), **window))


def _window(padding, stride_h, stride_w, filter_height, filter_width):
    return {
        "pool_size": (filter_height, filter_width),
        "strides": (stride_h, stride_w),
        "padding": padding.lower(),
    }
