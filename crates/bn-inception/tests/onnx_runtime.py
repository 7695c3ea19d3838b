"""Checks every NAME.onnx in a folder, runs it on NAME.images (f32) and writes NAME.logits (f32).

Each file also has to carry the metadata entry `bn_inception`, and a batch that is not fixed.
"""

import json
import pathlib
import sys

import numpy
import onnx
import onnxruntime

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    [entry] = model.metadata_props
    assert entry.key == "bn_inception", entry.key
    header = json.loads(entry.value)
    assert header["labels"] and header["preprocess"] and header["facts"]["licence"] == "CC0", path
    for value in (model.graph.input[0], model.graph.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch", path
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [images], [logits] = session.get_inputs(), session.get_outputs()
    _, *shape = images.shape
    pixels = numpy.fromfile(path.with_suffix(".images"), numpy.float32).reshape(-1, *shape)
    [result] = session.run([logits.name], {images.name: pixels})
    assert result.shape == (len(pixels), logits.shape[1]), result.shape
    result.astype(numpy.float32).tofile(path.with_suffix(".logits"))
