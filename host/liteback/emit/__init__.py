"""Graph -> keras.Model. One operator of the file becomes one named layer.

`registry` says which function emits which operator, `ops/` holds those functions, `build` drives them and does what
concerns every operator: constants, fused activations, names, fake-quantization. `gaps` and `verdict` say, without
loading TensorFlow, what cannot be reconstructed.
"""

import os

# Before anything imports Keras.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
