"""The .tflite file itself: read it, and tap it. Of its object API only `lift`, `sparse` and `export` know beside."""
