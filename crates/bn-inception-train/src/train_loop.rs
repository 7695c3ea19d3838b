//! The loop: epochs of steps, validations and checkpoints.
//!
//! A run can be saved and resumed after every optimizer step, with the same results to the last bit if the device's
//! arithmetic is deterministic (the CPU's is).

use std::time::Instant;

use bn_inception_dashboard::run_log::Validation;
use bn_inception_dashboard::run_log::{Event, StepFacts, Telemetry, WarningKind};
use bn_inception_data::ImageBatches;
use burn::module::Module as _;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use crate::error::TrainError;
use crate::observe::Predictions;
use crate::optim::{Flat, Norms, clip_factor};
use crate::run::Run;
use crate::step;

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
    let reason = run.stop.reason().unwrap_or("the terminal interface");
    run.events.send(Event::Interrupted { step: run.progress.step, reason: reason.to_owned() })?;
    Ok(Ending::Stopped)
}

/// The rest of the current epoch.
fn train_epoch(run: &mut Run) -> Result<Ending, TrainError> {
    let epoch = run.progress.epoch;
    let mut batches = run.train_loader.iter_from(epoch as u64, run.progress.batch);
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
    let (mut images, mut loss, mut top1, mut top5) = (0, 0.0, 0, 0);
    let mut gradients: Option<Flat> = None;
    let mut parts = 0;
    while parts < run.settings.accumulate {
        let Some(batch) = batches.next().transpose()? else {
            break;
        };
        // Dropout draws from the device's one random stream. Seeding it by the position makes a resumed run draw the
        // same numbers as an uninterrupted one.
        if run.recipe.dropout > 0.0 {
            run.device.seed(seed(run.settings.seed, step, parts));
        }
        let (new, scores) = step::train(&run.model, batch, run.recipe.label_smoothing)?;
        if !scores.loss.is_finite() {
            return Err(run.not_finite("the loss".to_owned(), scores.loss, step));
        }
        loss += scores.loss;
        top1 += scores.right(1);
        top5 += scores.right(5);
        images += scores.images();
        // Without accumulation the mean stays as it is, bit for bit. With it, a smaller last batch has less weight.
        let new = if run.settings.accumulate == 1 { new } else { new.scaled(scores.images() as f64) };
        gradients = Some(match gradients {
            None => new,
            Some(sum) => sum.plus(new),
        });
        parts += 1;
    }
    let Some(mut gradients) = gradients else {
        return Err(TrainError::EpochCutShort { batches: run.progress.batch, expected: run.batches_per_epoch });
    };
    let count = images as f64;
    if run.settings.accumulate > 1 {
        gradients = gradients.scaled(1.0 / count);
    }
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
        wait_seconds: run.train_loader.wait_seconds() - waited,
    };
    run.advance(&facts, parts)?;
    if let Some(telemetry) = telemetry {
        run.events.send(Event::Telemetry(Box::new(telemetry)))?;
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
    let mut batches = run.valid_loader.iter_from(0, 0);
    while let Some(batch) = batches.next().transpose()? {
        let scores = step::validate(&folded, batch)?;
        for (row, class) in scores.rows() {
            predictions.add(row, class);
        }
        loss += scores.loss;
        top1 += scores.right(1);
        top5 += scores.right(5);
        images += scores.images();
        run.events.validation_batch(&scores);
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
