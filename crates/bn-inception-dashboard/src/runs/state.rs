//! The part of a run that the page shows: its log, folded into bounded memory.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::value::RawValue;

use super::bucket::Position;
use super::cells::Cells;
use super::columns::Columns;
use super::series::{MOST_BUCKETS, Series};
use super::snapshots::{Snapshot, Snapshots};
use crate::run_log::{
    BlockTelemetry, Event, Histogram, Record, Rewind, StepFacts, SystemSample, Telemetry, ValidationReport,
};

/// Maximum number of curves of a run; a log that names more has been tampered with.
const MOST_SERIES: usize = 600;

/// Maximum number of buckets of the many curves that are drawn small: by block, by layer, of the machine.
const FEW_BUCKETS: usize = 300;

/// Maximum number of histograms of a run that are followed over its steps.
const MOST_TRACKS: usize = 120;

/// Number of warnings shown, the last ones.
const LAST_WARNINGS: usize = 50;

/// Maximum number of validations kept that were better than all before them.
const MOST_RECORDS: usize = 20_000;

/// Outcome of a run, as far as its log has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// None yet: the run may go on, or have been killed.
    #[default]
    Open,
    /// Stopped on request.
    Interrupted,
    /// Stopped by an error.
    Failed,
    /// All steps done.
    Finished,
}

/// Progress and outcome of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Standing {
    /// Outcome.
    pub status: Status,
    /// Origin of the request to stop, or the error that it failed with.
    pub message: String,
    /// Optimizer steps taken.
    pub step: u64,
    /// Epoch under way, counted from 1.
    pub epoch: usize,
    /// Images trained on.
    pub images: u64,
    /// Duration in seconds, without the pauses between its processes.
    pub seconds: f64,
    /// Seconds of those spent in training steps, waiting for data included; validation and saving are not.
    pub train_seconds: f64,
    /// Time of the last line, in seconds since 1970.
    pub time: f64,
    /// Step of its last checkpoint.
    pub checkpoint: Option<u64>,
    /// Number of images that could not be read.
    pub broken_images: u64,
}

#[derive(Debug, Serialize)]
struct Warning {
    time: f64,
    step: u64,
    message: String,
}

/// The values that every page gets of every run; the others only if it shows the run's own panels.
const SUMMARY: [&str; 3] = ["start", "records", "layers"];

/// The curves whose last values are in a summary.
const LAST: [&str; 5] = ["train/loss", "train/top1", "val/loss", "val/top1", "val/top5"];

/// A run as far as its log was read.
#[derive(Debug, Default)]
pub struct RunState {
    /// Offset in the log up to which it was read.
    pub offset: u64,
    /// Offset in the log of the line that last made earlier ones void.
    voided: u64,
    standing: Standing,
    /// Time at which the run would have begun, had it not paused.
    origin: f64,
    series: BTreeMap<String, Series>,
    /// Offset in the log of the line that began the newest of the curves.
    named: u64,
    tracks: BTreeMap<String, Snapshots<Histogram>>,
    cells: Cells,
    warnings: VecDeque<Warning>,
    /// `[step, images, seconds, top-1]` of each validation better than all before it.
    records: Vec<(u64, u64, f32, f64)>,
}

/// Changes of what a list of runs shows, for a page that has the rest.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    standing: &'a Standing,
    /// Last values of the main curves.
    last: BTreeMap<&'a str, f32>,
    /// Names of all curves.
    #[serde(skip_serializing_if = "Option::is_none")]
    curves: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cells: BTreeMap<&'a str, &'a RawValue>,
}

/// Changes of what the panels of one run show, for a page that has the rest. A list comes with the index from which it
/// replaces the page's.
#[derive(Debug, Serialize)]
pub struct Details<'a> {
    offset: u64,
    /// The page drops the details it has.
    reset: bool,
    tracks: BTreeMap<&'a str, (usize, &'a [Snapshot<Histogram>])>,
    cells: BTreeMap<&'a str, &'a RawValue>,
}

/// Changes of curves, for a page that has the rest, in the form of [`Series::since`].
#[derive(Debug, Serialize)]
pub struct Curves<'a> {
    offset: u64,
    /// The page drops the curves it has up to less than this offset, and those up to more than `offset`.
    voided: u64,
    curves: BTreeMap<&'a str, (usize, Columns)>,
}

impl RunState {
    /// Folds in `record`, whose line ends at `offset` in the log.
    pub fn fold(&mut self, record: Record, offset: u64) {
        self.offset = offset;
        let time = record.time;
        if let Some(rewind) = record.event.rewind() {
            self.rewind(rewind, time);
        }
        self.standing.time = time;
        self.standing.seconds = (time - self.origin).max(self.standing.seconds);
        if let Some(step) = record.event.step() {
            self.standing.step = step;
        }
        match record.event {
            Event::Start(mut start) => {
                self.set("labels", 0, &std::mem::take(&mut start.labels));
                self.set("start", 0, &(time, start));
            }
            Event::Resume { step, device } => {
                self.warn(time, step, format!("resumed on {device}"));
            }
            Event::Step(facts) => self.step(&facts),
            Event::Validation(report) => self.validation(&report),
            Event::Telemetry(telemetry) => self.telemetry(&telemetry),
            Event::Ranks(report) => self.set("ranks", report.step, &report),
            Event::System(sample) => self.system(&sample),
            Event::Filters(filters) => self.set("filters", filters.step, &filters),
            Event::GradCam(overlays) => self.set("grad_cam", overlays.step, &overlays),
            Event::Checkpoint { step, .. } => self.standing.checkpoint = Some(step),
            Event::BrokenImage { path, reason } => {
                self.standing.broken_images += 1;
                let message = format!("{} was replaced: {reason}", path.display());
                self.warn(time, self.standing.step, message);
            }
            Event::Warning { step, message, .. } => self.warn(time, step, message),
            Event::Interrupted { reason, .. } => self.end(Status::Interrupted, reason),
            Event::Failed { error, .. } => self.end(Status::Failed, error),
            Event::Finished { .. } => self.end(Status::Finished, String::new()),
            Event::Unknown => {}
        }
    }

    /// A run of which the part up to the position `at` is left out. Its next line is of time `time`.
    pub fn continued(at: Position, time: f64) -> Self {
        let Position { step, images, seconds, train_seconds } = at;
        let (seconds, train_seconds) = (seconds.into(), train_seconds.into());
        let standing = Standing { step, images, seconds, train_seconds, ..Standing::default() };
        Self { origin: time - seconds, standing, ..Self::default() }
    }

    /// Offset from which a page that has seen the log up to `since` gets the changes, and whether it drops what it has.
    fn changed_from(&self, since: u64) -> (u64, bool) {
        // A page that is ahead has seen another log.
        let reset = since < self.voided || since == 0 || since > self.offset;
        (if reset { 0 } else { since }, reset)
    }

    /// Changes of the summary for a page that has seen the log up to offset `since`, or `None` without any.
    pub fn summary(&self, since: u64) -> Option<Summary<'_>> {
        if since == self.offset {
            return None;
        }
        let (since, _) = self.changed_from(since);
        let last = LAST.iter().filter_map(|name| Some((*name, self.series.get(*name)?.last()?.mean())));
        Some(Summary {
            standing: &self.standing,
            last: last.collect(),
            curves: (self.named > since).then(|| self.series.keys().map(String::as_str).collect()),
            cells: self.cells.since(since, |name| SUMMARY.contains(&name)),
        })
    }

    /// Changes of the details for a page that has seen the log up to offset `since`.
    pub fn details(&self, since: u64) -> Details<'_> {
        let (since, reset) = self.changed_from(since);
        let tracks = self.tracks.iter();
        Details {
            offset: self.offset,
            reset,
            tracks: tracks.filter_map(|(name, track)| Some((name.as_str(), track.since(since)?))).collect(),
            cells: self.cells.since(since, |name| !SUMMARY.contains(&name)),
        }
    }

    /// Changes of the curves that are `wanted`, for a page that has seen the log up to offset `since` and takes at most
    /// `points` points a curve. `None` without any.
    pub fn curves(&self, since: u64, points: usize, wanted: impl Fn(&str) -> bool) -> Option<Curves<'_>> {
        if since == self.offset {
            return None;
        }
        let (since, _) = self.changed_from(since);
        let series = self.series.iter().filter(|(name, _)| wanted(name));
        let curves = series.filter_map(|(name, series)| Some((name.as_str(), series.since(since, points)?)));
        Some(Curves { offset: self.offset, voided: self.voided, curves: curves.collect() })
    }

    /// The curve called `name`.
    pub fn curve(&self, name: &str) -> Option<&Series> {
        self.series.get(name)
    }

    fn rewind(&mut self, rewind: Rewind, time: f64) {
        self.voided = self.offset;
        match rewind {
            Rewind::All => {
                *self = Self { offset: self.offset, voided: self.voided, origin: time, ..Self::default() };
            }
            Rewind::To(step) => {
                for series in self.series.values_mut() {
                    series.truncate(step);
                }
                for track in self.tracks.values_mut() {
                    track.truncate(step);
                }
                self.cells.truncate(step);
                self.records.retain(|record| record.0 <= step);
                self.warnings.retain(|warning| warning.step <= step);
                let losses = self.series.get("train/loss");
                let last = losses.and_then(Series::last).map(|bucket| bucket.position).unwrap_or_default();
                self.origin = time - f64::from(last.seconds);
                self.standing = Standing {
                    images: last.images,
                    seconds: last.seconds.into(),
                    train_seconds: last.train_seconds.into(),
                    epoch: self.standing.epoch,
                    broken_images: self.standing.broken_images,
                    checkpoint: Some(step),
                    ..Standing::default()
                };
                self.cells.set("records", 0, self.offset, &self.records);
            }
        }
    }

    fn position(&self) -> Position {
        let Standing { step, images, seconds, train_seconds, .. } = self.standing;
        Position { step, images, seconds: seconds as f32, train_seconds: train_seconds as f32 }
    }

    fn push(&mut self, name: &str, value: f64) {
        self.push_up_to(MOST_BUCKETS, name, value);
    }

    fn push_small(&mut self, name: &str, value: f64) {
        self.push_up_to(FEW_BUCKETS, name, value);
    }

    fn push_up_to(&mut self, most: usize, name: &str, value: f64) {
        let position = self.position();
        if let Some(series) = self.series.get_mut(name) {
            series.push(position, value, self.offset);
        } else if self.series.len() < MOST_SERIES {
            let mut series = Series::new(most);
            series.push(position, value, self.offset);
            self.series.insert(name.to_owned(), series);
            self.named = self.offset;
        }
    }

    fn set(&mut self, name: &'static str, step: u64, value: &impl Serialize) {
        self.cells.set(name, step, self.offset, value);
    }

    fn warn(&mut self, time: f64, step: u64, message: String) {
        if self.warnings.len() == LAST_WARNINGS {
            self.warnings.pop_front();
        }
        self.warnings.push_back(Warning { time, step, message });
        self.cells.set("warnings", 0, self.offset, &self.warnings);
    }

    fn end(&mut self, status: Status, message: String) {
        self.standing.status = status;
        self.standing.message = message;
    }

    fn step(&mut self, facts: &StepFacts) {
        self.standing.status = Status::Open;
        self.standing.epoch = facts.epoch;
        self.standing.images += facts.images as u64;
        self.standing.train_seconds += facts.seconds;
        let values = [
            ("train/loss", Some(facts.loss)),
            ("train/top1", Some(facts.top1)),
            ("rate", Some(facts.lr)),
            ("time/wait", Some(facts.wait_seconds)),
            ("time/compute", Some(facts.seconds - facts.wait_seconds)),
            ("speed", Some(facts.images as f64 / facts.seconds)),
            ("train/top5", facts.top5),
            ("gradient", facts.grad_norm),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                self.push(name, value);
            }
        }
    }

    fn validation(&mut self, report: &ValidationReport) {
        let result = &report.result;
        self.push("val/loss", result.loss);
        self.push("val/top1", result.top1);
        self.push("val/top5", result.top5);
        let best = self.records.last().map_or(-1.0, |record| record.3);
        if result.top1 > best && self.records.len() < MOST_RECORDS {
            let at = self.position();
            self.records.push((at.step, at.images, at.seconds, result.top1));
            self.cells.set("records", 0, self.offset, &self.records);
        }
        let step = result.step;
        if !report.classes.is_empty() {
            self.set("classes", step, &(step, &report.classes));
        }
        if let Some(confusion) = &report.confusion {
            self.set("confusion", step, &(step, confusion));
        }
        if !report.samples.is_empty() {
            self.set("samples", step, &(step, &report.samples));
        }
    }

    fn telemetry(&mut self, telemetry: &Telemetry) {
        let blocks: Vec<_> = telemetry.blocks.iter().map(|block| &block.block).collect();
        let layers = telemetry.activations.iter();
        let layers: Vec<_> = layers.map(|layer| &layer.layer).collect();
        // Step 0: a resumed run has the same ones.
        self.set("layers", 0, &(blocks, layers));
        for layer in &telemetry.activations {
            for (percentile, value) in [(15, layer.p15), (50, layer.p50), (85, layer.p85)] {
                let name = format!("activation/{}/{percentile}", layer.layer);
                self.push_small(&name, value.into());
            }
        }
        for block in &telemetry.blocks {
            self.block(telemetry.step, block);
        }
    }

    fn block(&mut self, step: u64, block: &BlockTelemetry) {
        let name = &block.block;
        self.push_small(&format!("gradient/{name}"), block.grad_norm);
        self.push_small(&format!("update/{name}"), block.update_ratio);
        for (kind, histogram) in block.histograms() {
            let name = format!("{kind}/{name}");
            if self.tracks.len() < MOST_TRACKS || self.tracks.contains_key(&name) {
                let track = self.tracks.entry(name).or_default();
                track.push(step, histogram.clone(), self.offset);
            }
        }
    }

    fn system(&mut self, sample: &SystemSample) {
        self.push_small("cpu/machine", sample.cpu_percent.into());
        self.push_small("cpu/process", sample.process_cpu_percent.into());
        self.push_small("memory/process", sample.process_bytes as f64);
        self.push_small("memory/available", sample.available_bytes as f64);
        for (index, gpu) in sample.gpus.iter().enumerate() {
            self.push_small(&format!("gpu/{index}"), gpu.percent.into());
            self.push_small(&format!("gpu_memory/{index}"), gpu.used_bytes as f64);
        }
    }
}

#[cfg(test)]
mod tests;
