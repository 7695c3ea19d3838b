#!/usr/bin/env python3
"""Milliseconds per image of PyTorch's training step of BN-Inception, as one JSON line.

    python torch_train_step.py [--device cpu] [--threads 2] [--width 0.5] [--classes 10] [--size 128] [--batch-size 64]
                               [--warmup 2] [--steps 6] [--tf32]

One step is forward, cross entropy, backward and SGD with momentum on random data; the median step counts, the best is given too. On a GPU,
f32 means f32 unless --tf32 is given.
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

import torch
from torch.nn import functional as F

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "crates/bn-inception/tests/fixtures/parity"))
from network import BnInception


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cpu")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--width", type=float, default=0.5)
    p.add_argument("--classes", type=int, default=10)
    p.add_argument("--size", type=int, default=128)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--warmup", type=int, default=2)
    p.add_argument("--steps", type=int, default=6)
    p.add_argument("--tf32", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = a.tf32
    device = torch.device(a.device)
    net = BnInception(a.classes, a.width).to(device).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    x = torch.randn(a.batch_size, 3, a.size, a.size, device=device)
    wanted = torch.randint(a.classes, (a.batch_size,), device=device)
    times = []
    for _ in range(a.warmup + a.steps):
        start = time.perf_counter()
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x), wanted)
        loss.backward()
        optimiser.step()
        loss.item()  # waits for the device; the update, queued before this read, is done too
        times.append(time.perf_counter() - start)
    step, best = statistics.median(times[a.warmup:]), min(times[a.warmup:])
    print(json.dumps({"ms_per_image": round(1000 * step / a.batch_size, 3),
                      "best_ms_per_image": round(1000 * best / a.batch_size, 3),
                      "images_per_second": round(a.batch_size / step, 1), "batch_size": a.batch_size, "size": a.size, "width": a.width, "device": a.device, "tf32": a.tf32,
                      "threads": a.threads, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
