"""The exact kernels, by family. Importing this fills the registry, `operator.EXACT`."""

from liteback.numerics.kernels import (  # noqa: F401
    activation,
    compare,
    conv,
    elementwise,
    matmul,
    pool,
    quantize,
    recurrent,
    reduce,
    resize,
    roots,
    softmax,
)
