//! Runs that several ranks train together, here threads, end with the bits of one process.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use bn_inception_train::group::{Alone, Group, sum_in_tree};
use bn_inception_train::{Choices, Outcome, StopSignal, TrainConfig, TrainError, Trainer};

use crate::common::{self, dataset, resumed};
use crate::resume::assert_same;

/// Time for the slowest rank to arrive; one that failed never does.
const PATIENCE: Duration = Duration::from_secs(120);

/// Threads of one process as ranks.
struct Threads {
    rank: usize,
    size: usize,
    meeting: Arc<Meeting>,
}

#[derive(Default)]
struct Meeting {
    state: Mutex<State>,
    met: Condvar,
}

#[derive(Default)]
struct State {
    /// Number of meetings so far.
    number: usize,
    /// Records of the present one.
    records: Vec<Option<Vec<u8>>>,
    /// Those of the last one.
    last: Vec<Vec<u8>>,
}

impl Threads {
    fn of(size: usize) -> Vec<Arc<dyn Group>> {
        let meeting = Arc::new(Meeting::default());
        meeting.state.lock().unwrap().records = vec![None; size];
        let rank = |rank| Arc::new(Self { rank, size, meeting: meeting.clone() }) as Arc<dyn Group>;
        (0..size).map(rank).collect()
    }
}

impl Group for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn reduce(&self, values: &mut [f32], ranks: usize) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        let all = self.gather(&bytes).into_iter().take(ranks);
        let mut all: Vec<Vec<f32>> = all.map(|bytes| bytes.chunks_exact(4).map(number).collect()).collect();
        sum_in_tree(&mut all);
        values.copy_from_slice(&all[0]);
    }

    fn gather(&self, record: &[u8]) -> Vec<Vec<u8>> {
        let mut state = self.meeting.state.lock().unwrap();
        let number = state.number;
        state.records[self.rank] = Some(record.to_vec());
        if state.records.iter().all(Option::is_some) {
            state.last = state.records.iter_mut().filter_map(Option::take).collect();
            state.number += 1;
            self.meeting.met.notify_all();
            return state.last.clone();
        }
        let (state, waited) =
            self.meeting.met.wait_timeout_while(state, PATIENCE, |state| state.number == number).unwrap();
        assert!(!waited.timed_out(), "rank {} waits in vain", self.rank);
        state.last.clone()
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.gather(&bytes).swap_remove(0)
    }

    fn abort(&self) -> ! {
        panic!("rank {} ends the run", self.rank)
    }
}

/// An epoch of 29 batches, so that the last of its steps, of up to 4 batches, has one.
fn config(data: &Path, out: &Path) -> TrainConfig {
    let choices = Choices {
        recipe: Some("modern".to_owned()),
        preset: Some("small".to_owned()),
        width: Some(0.05),
        image_size: Some(28),
        epochs: Some(2),
        batch_size: Some(8),
        accumulate: Some(4),
        clip_norm: Some(0.5),
        seed: Some(7),
        ..Choices::default()
    };
    common::config(data, out, choices)
}

/// 234 training and 102 validation images, one of each broken.
fn broken_dataset(folder: &Path) -> std::path::PathBuf {
    let data = dataset(folder, 6, [39, 17], 32);
    for split in ["train", "val"] {
        let mut classes: Vec<_> = fs::read_dir(data.join(split)).unwrap().map(|class| class.unwrap().path()).collect();
        classes.sort();
        let mut images: Vec<_> = fs::read_dir(&classes[2]).unwrap().map(|image| image.unwrap().path()).collect();
        images.sort();
        fs::write(&images[5], "no image").unwrap();
    }
    data
}

/// The run on `size` ranks; `stopped` is the one that is told to stop, after its next step.
fn train(size: usize, config: &TrainConfig, stopped: Option<usize>) -> Vec<Result<Outcome, TrainError>> {
    let run = |group: Arc<dyn Group>| {
        let stop = StopSignal::new();
        if stopped == Some(group.rank()) {
            stop.stop("the test");
        }
        Trainer::with_group(config.clone(), group, |_| ()).and_then(|trainer| trainer.run(&stop))
    };
    thread::scope(|scope| {
        let ranks: Vec<_> = Threads::of(size).into_iter().map(|group| scope.spawn(|| run(group))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn finish(size: usize, config: &TrainConfig) {
    for outcome in train(size, config, None) {
        assert!(matches!(outcome, Ok(Outcome::Finished(_))), "{outcome:?}");
    }
}

#[test]
fn any_power_of_two_of_ranks_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = broken_dataset(folder.path());
    let out = |name: &str| folder.path().join(name);
    finish(1, &config(&data, &out("1")));
    for size in [2, 4] {
        finish(size, &config(&data, &out(&size.to_string())));
        assert_same(&out(&size.to_string()), &out("1"));
        let log = fs::read_to_string(out(&size.to_string()).join("run.jsonl")).unwrap();
        assert_eq!(log.matches("\"event\":\"start\"").count(), 1, "rank 0 alone writes");
        assert_eq!(log.matches("\"event\":\"broken_image\"").count(), 2);
        let summary = |name: &str| {
            let text = fs::read_to_string(out(name).join("summary.json")).unwrap();
            let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
            ["val_top1", "val_top5", "val_loss", "val_images", "broken_images"].map(|key| summary[key].clone())
        };
        assert_eq!(summary(&size.to_string()), summary("1"));
    }
    let alone = Trainer::with_group(config(&data, &out("alone")), Arc::new(Alone), |_| ()).unwrap();
    alone.run(&StopSignal::new()).unwrap();
    assert_same(&out("alone"), &out("1"));
}

#[test]
fn a_run_goes_on_with_fewer_and_with_more_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let data = broken_dataset(folder.path());
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    finish(1, &config(&data, &whole));
    let mut next = config(&data, &parts);
    for (step, (size, stopped)) in [(4, 3), (2, 1), (1, 0), (4, 0)].into_iter().enumerate() {
        for outcome in train(size, &next, Some(stopped)) {
            let Ok(Outcome::Stopped { step: found, .. }) = outcome else { panic!("{outcome:?}") };
            assert_eq!(found, step as u64 + 1, "every rank ends at the same step");
        }
        next = resumed(next);
    }
    finish(2, &next);
    assert_same(&parts, &whole);
}

#[test]
fn ranks_that_differ_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let data = broken_dataset(folder.path());
    let other = dataset(&folder.path().join("other"), 6, [39, 17], 32);
    let differ = |change: &(dyn Fn(&mut TrainConfig) + Sync)| {
        let run = |group: Arc<dyn Group>| {
            let mut config = config(&data, &folder.path().join("out"));
            if group.rank() == 1 {
                change(&mut config);
            }
            Trainer::with_group(config, group, |_| ()).err().unwrap().to_string()
        };
        thread::scope(|scope| {
            let ranks: Vec<_> = Threads::of(2).into_iter().map(|group| scope.spawn(|| run(group))).collect();
            let errors: Vec<_> = ranks.into_iter().map(|rank| rank.join().unwrap()).collect();
            assert_eq!(errors[0], errors[1]);
            errors[0].clone()
        })
    };
    let error = differ(&|config| config.choices.seed = Some(8));
    assert_eq!(error, "rank 1 has another seed than rank 0: 8, not 7");
    let first = |folder: &Path| fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(first(&first(&other.join("train")))).unwrap();
    let error = differ(&|config| config.data = Some(other.clone()));
    assert!(error.starts_with("rank 1 has another data than rank 0: 233 + 102 images, fingerprint "), "{error}");

    let shares = |size: usize| {
        let group = Threads::of(size).swap_remove(0);
        Trainer::with_group(config(&data, &folder.path().join("out")), group, |_| ()).err().unwrap().to_string()
    };
    assert_eq!(shares(3), "--accumulate 4 cannot be shared by 3 ranks; choose a multiple of 3");
}
