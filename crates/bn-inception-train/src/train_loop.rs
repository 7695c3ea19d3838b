//! The loop: epochs of steps, validations and checkpoints.
//!
//! A run can be saved and resumed after every optimizer step, with the same results to the last bit if the device's
//! arithmetic is deterministic (the CPU's is).

use std::collections::BTreeMap;
use std::time::Instant;

use bn_inception_dashboard::run_log::Validation;
use bn_inception_dashboard::run_log::{Event, RankFacts, RankReport, StepFacts, Telemetry, WarningKind};
use bn_inception_data::ImageBatches;
use burn::module::Module as _;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::group::{PartRecord, StepRecord, Tree, exchange, own_parts, own_steps};
use crate::observe::Predictions;
use crate::optim::{self, Flat, Norms, clip_factor};
use crate::run::Run;
use crate::step::{self, Scores};

/// A rank's batch of a validation.
#[derive(Serialize, Deserialize)]
struct ValidationRecord {
    /// `None` if there are no more batches for it.
    scores: Option<Scores>,
    /// Images found to be broken: the decoder's error by index in the dataset.
    broken: BTreeMap<usize, String>,
}

/// The end of the loop, other than by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All steps are done.
    Finished,
    /// A stop was requested, and the run is saved.
    Stopped,
}

/// Trains until all steps are done or a stop is requested.
pub(crate) fn train(run: &mut Run) -> Result<Ending, TrainError> {
    loop {
        if run.validation_is_due() && validate(run)? == Ending::Stopped {
            return stop(run);
        }
        if run.is_done() {
            return Ok(Ending::Finished);
        }
        if train_epoch(run)? == Ending::Stopped {
            return stop(run);
        }
    }
}

fn stop(run: &mut Run) -> Result<Ending, TrainError> {
    run.save()?;
    let elsewhere =
        if run.group.size() > 1 { "the terminal interface or another rank" } else { "the terminal interface" };
    let reason = run.stop.reason().unwrap_or(elsewhere);
    run.events.send(Event::Interrupted { step: run.progress.step, reason: reason.to_owned() })?;
    Ok(Ending::Stopped)
}

/// The rest of the current epoch.
fn train_epoch(run: &mut Run) -> Result<Ending, TrainError> {
    let epoch = run.progress.epoch;
    let rest = [run.progress.batch, run.batches_per_epoch];
    let own = own_steps(run.group.as_ref(), run.settings.accumulate, rest);
    let mut batches = run.train_loader.iter_of(epoch as u64, own);
    while !run.is_done() {
        train_step(run, &mut batches)?;
        if run.progress.batch >= run.batches_per_epoch {
            run.progress.epoch = epoch + 1;
            run.progress.batch = 0;
            // The validation that follows can take long; losing an epoch in it would be too much.
            run.save()?;
            break;
        }
        if run.should_stop() {
            return Ok(Ending::Stopped);
        }
        if run.checkpoint_is_due() {
            run.save()?;
        }
    }
    Ok(Ending::Finished)
}

/// One optimizer step over up to `accumulate` batches, as many as the epoch has left.
fn train_step(run: &mut Run, batches: &mut ImageBatches) -> Result<(), TrainError> {
    let started = Instant::now();
    let waited = run.train_loader.wait_seconds();
    let step = run.progress.step;
    let lr = run.recipe.rate(step, run.total_steps);
    let parts = run.settings.accumulate.min(run.batches_per_epoch - run.progress.batch);
    let (gradients, mut record) = own_share(run, batches, parts)?;
    record.seconds = started.elapsed().as_secs_f64();
    record.wait_seconds = run.train_loader.wait_seconds() - waited;
    let wait_seconds = record.wait_seconds;
    let records = exchange(run.group.as_ref(), record)?;
    let (mut images, mut loss, mut top1, mut top5) = (0, 0.0, 0, 0);
    for part in records.iter().flat_map(|record| &record.parts) {
        if !part.loss.is_finite() {
            return Err(run.not_finite("the loss".to_owned(), part.loss, step));
        }
        loss += part.loss;
        top1 += part.top1;
        top5 += part.top5;
        images += part.images;
    }
    let count = images as f64;
    let gradients = all_gradients(run, gradients, &records, count);
    run.share_results(&records)?;
    let reduced_seconds = started.elapsed().as_secs_f64();
    let norms = Norms::of(&gradients)?;
    let norm = norms.global();
    let mut scale = 1.0;
    if let Some(max_norm) = run.settings.clip_norm {
        if !norm.is_finite() {
            return Err(run.not_finite("the gradients' norm".to_owned(), norm, step));
        }
        scale = clip_factor(norm, max_norm);
    }
    let telemetry = update(run, lr, scale, gradients, &norms)?;
    let facts = StepFacts {
        step: step + 1,
        epoch: run.progress.epoch + 1,
        loss: loss / count,
        top1: top1 as f64 / count,
        top5: Some(top5 as f64 / count),
        lr,
        grad_norm: norm.is_finite().then_some(norm),
        images,
        seconds: started.elapsed().as_secs_f64(),
        wait_seconds,
    };
    run.advance(&facts, parts)?;
    if let Some(telemetry) = telemetry {
        run.events.send(Event::Telemetry(Box::new(telemetry)))?;
        if records.len() > 1 {
            let ranks = ranks_of(&records);
            run.events.send(Event::Ranks(RankReport { step: facts.step, seconds: reduced_seconds, ranks }))?;
        }
    }
    if !norm.is_finite() {
        run.events.send(Event::Warning {
            step: facts.step,
            kind: WarningKind::NotFinite,
            message: format!("the gradients' norm is {norm}"),
        })?;
    }
    Ok(())
}

/// This rank's parts of a step of `parts`: the sum of their gradients, `None` if it has none, and their results.
fn own_share(
    run: &mut Run,
    batches: &mut ImageBatches,
    parts: usize,
) -> Result<(Option<Flat>, StepRecord), TrainError> {
    let accumulate = run.settings.accumulate;
    let (mut sum, mut record) = (Tree::default(), StepRecord::default());
    for part in own_parts(run.group.as_ref(), accumulate, parts) {
        let Some(batch) = batches.next().transpose()? else {
            return Err(TrainError::EpochCutShort {
                batches: run.progress.batch + part,
                expected: run.batches_per_epoch,
            });
        };
        // Dropout draws from the device's one random stream. Seeding it by the position makes a resumed run draw the
        // same numbers as an uninterrupted one, and any rank those of the part.
        if run.recipe.dropout > 0.0 {
            run.device.seed(seed(run.settings.seed, run.progress.step, part));
        }
        let part = step::train(&run.model, batch, run.recipe.label_smoothing, run.group.size() > 1)?;
        let images = part.scores.images();
        let (loss, [top1, top5]) = (part.scores.loss, [1, 5].map(|guesses| part.scores.right(guesses)));
        record.parts.push(PartRecord { loss, top1, top5, images, statistics: part.statistics });
        // Without accumulation the mean stays as it is, bit for bit. With it, a smaller last batch has less weight.
        let gradients = if accumulate == 1 { part.gradients } else { part.gradients.scaled(images as f64) };
        sum.add(gradients, Flat::plus);
    }
    let sum = sum.finish(Flat::plus);
    // A rank without parts learns from the others what a gradient is made of.
    let is_idle = |rank: usize| rank * (accumulate / run.group.size()) >= parts;
    if is_idle(run.group.size() - 1) {
        let slots = sum.iter().flat_map(Flat::index);
        record.gradients = slots.map(|slot| slot.name.clone()).collect();
    }
    record.broken = run.broken_train.news(&run.train_loader);
    Ok((sum, record))
}

/// The mean of the gradients of all ranks' parts, which have `images` images.
fn all_gradients(run: &Run, own: Option<Flat>, records: &[StepRecord], images: f64) -> Flat {
    let mut gradients = own.unwrap_or_else(|| optim::values(&run.model).zeros(&records[0].gradients));
    if records.len() > 1 {
        let ranks = records.iter().take_while(|record| !record.parts.is_empty()).count();
        gradients = gradients.reduced(run.group.as_ref(), ranks);
    }
    if run.settings.accumulate == 1 { gradients } else { gradients.scaled(1.0 / images) }
}

/// Work and waiting of each rank.
fn ranks_of(records: &[StepRecord]) -> Vec<RankFacts> {
    let facts = |record: &StepRecord| RankFacts {
        images: record.parts.iter().map(|part| part.images).sum(),
        seconds: record.seconds,
        wait_seconds: record.wait_seconds,
    };
    records.iter().map(facts).collect()
}

/// Updates the parameters and, if telemetry is due, observes the change.
fn update(run: &mut Run, lr: f64, scale: f64, gradients: Flat, norms: &Norms) -> Result<Option<Telemetry>, TrainError> {
    let step = run.progress.step + 1;
    let observed = run.observer.is_due(step) && norms.global().is_finite();
    let Some(change) = run.update(lr, scale, gradients, observed) else {
        return Ok(None);
    };
    // `valid` copies the running statistics, so telemetry does not change them.
    let model = run.model.valid();
    let telemetry = run.observer.telemetry(&model, step, norms, change)?;
    Ok(Some(telemetry))
}

/// Seed of the device's random stream for batch `part` of optimizer step `step`.
fn seed(run: u64, step: u64, part: usize) -> u64 {
    // SplitMix64's first number is its finaliser: neighbouring numbers become unrelated ones.
    let mix = |number: u64| SplitMix64::seed_from_u64(number).next_u64();
    mix(mix(mix(run) ^ step) ^ part as u64)
}

fn validate(run: &mut Run) -> Result<Ending, TrainError> {
    let started = Instant::now();
    let step = run.progress.step;
    let shipped = run.shipped()?;
    let folded = shipped.fold();
    let (mut images, mut loss, mut top1, mut top5) = (0, 0.0, 0, 0);
    let mut predictions = Predictions::default();
    let (ranks, total) = (run.group.size(), run.valid_loader.batches());
    let own = (run.group.rank()..total).step_by(ranks);
    let mut batches = run.valid_loader.iter_of(0, own);
    // Each rank takes a batch in turn, so that their order stays that of one process.
    for _ in (0..total).step_by(ranks) {
        let own = match batches.next().transpose()? {
            Some(batch) => Some(step::validate(&folded, batch)?),
            None => None,
        };
        let records = exchange(
            run.group.as_ref(),
            ValidationRecord { scores: own, broken: run.broken_val.news(&run.valid_loader) },
        )?;
        let mut broken = BTreeMap::new();
        for record in records {
            broken.extend(record.broken);
            let Some(scores) = record.scores else { continue };
            for (row, class) in scores.rows() {
                predictions.add(row, class);
            }
            loss += scores.loss;
            top1 += scores.right(1);
            top5 += scores.right(5);
            images += scores.images();
            run.events.validation_batch(&scores);
        }
        run.broken_val.add(&run.valid_loader, broken)?;
        if run.should_stop() {
            return Ok(Ending::Stopped);
        }
    }
    let count = images.max(1) as f64;
    let result = Validation {
        step,
        // A run that ends within an epoch has not completed it, but is validated in it.
        epoch: run.progress.epoch + usize::from(run.progress.batch > 0),
        top1: top1 as f64 / count,
        top5: top5 as f64 / count,
        loss: loss / count,
        images: images as u64,
        seconds: started.elapsed().as_secs_f64(),
    };
    let report = predictions.report(result, &run.valid_loader);
    run.validated(report)?;
    if let Some(filters) = run.observer.filters(&shipped, step) {
        run.events.send(Event::Filters(filters))?;
    }
    if let Some(overlays) = run.observer.grad_cam(&shipped, step)? {
        run.events.send(Event::GradCam(overlays))?;
    }
    run.save()?;
    Ok(Ending::Finished)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_those_of_runs_before() {
        let cases = [
            ((0, 0, 0), 0x238275bc38fcbe91),
            ((7, 3, 1), 0x10490351134c1271),
            ((u64::MAX, 1000000, 15), 0xc0284536c55dd053),
        ];
        for ((run, step, part), expected) in cases {
            assert_eq!(seed(run, step, part), expected, "{run} {step} {part}");
        }
    }
}
