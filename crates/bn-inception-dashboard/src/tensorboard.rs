//! TensorBoard event files.

mod hparams;
mod proto;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;

use crate::run_log::{
    Event, Histogram, Picture, RankReport, Record, Sink, StepFacts, SystemSample, Telemetry, ValidationReport,
};
use hparams::Outcome;
use proto::{HistogramProto, Image, OneValue, SESSION_START, SessionLog, Summary, Value, What};

/// A sink that writes a TensorBoard event file.
///
/// `tensorboard --logdir OUT` shows scalars (`train/…`, `validation/…`, `gradients/…`, `updates/…`, `activations/…`,
/// `ranks/…`, `system/…`), histograms (`weights/…`, `gamma/…`, `beta/…`), images (`filters`, `grad_cam/…`, `samples/…`)
/// and, under HParams, the settings and the recipe.
pub struct TensorBoard {
    file: BufWriter<File>,
    /// Step of the last event that has one, for those without.
    step: u64,
}

impl TensorBoard {
    /// Creates an event file in `folder`, beside those of the processes that the run resumes. Creates the folder if it
    /// does not exist.
    ///
    /// # Errors
    /// [`std::io::Error`] if the file cannot be created.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = now.unwrap_or_default();
        // TensorBoard reads a folder's files in the order of their names and does not return to an earlier one.
        let name = format!("events.out.tfevents.{:010}.{:09}.{}", time.as_secs(), time.subsec_nanos(), process::id());
        let file = File::create_new(folder.join(name))?;
        let mut sink = Self { file: BufWriter::new(file), step: 0 };
        sink.write(proto::Event {
            wall_time: time.as_secs_f64(),
            step: 0,
            what: Some(What::FileVersion("brain.Event:2".to_owned())),
        })?;
        sink.file.flush()?;
        Ok(sink)
    }

    /// Writes a TFRecord: length, its checksum, data, its checksum, all little-endian.
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
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

impl Sink for TensorBoard {
    fn name(&self) -> &'static str {
        "tensorboard"
    }

    fn take(&mut self, record: &Record) -> io::Result<()> {
        self.step = record.event.step().unwrap_or(self.step);
        let what = match &record.event {
            // Makes TensorBoard drop later steps.
            Event::Resume { step, .. } => {
                self.step = step + 1;
                What::SessionLog(SessionLog { status: SESSION_START })
            }
            event => What::Summary(summary(event, record.time)),
        };
        if matches!(&what, What::Summary(summary) if summary.value.is_empty()) {
            return Ok(());
        }
        self.write(proto::Event { wall_time: record.time, step: self.step as i64, what: Some(what) })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The values of an event; none for an event that TensorBoard has no panel for.
fn summary(event: &Event, time: f64) -> Summary {
    let mut summary = Summary::default();
    match event {
        Event::Start(start) => summary.value.push(hparams::start(start, time)),
        Event::Finished { .. } => summary.value.push(hparams::end(Outcome::Success, time)),
        Event::Failed { .. } | Event::Interrupted { .. } => summary.value.push(hparams::end(Outcome::Failure, time)),
        Event::Step(facts) => summary.step(facts),
        Event::Validation(report) => summary.validation(report),
        Event::Telemetry(telemetry) => summary.telemetry(telemetry),
        Event::Ranks(report) => summary.ranks(report),
        Event::System(sample) => summary.system(sample),
        Event::Filters(filters) => summary.image("filters".to_owned(), &filters.picture),
        Event::GradCam(cam) => {
            for (number, one) in cam.overlays.iter().enumerate() {
                summary.image(format!("grad_cam/{number}"), &one.overlay);
            }
        }
        _ => {}
    }
    summary
}

impl Summary {
    fn step(&mut self, facts: &StepFacts) {
        let per_second = |amount: f64| amount / facts.seconds.max(1e-9);
        let values = [
            ("loss", Some(facts.loss)),
            ("top1", Some(facts.top1)),
            ("top5", facts.top5),
            ("learning_rate", Some(facts.lr)),
            ("gradient_norm", facts.grad_norm),
            ("images_per_second", Some(per_second(facts.images as f64))),
            ("data_wait", Some(per_second(facts.wait_seconds))),
            ("epoch", Some(facts.epoch as f64)),
        ];
        for (tag, value) in values {
            if let Some(value) = value {
                self.scalar(format!("train/{tag}"), value);
            }
        }
    }

    fn validation(&mut self, report: &ValidationReport) {
        self.scalar("validation/top1".to_owned(), report.result.top1);
        self.scalar("validation/top5".to_owned(), report.result.top5);
        self.scalar("validation/loss".to_owned(), report.result.loss);
        for (number, sample) in report.samples.iter().enumerate() {
            let verdict = if sample.correct { "right" } else { "wrong" };
            self.image(format!("samples/{number:02} {verdict}"), &sample.thumbnail);
        }
    }

    fn telemetry(&mut self, telemetry: &Telemetry) {
        for block in &telemetry.blocks {
            let name = &block.block;
            self.scalar(format!("gradients/{name}"), block.grad_norm);
            self.scalar(format!("updates/{name}"), block.update_ratio);
            for (kind, histogram) in block.histograms() {
                self.histogram(format!("{kind}/{name}"), histogram);
            }
        }
        for layer in &telemetry.activations {
            for (percentile, value) in [(15, layer.p15), (50, layer.p50), (85, layer.p85)] {
                let tag = format!("activations/{}/p{percentile}", layer.layer);
                self.scalar(tag, value.into());
            }
        }
    }

    fn ranks(&mut self, report: &RankReport) {
        for (rank, facts) in report.ranks.iter().enumerate() {
            let share = |seconds: f64| seconds / report.seconds.max(1e-9);
            self.scalar(format!("ranks/{rank}/images_per_second"), share(facts.images as f64));
            self.scalar(format!("ranks/{rank}/data_wait"), share(facts.wait_seconds));
            self.scalar(format!("ranks/{rank}/wait_for_others"), share(report.seconds - facts.seconds));
        }
    }

    fn system(&mut self, sample: &SystemSample) {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        self.scalar("system/cpu_percent".to_owned(), sample.cpu_percent.into());
        self.scalar("system/process_gib".to_owned(), gib(sample.process_bytes));
        self.scalar("system/available_gib".to_owned(), gib(sample.available_bytes));
        for (number, gpu) in sample.gpus.iter().enumerate() {
            self.scalar(format!("system/gpu{number}_percent"), gpu.percent.into());
            self.scalar(format!("system/gpu{number}_gib"), gib(gpu.used_bytes));
        }
    }

    fn scalar(&mut self, tag: String, value: f64) {
        self.push(tag, OneValue::Simple(value as f32));
    }

    fn histogram(&mut self, tag: String, histogram: &Histogram) {
        let edges = histogram.edges().into_iter();
        let value = HistogramProto {
            min: histogram.min.into(),
            max: histogram.max.into(),
            num: histogram.counts.iter().sum::<u64>() as f64,
            sum: histogram.sum,
            sum_squares: histogram.sum_squares,
            bucket_limit: edges.skip(1).map(f64::from).collect(),
            bucket: histogram.counts.iter().map(|count| *count as f64).collect(),
        };
        self.push(tag, OneValue::Histogram(value));
    }

    /// Adds an image, unless its base64 is damaged.
    fn image(&mut self, tag: String, picture: &Picture) {
        if let Ok(encoded_image_string) = STANDARD.decode(&picture.data) {
            let value = Image {
                height: picture.height as i32,
                width: picture.width as i32,
                colorspace: 3,
                encoded_image_string,
            };
            self.push(tag, OneValue::Image(value));
        }
    }

    fn push(&mut self, tag: String, value: OneValue) {
        let value = Some(value);
        self.value.push(Value { tag, metadata: None, value });
    }
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
            let record = Record { schema: 2, time: 1.0, event };
            sink.take(&record).unwrap();
        }
        sink.flush().unwrap();
        let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
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
        for tag in
            ["train/loss", "validation/top1", "weights/3a", "gamma/3a", "filters", "_hparams_/session_start_info"]
        {
            assert!(tags.iter().any(|found| found == tag), "{tags:?} lacks {tag}");
        }
    }
}
