//! burn-train's metric log, switched off.

use burn::train::logger::MetricLogger;
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, NumericEntry};

/// Keeps nothing. burn-train's default writes a file for each metric and epoch and truncates them
/// when a run is resumed; `run.jsonl` has the same numbers, in order, and is only appended to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoMetricLog;

impl MetricLogger for NoMetricLog {
    fn log(&mut self, _update: MetricsUpdate, _epoch: usize, _split: &Split) {}

    fn read_numeric(
        &mut self,
        _name: &str,
        _epoch: usize,
        _split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, _definition: MetricDefinition) {}

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}
