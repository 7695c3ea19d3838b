"""The Python half of the test `python_reads_back_what_was_converted`.

    python read_back.py make FOLDER    writes random.pth, image.png and logits.json
    python read_back.py check FOLDER   reads the converted files back

Exits with status 77 if a package is missing.
"""

import json
import pathlib
import sys

try:
    import numpy
    import onnx
    import onnxruntime
    import pretrainedmodels
    import torch
    from PIL import Image
    from safetensors import safe_open
    from safetensors.torch import load_file
except ImportError as error:
    sys.exit(print(error, file=sys.stderr) or 77)

STEP, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])


def network():
    return pretrainedmodels.bninception(num_classes=1000, pretrained=None).eval()


def make():
    torch.manual_seed(11)
    model = network()
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif "_bn." in name and tensor.is_floating_point():
            tensor.uniform_(-0.3, 0.3)
            if name.endswith("weight"):
                tensor += 1.0
    torch.save(model.state_dict(), FOLDER / "random.pth")
    y, x = numpy.mgrid[0:224, 0:224]
    pixels = numpy.stack([x, y, x * y // 224], 2).astype(numpy.uint8)
    Image.fromarray(pixels).save(FOLDER / "image.png")
    with torch.no_grad():
        logits = model.double()(torch.from_numpy(batch(pixels)).double())
    (FOLDER / "logits.json").write_text(json.dumps(logits[0].tolist()))


def batch(pixels):
    """BGR, 0 to 255, mean 104/117/128."""
    bgr = pixels[:, :, ::-1].astype(numpy.float32) - numpy.float32([104, 117, 128])
    return bgr.transpose(2, 0, 1)[None].copy()


def check():
    original = torch.load(FOLDER / "random.pth", weights_only=True)
    model = network()
    model.load_state_dict(load_file(FOLDER / "theirs.safetensors"))
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, original[name]), name
    halves = load_file(FOLDER / "theirs-half.safetensors")
    assert halves["conv1_7x7_s2.weight"].dtype == torch.float16
    assert halves["conv1_7x7_s2_bn.weight"].dtype == torch.float32
    assert torch.equal(halves["conv1_7x7_s2.weight"], original["conv1_7x7_s2.weight"].half())
    network().load_state_dict(halves)
    ours = load_file(FOLDER / "ours.safetensors")
    assert torch.equal(ours["stem.conv1.weight"], original["conv1_7x7_s2.weight"])
    assert len(ours) == sum("num_batches" not in name for name in original)
    with safe_open(FOLDER / "ours.safetensors", "pt") as file:
        header = json.loads(file.metadata()["bn_inception"])
    assert header["preprocess"]["mean"] == [104, 117, 128] and len(header["labels"]) == 1000
    logits = json.loads((FOLDER / "logits.json").read_text())
    pixels = batch(numpy.asarray(Image.open(FOLDER / "image.png")))
    for name in ("plain.onnx", "folded.onnx"):
        onnx.checker.check_model(onnx.load(FOLDER / name), full_check=True)
        session = onnxruntime.InferenceSession(FOLDER / name, providers=["CPUExecutionProvider"])
        [result] = session.run(None, {"images": numpy.repeat(pixels, 2, 0)})
        difference = numpy.linalg.norm(result[1] - logits) / numpy.linalg.norm(logits)
        assert difference < 1e-4, (name, difference)


{"make": make, "check": check}[STEP]()
