//! What the page shows of one run: its log, folded into bounded memory.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::series::{Place, Series};
use super::track::Track;
use crate::run_log::{
    BlockTelemetry, Event, Histogram, Record, Rewind, StepFacts, SystemSample, Telemetry,
    ValidationReport,
};

/// Most curves of a run; a log that names more has been tampered with.
const MOST_SERIES: usize = 600;

/// Most histograms of a run that are followed over its steps.
const MOST_TRACKS: usize = 120;

/// How many of the last warnings are shown.
const LAST_WARNINGS: usize = 50;

/// Most steps of a run at which its best top-1 rose.
const MOST_RECORDS: usize = 20_000;

/// What has become of a run, as its log says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has no end yet. It may go on, or have been killed.
    #[default]
    Open,
    /// Stopped on request.
    Interrupted,
    /// Stopped by an error.
    Failed,
    /// All steps done.
    Finished,
}

/// Where a run is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Standing {
    /// What has become of it.
    pub status: Status,
    /// Who asked it to stop, or the error it failed on.
    pub message: String,
    /// Optimizer steps taken.
    pub step: u64,
    /// Epoch under way, counted from 1.
    pub epoch: usize,
    /// Images trained on.
    pub images: u64,
    /// Seconds it has been going.
    pub seconds: f64,
    /// When the last line was written, in seconds since 1970.
    pub time: f64,
    /// Steps of its last checkpoint.
    pub checkpoint: Option<u64>,
    /// Images that could not be read.
    pub broken_images: u64,
}

#[derive(Debug, Serialize)]
struct Warning {
    time: f64,
    step: u64,
    message: String,
}

/// Something of which only the newest is shown, ready to be sent.
#[derive(Debug)]
struct Cell {
    json: Box<RawValue>,
    step: u64,
    revision: u64,
}

/// A run as far as its log was read.
#[derive(Debug, Default)]
pub struct View {
    /// Position in the log up to which it was read.
    pub revision: u64,
    /// Position of the line that last made earlier ones void.
    voided: u64,
    standing: Standing,
    /// Clock time at which the run would have begun, had it not paused.
    origin: f64,
    series: BTreeMap<String, Series>,
    tracks: BTreeMap<String, Track<Histogram>>,
    cells: BTreeMap<&'static str, Cell>,
    warnings: VecDeque<Warning>,
    /// `[step, images, seconds, top-1]` of each validation better than all before it.
    records: Vec<(u64, u64, f64, f64)>,
}

/// A part of a run's view for a page that has the rest.
#[derive(Debug, Serialize)]
pub struct Delta<'a> {
    /// The page drops what it has.
    reset: bool,
    standing: &'a Standing,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    series: BTreeMap<&'a str, (usize, &'a [super::series::Bucket])>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tracks: BTreeMap<&'a str, (usize, &'a [super::track::Snapshot<Histogram>])>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cells: BTreeMap<&'a str, &'a RawValue>,
}

impl View {
    /// Takes in `record`, whose line ends at `revision` of the log.
    pub fn fold(&mut self, record: Record, revision: u64) {
        self.revision = revision;
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
            Event::Start(start) => {
                self.set("start", 0, &(time, start));
            }
            Event::Resume { step, device } => {
                self.warn(time, step, format!("resumed on {device}"));
            }
            Event::Step(facts) => self.step(&facts),
            Event::Validation(report) => self.validation(*report),
            Event::Telemetry(telemetry) => self.telemetry(*telemetry),
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

    /// What a page lacks that has seen the log up to `since`; `None` if that is nothing.
    #[must_use]
    pub fn since(&self, since: u64) -> Option<Delta<'_>> {
        if since == self.revision {
            return None;
        }
        // A page that is ahead has seen another log.
        let reset = since < self.voided || since == 0 || since > self.revision;
        let since = if reset { 0 } else { since };
        let series = self.series.iter().filter_map(|(name, series)| {
            let changed = series.since(since)?;
            Some((name.as_str(), changed))
        });
        let tracks = self.tracks.iter().filter_map(|(name, track)| {
            let changed = track.since(since)?;
            Some((name.as_str(), changed))
        });
        let cells = self.cells.iter().filter(|(_, cell)| cell.revision > since);
        Some(Delta {
            reset,
            standing: &self.standing,
            series: series.collect(),
            tracks: tracks.collect(),
            cells: cells.map(|(name, cell)| (*name, &*cell.json)).collect(),
        })
    }

    fn rewind(&mut self, rewind: Rewind, time: f64) {
        self.voided = self.revision;
        match rewind {
            Rewind::All => {
                *self = Self {
                    revision: self.revision,
                    voided: self.voided,
                    origin: time,
                    ..Self::default()
                };
            }
            Rewind::To(step) => {
                for series in self.series.values_mut() {
                    series.truncate(step);
                }
                for track in self.tracks.values_mut() {
                    track.truncate(step);
                }
                self.cells.retain(|_, cell| cell.step <= step);
                self.records.retain(|record| record.0 <= step);
                self.warnings.retain(|warning| warning.step <= step);
                let steps = self.series.get("train/loss");
                let last = steps.and_then(Series::last_place).unwrap_or_default();
                self.origin = time - last.seconds;
                self.standing = Standing {
                    images: last.images,
                    seconds: last.seconds,
                    epoch: self.standing.epoch,
                    broken_images: self.standing.broken_images,
                    checkpoint: Some(step),
                    ..Standing::default()
                };
                self.publish_records();
            }
        }
    }

    fn place(&self) -> Place {
        Place {
            step: self.standing.step,
            images: self.standing.images,
            seconds: self.standing.seconds,
        }
    }

    fn push(&mut self, name: &str, value: f64) {
        let (place, revision) = (self.place(), self.revision);
        let full = self.series.len() >= MOST_SERIES;
        match self.series.get_mut(name) {
            Some(series) => series.push(place, value, revision),
            None if full => {}
            None => {
                let series = self.series.entry(name.to_owned()).or_default();
                series.push(place, value, revision);
            }
        }
    }

    fn set(&mut self, name: &'static str, step: u64, value: &impl Serialize) {
        // Numbers, strings and lists of them: always JSON.
        let Ok(json) = to_raw_value(value) else {
            return;
        };
        let known = self.cells.get(name);
        if known.is_some_and(|known| known.json.get() == json.get()) {
            return;
        }
        let cell = Cell {
            json,
            step,
            revision: self.revision,
        };
        self.cells.insert(name, cell);
    }

    fn warn(&mut self, time: f64, step: u64, message: String) {
        if self.warnings.len() == LAST_WARNINGS {
            self.warnings.pop_front();
        }
        self.warnings.push_back(Warning {
            time,
            step,
            message,
        });
        self.publish_warnings();
    }

    fn publish_warnings(&mut self) {
        let warnings = std::mem::take(&mut self.warnings);
        self.set("warnings", 0, &warnings);
        self.warnings = warnings;
    }

    fn end(&mut self, status: Status, message: String) {
        self.standing.status = status;
        self.standing.message = message;
    }

    fn step(&mut self, facts: &StepFacts) {
        self.standing.status = Status::Open;
        self.standing.epoch = facts.epoch;
        self.standing.images += facts.images as u64;
        self.push("train/loss", facts.loss);
        self.push("train/top1", facts.top1);
        self.push("rate", facts.lr);
        self.push("time/wait", facts.wait_seconds);
        self.push("time/compute", facts.seconds - facts.wait_seconds);
        self.push("speed", facts.images as f64 / facts.seconds);
        if let Some(top5) = facts.top5 {
            self.push("train/top5", top5);
        }
        if let Some(norm) = facts.grad_norm {
            self.push("gradient", norm);
        }
    }

    fn validation(&mut self, report: ValidationReport) {
        let result = &report.result;
        self.push("val/loss", result.loss);
        self.push("val/top1", result.top1);
        self.push("val/top5", result.top5);
        let best = self.records.last().map_or(-1.0, |record| record.3);
        if result.top1 > best && self.records.len() < MOST_RECORDS {
            let Place {
                step,
                images,
                seconds,
            } = self.place();
            self.records.push((step, images, seconds, result.top1));
            self.publish_records();
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

    fn publish_records(&mut self) {
        let records = std::mem::take(&mut self.records);
        self.set("records", 0, &records);
        self.records = records;
    }

    fn telemetry(&mut self, telemetry: Telemetry) {
        let names: Vec<_> = telemetry.blocks.iter().map(|block| &block.block).collect();
        let layers = telemetry.activations.iter();
        let layers: Vec<_> = layers.map(|layer| &layer.layer).collect();
        // Step 0: a resumed run has the same ones.
        self.set("layers", 0, &(names, layers));
        for layer in &telemetry.activations {
            let percentiles = [("15", layer.p15), ("50", layer.p50), ("85", layer.p85)];
            for (name, value) in percentiles {
                let name = format!("activation/{}/{name}", layer.layer);
                self.push(&name, f64::from(value));
            }
        }
        for block in telemetry.blocks {
            self.block(telemetry.step, block);
        }
    }

    fn block(&mut self, step: u64, block: BlockTelemetry) {
        let name = &block.block;
        self.push(&format!("gradient/{name}"), block.grad_norm);
        self.push(&format!("update/{name}"), block.update_ratio);
        let histograms = [
            ("weights", Some(block.weights)),
            ("gamma", block.gamma),
            ("beta", block.beta),
        ];
        for (kind, histogram) in histograms {
            let Some(histogram) = histogram else { continue };
            let name = format!("{kind}/{name}");
            let full = self.tracks.len() >= MOST_TRACKS;
            if full && !self.tracks.contains_key(&name) {
                continue;
            }
            let revision = self.revision;
            let track = self.tracks.entry(name).or_default();
            track.push(step, histogram, revision);
        }
    }

    fn system(&mut self, sample: &SystemSample) {
        self.push("cpu/machine", f64::from(sample.cpu_percent));
        self.push("cpu/process", f64::from(sample.process_cpu_percent));
        self.push("memory/process", sample.process_bytes as f64);
        self.push("memory/available", sample.available_bytes as f64);
        for (index, gpu) in sample.gpus.iter().enumerate() {
            self.push(&format!("gpu/{index}"), f64::from(gpu.percent));
            self.push(&format!("gpu_memory/{index}"), gpu.used_bytes as f64);
        }
    }
}

#[cfg(test)]
mod tests;
