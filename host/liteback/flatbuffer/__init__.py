"""The .tflite file itself: read it, tap it, patch it. Nothing of its object API leaves this folder and `lift`."""
