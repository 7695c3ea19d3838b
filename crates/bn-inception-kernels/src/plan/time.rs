//! Times of layers, for profiles.

use std::time::{Duration, Instant};

/// Time of one layer in a call, on the calling thread.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTime {
    /// Name of the layer and its algorithm.
    pub name: String,
    /// Number of multiply-adds of a direct convolution.
    pub macs: u64,
    /// Computation time; waiting for other threads has entries of its own, called `wait`.
    pub time: Duration,
}

impl LayerTime {
    /// The total time of each layer, in order of first appearance: a layer may have several steps.
    pub(crate) fn merge(steps: Vec<Self>) -> Vec<Self> {
        let mut layers: Vec<Self> = Vec::new();
        for step in steps {
            match layers.iter_mut().find(|layer| layer.name == step.name) {
                Some(layer) => {
                    layer.macs += step.macs;
                    layer.time += step.time;
                }
                None => layers.push(step),
            }
        }
        layers
    }
}

/// Record of the times of one thread, if it keeps one.
pub(crate) struct Stopwatch {
    times: Option<Vec<LayerTime>>,
}

impl Stopwatch {
    pub(crate) fn new(record: bool) -> Self {
        Self { times: record.then(Vec::new) }
    }

    /// Runs `work` and records its time.
    pub(crate) fn time(&mut self, name: &str, macs: u64, work: impl FnOnce()) {
        let Some(times) = &mut self.times else { return work() };
        let start = Instant::now();
        work();
        times.push(LayerTime { name: name.to_owned(), macs, time: start.elapsed() });
    }

    /// The times in order of their start.
    pub(crate) fn times(self) -> Vec<LayerTime> {
        self.times.unwrap_or_default()
    }
}
