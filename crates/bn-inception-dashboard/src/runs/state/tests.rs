//! Tests of folding records.

use super::*;
use crate::run_log::{SCHEMA, Validation};

fn fold(state: &mut RunState, event: Event) {
    let record = Record { schema: SCHEMA, time: 100.0 + state.offset as f64, event };
    let end = state.offset + 1;
    state.fold(record, end);
}

fn histogram() -> Histogram {
    Histogram { min: 0.0, max: 1.0, sum: 1.0, sum_squares: 1.0, counts: vec![1] }
}

#[test]
fn a_log_that_names_too_much_stays_small() {
    let mut state = RunState::default();
    for step in 1..=20 {
        let blocks = (0..100).map(|number| BlockTelemetry {
            block: format!("{step}-{number}"),
            grad_norm: 1.0,
            update_ratio: 1.0,
            weights: histogram(),
            gamma: Some(histogram()),
            beta: None,
        });
        let telemetry = Telemetry { step, blocks: blocks.collect(), activations: Vec::new() };
        fold(&mut state, Event::Telemetry(Box::new(telemetry)));
    }
    assert_eq!(state.series.len(), MOST_SERIES);
    assert_eq!(state.tracks.len(), MOST_TRACKS);
}

#[test]
fn pauses_between_processes_take_no_time() {
    let mut state = RunState::default();
    let mut at = |time: f64, event: Event| {
        let offset = state.offset + 1;
        let record = Record { schema: SCHEMA, time, event };
        state.fold(record, offset);
        state.standing.seconds
    };
    let facts = StepFacts {
        step: 1,
        epoch: 1,
        loss: 1.0,
        top1: 0.5,
        top5: None,
        lr: 0.1,
        grad_norm: None,
        images: 8,
        seconds: 1.0,
        wait_seconds: 0.0,
    };
    at(1000.0, Event::Start(Box::default()));
    assert_eq!(at(1010.0, Event::Step(facts)), 10.0);
    let device = "flex".to_owned();
    assert_eq!(at(5000.0, Event::Resume { step: 1, device }), 10.0);
    let second = StepFacts { step: 2, ..facts };
    assert_eq!(at(5003.0, Event::Step(second)), 13.0);
    // A clock that was set back does not run backwards.
    let third = StepFacts { step: 3, ..facts };
    assert_eq!(at(4000.0, Event::Step(third)), 13.0);
}

#[test]
fn validations_and_lost_steps_do_not_count_as_training_time() {
    let mut state = RunState::default();
    fold(&mut state, Event::Start(Box::default()));
    for step in 1..=4 {
        fold(&mut state, Event::Step(StepFacts { step, images: 8, seconds: 0.5, ..StepFacts::default() }));
    }
    let result = Validation { step: 4, epoch: 1, top1: 0.5, top5: 1.0, loss: 1.0, images: 2, seconds: 60.0 };
    fold(&mut state, Event::Validation(Box::new(result.into())));
    assert_eq!((state.standing.images, state.standing.train_seconds), (32, 2.0));
    fold(&mut state, Event::Resume { step: 2, device: "flex".to_owned() });
    assert_eq!((state.standing.images, state.standing.train_seconds), (16, 1.0));
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    let mut state = RunState::default();
    fold(&mut state, Event::Start(Box::default()));
    let seen = state.offset;
    fold(&mut state, Event::Finished { step: 0 });
    let changes = serde_json::to_value(state.summary(seen)).unwrap();
    assert_eq!(changes["standing"]["status"], "finished");
    assert_eq!((changes.get("cells"), changes.get("curves")), (None, None));
    assert!(state.summary(state.offset).is_none());
}
