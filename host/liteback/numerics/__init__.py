"""The arithmetic of quantized tensors, in numpy."""
