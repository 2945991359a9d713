"""What a model is fed: arrays from a file, a folder of images or sounds, or random numbers.

`read_inputs` and `random_inputs` both give `Inputs`: a sequence of samples, each a mapping from the index of
an input tensor to the codes it is fed, in the tensor's own dtype and shape.
"""

from liteback.inputs.samples import Inputs
from liteback.inputs.sources import read_inputs
from liteback.inputs.synthetic import random_inputs

__all__ = ["Inputs", "random_inputs", "read_inputs"]
