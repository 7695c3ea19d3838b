//! burn-train's terminal interface, fed with our metrics.

use std::mem;
use std::sync::Arc;

use bn_inception_dashboard::run_log::Event;
use burn::train::Interrupter;
use burn::train::logger::TrainingProgressLogger as _;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    AccuracyMetric, LearningRateMetric, LossMetric, Metric, MetricAttributes, MetricDefinition, MetricEntry, MetricId,
    NumericAttributes, NumericEntry, SerializedEntry, TopKAccuracyMetric,
};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::renderer::{MetricState, MetricsRenderer as _, MetricsRendererTraining as _};

use super::ctrl_c::KeepCtrlC;
use super::screen::{RunExtent, Screen};
use crate::step::Scores;

/// The interface. Dropping it restores the terminal.
pub(super) struct Terminal {
    renderer: TuiMetricsRendererWrapper,
    interrupter: Interrupter,
    extent: RunExtent,
    /// The current half of an epoch, and the number of its images done.
    split: Option<(Split, usize)>,
    /// Loss, top-1 and top-5; in training also the learning rate, the speed and the share of the time spent waiting for
    /// data.
    curves: [Curve; 6],
    _ctrl_c: KeepCtrlC,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    Train,
    Valid,
}

impl Terminal {
    pub(super) fn open(extent: RunExtent, dashboard: Option<&str>) -> Self {
        let interrupter = Interrupter::new();
        let mut renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), Some(extent.epoch));
        let curves = [
            Curve::of(&LossMetric::new()),
            Curve::of(&AccuracyMetric::new()),
            Curve::of(&TopKAccuracyMetric::new(extent.classes.clamp(1, 5))),
            Curve::of(&LearningRateMetric::new()),
            Curve::named("Images/s", None, true),
            Curve::named("Data wait", Some("%"), false),
        ];
        for curve in &curves {
            renderer.register_metric(curve.definition.clone());
        }
        name_bars(&mut renderer);
        // The dashboard's address stands in the frame of the status, whose width is a third of the terminal's.
        renderer.start(extent.total_epochs, extent.epoch + 1, None, dashboard);
        Self { renderer, interrupter, extent, split: None, curves, _ctrl_c: KeepCtrlC::start() }
    }

    /// Shows a batch, with values for the first curves and the weights of these in their means.
    fn batch(&mut self, split: Split, images: usize, values: &[(f64, usize)]) {
        let before = match self.split {
            Some((current, before)) if current == split => before,
            _ => self.begin(split),
        };
        for (curve, (value, weight)) in self.curves.iter_mut().zip(values) {
            let state = curve.add(*value, *weight);
            show(&mut self.renderer, split, state);
        }
        self.split = Some((split, before + images));
        self.renderer.update_split(before + images);
        self.renderer.log_event_training("Iteration".to_owned());
    }

    /// Begins a split. Returns the number of its images that are already done.
    fn begin(&mut self, split: Split) -> usize {
        self.end_split();
        match split {
            Split::Train => {
                self.renderer.start_split("train", self.extent.train_images);
                // Only for a resumed epoch.
                mem::take(&mut self.extent.images)
            }
            Split::Valid => {
                self.renderer.start_split("valid", self.extent.val_images);
                0
            }
        }
    }

    fn end_split(&mut self) {
        if let Some((split, _)) = self.split.take() {
            for curve in &mut self.curves {
                if let Some(state) = curve.end() {
                    show(&mut self.renderer, split, state);
                }
            }
            self.renderer.end_split();
        }
    }
}

/// Names the two bars of progress among the metrics: burn-train draws them without.
fn name_bars(renderer: &mut TuiMetricsRendererWrapper) {
    let name = Arc::new("Progress".to_owned());
    let metric_id = MetricId::new(name.clone());
    let attributes = MetricAttributes::None;
    renderer.register_metric(MetricDefinition { metric_id: metric_id.clone(), name, description: None, attributes });
    let text = "upper bar: epoch, lower bar: run".to_owned();
    let entry = MetricEntry::new(metric_id, SerializedEntry::new(text.clone(), text));
    renderer.update_train(MetricState::Generic(entry));
}

fn show(renderer: &mut TuiMetricsRendererWrapper, split: Split, state: MetricState) {
    match split {
        Split::Train => renderer.update_train(state),
        Split::Valid => renderer.update_valid(state),
    }
}

impl Screen for Terminal {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Step(facts) => {
                let top5 = facts.top5.unwrap_or_default();
                let per_second = |amount: f64| amount / facts.seconds.max(f64::MIN_POSITIVE);
                let (speed, wait) = (per_second(facts.images as f64), 100.0 * per_second(facts.wait_seconds));
                let of_images =
                    [facts.loss, 100.0 * facts.top1, 100.0 * top5, facts.lr].map(|value| (value, facts.images));
                // The mean of speeds over an epoch is its images by its time, as everywhere else.
                let microseconds = (1e6 * facts.seconds) as usize;
                let of_time = [speed, wait].map(|value| (value, microseconds.max(1)));
                self.batch(Split::Train, facts.images, &[&of_images[..], &of_time].concat());
            }
            Event::Validation(report) => {
                self.end_split();
                self.renderer.update_epoch(report.result.epoch);
            }
            _ => {}
        }
    }

    fn validation_batch(&mut self, scores: &Scores) {
        let share = |count: f64| count / scores.images() as f64;
        let percent = |guesses: usize| 100.0 * share(scores.right(guesses) as f64);
        let values = [share(scores.loss), percent(1), percent(5)].map(|value| (value, scores.images()));
        self.batch(Split::Valid, scores.images(), &values);
    }

    fn wants_stop(&self) -> bool {
        self.interrupter.should_stop()
    }
}

/// A number over time, with its mean over the split. burn-train's own metrics compute theirs from the logits again.
struct Curve {
    definition: MetricDefinition,
    state: NumericMetricState,
    is_empty: bool,
}

impl Curve {
    /// A curve named and formatted like `metric`.
    fn of(metric: &impl Metric) -> Self {
        Self::defined(MetricDefinition::new(MetricId::new(metric.name()), metric))
    }

    /// A curve called `name`, of numbers in `unit`.
    fn named(name: &str, unit: Option<&str>, higher_is_better: bool) -> Self {
        let name = Arc::new(name.to_owned());
        let attributes = NumericAttributes { unit: unit.map(str::to_owned), higher_is_better };
        Self::defined(MetricDefinition {
            metric_id: MetricId::new(name.clone()),
            name,
            description: None,
            attributes: attributes.into(),
        })
    }

    fn defined(definition: MetricDefinition) -> Self {
        Self { definition, state: NumericMetricState::new(), is_empty: true }
    }

    /// Adds a value that counts `weight` times in the mean.
    fn add(&mut self, value: f64, weight: usize) -> MetricState {
        self.is_empty = false;
        self.state.update(value, weight);
        let entry = self.state.compute_update(self.format());
        self.numeric(entry, self.state.current_value())
    }

    /// The mean over the split, if it had such a number.
    fn end(&mut self) -> Option<MetricState> {
        if mem::replace(&mut self.is_empty, true) {
            return None;
        }
        let entry = self.state.compute_final(self.format());
        let end = self.numeric(entry, self.state.final_value());
        self.state.reset();
        Some(end)
    }

    fn numeric(&self, entry: SerializedEntry, value: NumericEntry) -> MetricState {
        let entry = MetricEntry::new(self.definition.metric_id.clone(), entry);
        MetricState::Numeric(entry, Some(value))
    }

    fn format(&self) -> FormatOptions {
        let format = FormatOptions::new(self.definition.name.clone()).precision(2);
        match &self.definition.attributes {
            MetricAttributes::Numeric(attributes) => match &attributes.unit {
                Some(unit) => format.unit(unit),
                None => format,
            },
            MetricAttributes::None => format,
        }
    }
}
