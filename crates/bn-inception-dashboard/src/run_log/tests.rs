//! Events for the tests of readers and sinks.

use super::*;

fn picture() -> Picture {
    Picture { width: 1, height: 2, mime: "image/png".to_owned(), data: "AA==".to_owned() }
}

/// Every kind of event, with every optional field filled.
pub(crate) fn one_of_each() -> Vec<Event> {
    let histogram = || Histogram { min: -1.5, max: 2.0, sum: 0.25, sum_squares: 1.0, counts: vec![1, 0, 2] };
    let start = Start {
        seed: 7,
        program: "train 1".to_owned(),
        revision: Some("abc+".to_owned()),
        labels: vec!["tench".to_owned()],
        ..Start::default()
    };
    let step = StepFacts {
        step: 1,
        epoch: 1,
        loss: 2.5,
        top1: 0.25,
        top5: Some(0.5),
        lr: 0.1,
        grad_norm: Some(3.0),
        images: 4,
        seconds: 0.5,
        wait_seconds: 0.125,
    };
    let result = Validation { step: 1, epoch: 1, top1: 0.5, top5: 1.0, loss: 1.5, images: 2, seconds: 0.5 };
    let report = ValidationReport {
        result,
        classes: vec![ClassCount { correct: 1, total: 2 }],
        confusion: Some(Confusion::Matrix(vec![vec![1, 1], vec![0, 0]])),
        samples: vec![Sample {
            file: "tench/1.jpg".to_owned(),
            thumbnail: picture(),
            class: 0,
            predicted: 1,
            probability: 0.75,
            correct: false,
        }],
    };
    let top = ValidationReport {
        confusion: Some(Confusion::Top(vec![ConfusedPair { class: 0, predicted: 1, count: 1 }])),
        ..report.clone()
    };
    let telemetry = Telemetry {
        step: 1,
        blocks: vec![BlockTelemetry {
            block: "3a".to_owned(),
            grad_norm: 0.5,
            update_ratio: 1e-3,
            weights: histogram(),
            gamma: Some(histogram()),
            beta: None,
        }],
        activations: vec![ActivationPercentiles { layer: "3a.conv_1x1".to_owned(), p15: -1.0, p50: 0.0, p85: 1.0 }],
    };
    let system = SystemSample {
        cpu_percent: 50.0,
        process_cpu_percent: 150.0,
        process_bytes: 1 << 30,
        available_bytes: 1 << 33,
        total_bytes: 1 << 34,
        gpus: vec![GpuSample { name: "gpu".to_owned(), percent: 99.0, used_bytes: 1, total_bytes: 2 }],
    };
    let filters = FilterGrid { step: 1, layer: "stem.conv1".to_owned(), filters: 64, columns: 8, picture: picture() };
    let grad_cam = GradCam {
        step: 1,
        layer: "5b".to_owned(),
        overlays: vec![Overlay {
            file: "tench/1.jpg".to_owned(),
            image: picture(),
            overlay: picture(),
            class: 0,
            predicted: 1,
            probability: 0.75,
        }],
    };
    vec![
        Event::Start(Box::new(start)),
        Event::Step(step),
        Event::Telemetry(Box::new(telemetry)),
        Event::System(system),
        Event::Validation(Box::new(report)),
        Event::Validation(Box::new(top)),
        Event::Filters(filters),
        Event::GradCam(grad_cam),
        Event::Checkpoint { step: 1, path: "1.ckpt".into() },
        Event::BrokenImage { path: "x.jpg".into(), reason: "no JPEG".to_owned() },
        Event::Warning { step: 1, kind: WarningKind::NotFinite, message: "m".to_owned() },
        Event::Interrupted { step: 1, reason: "Ctrl-C".to_owned() },
        Event::Resume { step: 1, device: "flex".to_owned() },
        Event::Failed { step: 1, error: "e".to_owned() },
        Event::Finished { step: 1 },
    ]
}
