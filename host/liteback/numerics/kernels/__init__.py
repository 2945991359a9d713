"""The exact kernels, by family. Importing this fills the registry, `operator.EXACT`."""

from . import activation, compare, conv, elementwise, matmul, pool, quantize, reduce, resize, roots, softmax  # noqa: F401
