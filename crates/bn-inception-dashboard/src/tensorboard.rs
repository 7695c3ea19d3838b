//! TensorBoard event files, from the stream of a run's events.
//!
//! `tensorboard --logdir OUT` shows scalars (`train/…`, `validation/…`, `gradients/…`, `updates/…`,
//! `activations/…`, `system/…`), histograms (`weights/…`, `gamma/…`, `beta/…`) and images (`filters`,
//! `grad_cam/…`, `samples/…`).

mod proto;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;

use crate::run_log::{
    Event, Histogram, Picture, Record, Sink, StepFacts, SystemSample, Telemetry, ValidationReport,
};
use proto::{HistogramProto, Image, SessionLog, Summary, Value, What};

/// Writes one event file.
pub struct TensorBoard {
    file: BufWriter<File>,
    /// Of the newest record that has one: for those without.
    step: u64,
}

impl TensorBoard {
    /// A new event file in `folder`, which is made if need be; a resumed run's lies beside the older
    /// ones.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let time = now.unwrap_or_default();
        // TensorBoard reads a folder's files in the order of their names and never one that it has left.
        let name = format!(
            "events.out.tfevents.{:010}.{:09}.{}",
            time.as_secs(),
            time.subsec_nanos(),
            process::id()
        );
        let file = File::create_new(folder.join(name))?;
        let mut sink = Self {
            file: BufWriter::new(file),
            step: 0,
        };
        sink.write(proto::Event {
            wall_time: time.as_secs_f64(),
            step: 0,
            what: Some(What::FileVersion("brain.Event:2".to_owned())),
        })?;
        sink.file.flush()?;
        Ok(sink)
    }

    /// A TFRecord: length, its checksum, data, its checksum, all little-endian.
    fn write(&mut self, event: proto::Event) -> io::Result<()> {
        let data = event.encode_to_vec();
        let length = (data.len() as u64).to_le_bytes();
        self.file.write_all(&length)?;
        self.file.write_all(&masked_crc(&length).to_le_bytes())?;
        self.file.write_all(&data)?;
        self.file.write_all(&masked_crc(&data).to_le_bytes())
    }
}

/// TFRecord's checksum: CRC-32C, rotated right by 15 bits, plus a constant.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

impl Sink for TensorBoard {
    fn name(&self) -> &'static str {
        "tensorboard"
    }

    fn take(&mut self, record: &Record) -> io::Result<()> {
        self.step = record.event.step().unwrap_or(self.step);
        let what = match &record.event {
            // Tells TensorBoard to forget what it knows of later steps.
            Event::Resume { step, .. } => {
                self.step = step + 1;
                What::SessionLog(SessionLog::started())
            }
            event => {
                let value = values(event);
                if value.is_empty() {
                    return Ok(());
                }
                What::Summary(Summary { value })
            }
        };
        self.write(proto::Event {
            wall_time: record.time,
            step: self.step as i64,
            what: Some(what),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn values(event: &Event) -> Vec<Value> {
    match event {
        Event::Step(facts) => of_step(facts),
        Event::Validation(report) => of_validation(report),
        Event::Telemetry(telemetry) => of_telemetry(telemetry),
        Event::System(sample) => of_system(sample),
        Event::Filters(filters) => image("filters".to_owned(), &filters.picture)
            .into_iter()
            .collect(),
        Event::GradCam(cam) => {
            let overlays = cam.overlays.iter().enumerate();
            overlays
                .filter_map(|(number, one)| image(format!("grad_cam/{number}"), &one.overlay))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn scalar(tag: impl Into<String>, value: f64) -> Value {
    Value {
        tag: tag.into(),
        value: Some(proto::OneValue::Simple(value as f32)),
    }
}

fn of_step(facts: &StepFacts) -> Vec<Value> {
    let per_second = |amount: f64| amount / facts.seconds.max(1e-9);
    let all = [
        ("loss", Some(facts.loss)),
        ("top1", Some(facts.top1)),
        ("top5", facts.top5),
        ("learning_rate", Some(facts.lr)),
        ("gradient_norm", facts.grad_norm),
        ("images_per_second", Some(per_second(facts.images as f64))),
        ("data_wait", Some(per_second(facts.wait_seconds))),
        ("epoch", Some(facts.epoch as f64)),
    ];
    let all = all.into_iter();
    all.filter_map(|(tag, value)| Some(scalar(format!("train/{tag}"), value?)))
        .collect()
}

fn of_validation(report: &ValidationReport) -> Vec<Value> {
    let result = &report.result;
    let scalars = [
        ("top1", result.top1),
        ("top5", result.top5),
        ("loss", result.loss),
    ];
    let scalars = scalars.map(|(tag, value)| scalar(format!("validation/{tag}"), value));
    let samples = report.samples.iter().enumerate();
    let samples = samples.filter_map(|(number, sample)| {
        let verdict = if sample.correct { "right" } else { "wrong" };
        image(format!("samples/{number:02} {verdict}"), &sample.thumbnail)
    });
    scalars.into_iter().chain(samples).collect()
}

fn of_telemetry(telemetry: &Telemetry) -> Vec<Value> {
    let mut values = Vec::new();
    for block in &telemetry.blocks {
        let name = &block.block;
        values.push(scalar(format!("gradients/{name}"), block.grad_norm));
        values.push(scalar(format!("updates/{name}"), block.update_ratio));
        let histograms = [
            ("weights", Some(&block.weights)),
            ("gamma", block.gamma.as_ref()),
            ("beta", block.beta.as_ref()),
        ];
        for (kind, found) in histograms {
            values.extend(found.map(|found| histogram(format!("{kind}/{name}"), found)));
        }
    }
    for layer in &telemetry.activations {
        for (percentile, value) in [("p15", layer.p15), ("p50", layer.p50), ("p85", layer.p85)] {
            let tag = format!("activations/{}/{percentile}", layer.layer);
            values.push(scalar(tag, value.into()));
        }
    }
    values
}

fn of_system(sample: &SystemSample) -> Vec<Value> {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let mut values = vec![
        scalar("system/cpu_percent", sample.cpu_percent.into()),
        scalar("system/process_gib", gib(sample.process_bytes)),
        scalar("system/available_gib", gib(sample.available_bytes)),
    ];
    for (number, gpu) in sample.gpus.iter().enumerate() {
        let tag = |what: &str| format!("system/gpu{number}_{what}");
        values.push(scalar(tag("percent"), gpu.percent.into()));
        values.push(scalar(tag("gib"), gib(gpu.used_bytes)));
    }
    values
}

fn histogram(tag: String, found: &Histogram) -> Value {
    let edges = found.edges();
    let value = HistogramProto {
        min: found.min.into(),
        max: found.max.into(),
        num: found.counts.iter().sum::<u64>() as f64,
        sum: found.sum,
        sum_squares: found.sum_squares,
        bucket_limit: edges.into_iter().skip(1).map(f64::from).collect(),
        bucket: found.counts.iter().map(|count| *count as f64).collect(),
    };
    Value {
        tag,
        value: Some(proto::OneValue::Histogram(value)),
    }
}

fn image(tag: String, picture: &Picture) -> Option<Value> {
    let value = Image {
        height: picture.height as i32,
        width: picture.width as i32,
        colorspace: 3,
        encoded_image_string: STANDARD.decode(&picture.data).ok()?,
    };
    Some(Value {
        tag,
        value: Some(proto::OneValue::Image(value)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_tfrecord() {
        // CRC-32C's published check value is 0xe3069283.
        let rotated = 0xe306_9283_u32.rotate_right(15);
        let expected = rotated.wrapping_add(0xa282_ead8);
        assert_eq!(masked_crc(b"123456789"), expected);
    }

    #[test]
    fn every_kind_of_event_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = TensorBoard::create(folder.path()).unwrap();
        for event in crate::run_log::tests::one_of_each() {
            let record = Record {
                schema: 2,
                time: 1.0,
                event,
            };
            sink.take(&record).unwrap();
        }
        sink.flush().unwrap();
        let file = fs::read_dir(folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let mut bytes = fs::read(file.path()).unwrap().as_slice().to_vec();
        let mut tags = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let data: Vec<u8> = bytes[12..12 + length].to_vec();
            let checksum = u32::from_le_bytes(bytes[12 + length..16 + length].try_into().unwrap());
            assert_eq!(checksum, masked_crc(&data));
            let event = proto::Event::decode(data.as_slice()).unwrap();
            if let Some(What::Summary(summary)) = event.what {
                tags.extend(summary.value.into_iter().map(|value| value.tag));
            }
            bytes.drain(..16 + length);
        }
        for tag in [
            "train/loss",
            "validation/top1",
            "weights/3a",
            "gamma/3a",
            "filters",
        ] {
            assert!(
                tags.iter().any(|found| found == tag),
                "{tags:?} lacks {tag}"
            );
        }
    }
}
