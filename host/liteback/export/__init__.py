"""keras.Model -> .tflite bytes."""
