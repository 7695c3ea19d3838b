#!/usr/bin/env python3
"""Images per second of torchvision's loader on DIR (one folder per class), as one JSON line.

    python torchvision_loader.py DIR [--workers 2] [--images 1536] [--size 128] [--batch-size 64]

The usual training pipeline: random resized crop, flip, to float, normalise. `workers` 0 decodes on the main thread.
The clock starts at the first batch's arrival, so starting the worker processes is not counted.
"""
import argparse
import json
import time

import torch
import torchvision
from torchvision import transforms as T


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dir")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--images", type=int, default=1536)
    p.add_argument("--size", type=int, default=128)
    p.add_argument("--batch-size", type=int, default=64)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pipeline = T.Compose([
        T.RandomResizedCrop(a.size),
        T.RandomHorizontalFlip(),
        T.ToTensor(),
        T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    files = torchvision.datasets.ImageFolder(a.dir, pipeline)
    # Batches already decoded when the clock starts (the first one and what the workers hold ready) are few beside the rest.
    some = torch.utils.data.Subset(files, torch.randperm(len(files))[: a.images + a.batch_size].tolist())
    batches = iter(torch.utils.data.DataLoader(some, a.batch_size, shuffle=False, num_workers=a.workers))
    next(batches)
    start = time.perf_counter()
    images = sum(len(x) for x, _ in batches)
    seconds = time.perf_counter() - start
    print(json.dumps({"images_per_second": round(images / seconds, 1), "images": images, "workers": a.workers,
                      "size": a.size, "batch_size": a.batch_size, "torchvision": torchvision.__version__}))


if __name__ == "__main__":
    main()
