//! The numbers of the experiment, from the logs of its runs.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bn_inception_train::run_log::{Event, Start, WarningKind, surviving};

/// A validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Steps taken before it.
    pub step: u64,
    /// Top-1 accuracy, as a fraction.
    pub top1: f64,
}

/// The part of a run's log that counts here.
#[derive(Debug, Default)]
pub struct Course {
    /// Start of the run, unless it died before.
    pub start: Option<Box<Start>>,
    /// All validations, in order.
    pub points: Vec<Point>,
    /// Number of validation images.
    pub images: u64,
    /// Steps taken when the loss or a weight ceased to be finite, if that ended the run.
    pub diverged_after: Option<u64>,
}

/// Time at which a run reached an accuracy, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// After this number of steps, at the first validation that is as good.
    After(u64),
    /// Not by its end.
    Never,
    /// It diverged before, after this number of steps.
    Diverged(u64),
}

impl Course {
    /// The course that the log at `path` tells.
    ///
    /// # Errors
    /// [`io::Error`] if the log cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut course = Self::default();
        let mut warning = None;
        for record in surviving(path)? {
            match record?.event {
                Event::Start(start) => course = Self { start: Some(start), ..Self::default() },
                Event::Resume { .. } => course.diverged_after = None,
                Event::Validation(report) => {
                    let result = report.result;
                    // A run killed between a validation and its checkpoint has validated the same step twice.
                    course.points.retain(|point| point.step < result.step);
                    course.points.push(Point { step: result.step, top1: result.top1 });
                    course.images = result.images;
                }
                Event::Warning { kind: WarningKind::NotFinite, message, .. } => warning = Some(message),
                // Other errors, such as a full disk, are nothing that the recipe is to blame for.
                Event::Failed { step, error } if warning.as_ref() == Some(&error) => {
                    course.diverged_after = Some(step);
                }
                _ => {}
            }
        }
        Ok(course)
    }

    /// The best validation, the earliest in a tie.
    pub fn best(&self) -> Option<Point> {
        let points = self.points.iter().copied();
        points.reduce(|best, next| if next.top1 > best.top1 { next } else { best })
    }

    /// Time at which the run reached `top1`, if it did.
    pub fn reach(&self, top1: f64) -> Reach {
        let found = self.points.iter().find(|point| point.top1 >= top1);
        match (found, self.diverged_after) {
            (Some(point), _) => Reach::After(point.step),
            (None, Some(step)) => Reach::Diverged(step),
            (None, None) => Reach::Never,
        }
    }
}

/// A run that has ended: it is finished, or it diverged.
#[derive(Debug)]
pub struct Run {
    pub recipe: &'static str,
    pub seed: u64,
    pub course: Course,
}

impl Run {
    fn is_finished(&self) -> bool {
        self.course.diverged_after.is_none()
    }

    fn finished_best(&self) -> Option<f64> {
        self.course.best().filter(|_| self.is_finished()).map(|best| best.top1)
    }
}

/// Mean and extremes over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let low = values.iter().copied().reduce(f64::min)?;
        let high = values.iter().copied().reduce(f64::max)?;
        Some(Self { mean: values.iter().sum::<f64>() / values.len() as f64, low, high })
    }
}

/// The size of differences that mean nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Number of validation images.
    pub images: u64,
    /// Largest standard error of a best top-1, √(p (1 − p) / images).
    pub standard_error: f64,
    /// Largest difference between the best top-1 of two seeds of a recipe, if one has several finished runs.
    pub seed_range: Option<f64>,
    /// The larger of that difference and 1.96 standard errors of the difference of two top-1, as if they were
    /// independent.
    pub threshold: f64,
}

/// All runs that have ended.
#[derive(Debug, Default)]
pub struct Results {
    runs: Vec<Run>,
}

impl Results {
    /// Adds a run.
    pub fn add(&mut self, run: Run) {
        self.runs.push(run);
        self.runs.sort_by_key(|run| run.seed);
    }

    /// The runs of `recipe`, by seed.
    pub fn of(&self, recipe: &str) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.recipe == recipe)
    }

    /// The run of `recipe` with `seed`.
    pub fn run(&self, recipe: &str, seed: u64) -> Option<&Run> {
        self.of(recipe).find(|run| run.seed == seed)
    }

    /// Whether and when each run of `recipe` reached the best top-1 of the run of `target` with its seed. Seeds without
    /// a finished run of `target` are left out.
    pub fn reaches(&self, recipe: &str, target: &str) -> Vec<(u64, Reach)> {
        let runs = self.of(recipe);
        let reached = runs.filter_map(|run| {
            let best = self.run(target, run.seed)?.finished_best()?;
            Some((run.seed, run.course.reach(best)))
        });
        reached.collect()
    }

    /// Mean number of steps to the best top-1 of `target`, if every run of `recipe` reached it.
    pub fn steps(&self, recipe: &str, target: &str) -> Option<f64> {
        let reaches = self.reaches(recipe, target);
        let steps = reaches.iter().map(|(_, reach)| match reach {
            Reach::After(step) => Some(*step as f64),
            Reach::Never | Reach::Diverged(_) => None,
        });
        let steps: Vec<f64> = steps.collect::<Option<_>>()?;
        Spread::of(&steps).map(|steps| steps.mean)
    }

    /// Ratio of the steps that `target` took to its best top-1 to those that `recipe` took, for the seeds of `recipe`.
    pub fn times_fewer(&self, recipe: &str, target: &str) -> Option<f64> {
        let steps = self.steps(recipe, target)?;
        let seeds = self.reaches(recipe, target).into_iter().map(|(seed, _)| seed);
        let own = seeds.filter_map(|seed| self.run(target, seed)?.course.best());
        let own: Vec<f64> = own.map(|best| best.step as f64).collect();
        Spread::of(&own).map(|own| own.mean / steps)
    }

    /// Best top-1 of the finished runs of `recipe`.
    pub fn best(&self, recipe: &str) -> Option<Spread> {
        let best: Vec<f64> = self.of(recipe).filter_map(Run::finished_best).collect();
        Spread::of(&best)
    }

    /// Mean difference between the best top-1 of `recipe` and of `target`, over the seeds for which both are finished.
    pub fn difference(&self, recipe: &str, target: &str) -> Option<f64> {
        let differences = self.of(recipe).filter_map(|run| {
            let other = self.run(target, run.seed)?;
            Some(run.finished_best()? - other.finished_best()?)
        });
        let differences: Vec<f64> = differences.collect();
        Spread::of(&differences).map(|difference| difference.mean)
    }

    /// Top-1 of the finished runs of `recipe` over steps.
    pub fn curve(&self, recipe: &str) -> Vec<(u64, Spread)> {
        let mut steps: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for run in self.of(recipe).filter(|run| run.is_finished()) {
            for point in &run.course.points {
                steps.entry(point.step).or_default().push(point.top1);
            }
        }
        steps.into_iter().filter_map(|(step, values)| Some((step, Spread::of(&values)?))).collect()
    }

    /// Size of differences that mean nothing, if a run is finished.
    pub fn noise(&self) -> Option<Noise> {
        let images = self.runs.iter().map(|run| run.course.images).max().filter(|images| *images > 0)?;
        let best = self.runs.iter().filter_map(Run::finished_best);
        let errors = best.map(|best| (best * (1.0 - best) / images as f64).sqrt());
        let standard_error = errors.reduce(f64::max)?;
        let repeated = self.runs.iter().filter(|run| self.of(run.recipe).filter(|run| run.is_finished()).count() > 1);
        let spreads = repeated.filter_map(|run| self.best(run.recipe));
        let seed_range = spreads.map(|spread| spread.high - spread.low).reduce(f64::max);
        let threshold = seed_range.unwrap_or(0.0).max(1.96 * 2.0_f64.sqrt() * standard_error);
        Some(Noise { images, standard_error, seed_range, threshold })
    }
}
