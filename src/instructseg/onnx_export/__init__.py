"""ONNX files of a model, for onnxruntime: needs the extra `onnx`."""
