#!/usr/bin/env python3
"""This project's inference beside OpenVINO and ONNX Runtime, in turn, several rounds; the ratios inside each round.

    cargo build --example bench --example convert
    target/debug/examples/convert --from WEIGHTS --to model.onnx
    python tests/peers/inference.py model.onnx [--batch 1] [--threads 2] [--seconds 2] [--rounds 5]
                                               [--bench target/debug/examples/bench]

WEIGHTS are of the full network (`cadene`, or any file). ONNX Runtime and OpenVINO are on PyPI (`onnxruntime`,
`openvino`). The machine is shared and noisy: what counts is a peer's time over ours inside one round.
"""
import argparse, json, statistics, subprocess, sys, time

import numpy as np


def engine(name, path, batch, threads):
    """A function that runs one batch."""
    size = 224
    x = np.random.default_rng(0).standard_normal((batch, 3, size, size), dtype=np.float32)
    if name == "ort":
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {session.get_inputs()[0].name: x})
    import openvino
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([batch, 3, size, size])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1,
                "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer({0: x})


def measure(name, a):
    run = engine(name, a.onnx, a.batch, a.threads)
    for _ in range(3):
        run()
    times, end = [], time.perf_counter() + a.seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3 / a.batch


def separately(arguments):
    """Each measurement is a process of its own, so that no engine's idle threads disturb another."""
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(arguments)}")
    return json.loads(done.stdout.splitlines()[-1])["ms_per_image"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("onnx")
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--bench", default="target/debug/examples/bench")
    p.add_argument("--engine", choices=["ort", "openvino"], help="measure this one alone, print JSON")
    a = p.parse_args()
    if a.engine:
        print(json.dumps({"ms_per_image": measure(a.engine, a)}))
        return
    numbers = ["--batch", str(a.batch), "--threads", str(a.threads), "--seconds", str(a.seconds)]
    ours, peers = [], {"openvino": [], "ort": []}
    for _ in range(a.rounds):
        ours.append(separately([a.bench, "--json", *numbers]))
        for name, times in peers.items():
            times.append(separately([sys.executable, __file__, a.onnx, "--engine", name, *numbers]))
    print(f"ours      {statistics.median(ours):7.2f} ms/image")
    for name, times in peers.items():
        ratios = sorted(t / o for t, o in zip(times, ours))
        print(f"{name:9s} {statistics.median(times):7.2f} ms/image, {statistics.median(ratios):.2f} times ours "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
