"""Prints what TensorBoard's own reader finds in a folder of event files, as JSON. Used by telemetry.rs."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

everything = {"scalars": 0, "histograms": 0, "images": 0}
events = EventAccumulator(sys.argv[1], size_guidance=everything)
events.Reload()
tags = events.Tags()


def bins(value):
    return {
        "min": value.min,
        "max": value.max,
        "num": value.num,
        "sum": value.sum,
        "sum_squares": value.sum_squares,
        "limits": list(value.bucket_limit),
        "counts": list(value.bucket),
    }


found = {
    "scalars": {t: [[e.step, e.value] for e in events.Scalars(t)] for t in tags["scalars"]},
    "histograms": {
        t: [[e.step, bins(e.histogram_value)] for e in events.Histograms(t)]
        for t in tags["histograms"]
    },
    "images": {
        t: [[e.step, e.width, e.height, e.encoded_image_string[:2].hex()] for e in events.Images(t)]
        for t in tags["images"]
    },
}
json.dump(found, sys.stdout)
