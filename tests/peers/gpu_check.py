#!/usr/bin/env python3
"""What has to be seen once on a machine with a GPU; prints one JSON object.

  gpu_check.py --data DIR [--devices wgpu,cuda] [--steps 50] [--memory-steps 1000]

For each device, at full width, 224 px, batch 64: the losses of the first steps beside Flex's from the same seed, images
per second beside PyTorch's training step on the same GPU (f32 and TF32 apart), and the GPU's memory in use over a long
run. Needs `cargo` with the devices' features buildable, an NVIDIA GPU for the memory figure, and torch for PyTorch's.
"""
import argparse, json, pathlib, subprocess, sys, tempfile, threading, time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def train(a, device, steps, out):
    """Losses and images per second of a run of `steps` steps."""
    features = [] if device == "flex" else ["--features", device]
    subprocess.run(["cargo", "run", "--release", "--example", "train-imagenet", *features, "--", "--data", a.data,
                    "--preset", "caffe", "--width", "1", "--image-size", "224", "--batch-size", "64", "--seed", "0",
                    "--steps", str(steps), "--device", device, "--out", str(out)], cwd=ROOT, check=True,
                   stdout=sys.stderr)
    events = [json.loads(line) for line in open(out / "run.jsonl") if line.endswith("\n")]
    events = [e for e in events if e["event"] == "step"]
    warm = events[len(events) // 5:]
    rate = sum(e["images"] for e in warm) / sum(e["seconds"] for e in warm)
    return [e["loss"] for e in events], rate


def watch_memory(used, stop):
    """Samples the memory in use, in MiB, until `stop`."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    while not stop.is_set():
        used.append(int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]))
        time.sleep(5)


def torch_rate(*flags):
    """Images per second of PyTorch's training step."""
    r = subprocess.run([sys.executable, str(HERE / "torch_train_step.py"), "--device", "cuda", "--width", "1", "--size",
                        "224", "--batch-size", "64", "--warmup", "10", "--steps", "30", *flags],
                       check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(r.stdout.splitlines()[-1])["images_per_second"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", required=True)
    p.add_argument("--devices", default="wgpu,cuda")
    p.add_argument("--steps", type=int, default=50)
    p.add_argument("--memory-steps", type=int, default=1000)
    a = p.parse_args()
    a.data = str(pathlib.Path(a.data).resolve())
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        expected, _ = train(a, "flex", a.steps, folder / "flex")
        for device in a.devices.split(","):
            losses, rate = train(a, device, a.steps, folder / device)
            worst = max(abs(x - y) / abs(y) for x, y in zip(losses, expected))
            used, stop = [], threading.Event()
            watcher = threading.Thread(target=watch_memory, args=(used, stop))
            watcher.start()
            train(a, device, a.memory_steps, folder / f"{device}-memory")
            stop.set()
            watcher.join()
            settled = used[len(used) // 4:]
            result[device] = {"losses": losses, "flex_losses": expected, "worst_relative_difference": worst,
                              "images_per_second": rate, "memory_mib_early": settled[0], "memory_mib_late": settled[-1]}
    result["torch_images_per_second"] = {"f32": torch_rate(), "tf32": torch_rate("--tf32")}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
