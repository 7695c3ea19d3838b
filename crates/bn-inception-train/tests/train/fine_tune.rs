//! Fine-tuning changes what it should, nothing else, and can be interrupted.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{self, dataset, finish, newest_checkpoint, resumed, train};
use bn_inception::burn::tensor::Device;
use bn_inception::weights::{Metadata, Precision, Store, Weights};
use bn_inception::{Normalization, Preprocess, Preset, State, TensorRole};
use bn_inception_train::data::drawn::class_names;
use bn_inception_train::{Choices, Outcome, StopSignal, TrainConfig, open_weights};

const SIZE: u32 = 28;

/// Untrained weights of seven classes, and four drawn classes.
fn prepare(folder: &Path, dropout: f64) -> (PathBuf, PathBuf) {
    let data = dataset(folder, 4, [8, 3], SIZE);
    let config = Preset::Small.config().with_width(0.05).with_classes(7);
    let config = config.with_dropout(dropout);
    let model = config.init_seeded(&Device::flex(), 3).unwrap();
    let metadata = Metadata {
        config,
        // Values that a run from scratch does not have: they have to be carried over.
        preprocess: Preprocess { size: SIZE, ..Preprocess::tf_slim() },
        labels: (0..7).map(|class| format!("class {class}")).collect(),
        temperature: None,
        facts: serde_json::Map::new(),
    };
    let base = folder.join("base.safetensors");
    let weights = Weights::from_model(&model, metadata).unwrap();
    weights.save(&base, Precision::Full).unwrap();
    (base, data)
}

fn config(base: &Path, data: &Path, out: &Path) -> TrainConfig {
    let choices = Choices {
        epochs: Some(2),
        batch_size: Some(4),
        seed: Some(7),
        weights: Some(base.display().to_string()),
        freeze: Some("3c".to_owned()),
        ..Choices::default()
    };
    common::config(data, out, choices)
}

fn load(path: &Path) -> (State, Metadata) {
    let (model, metadata) = Weights::open(path, None).unwrap().model(&Device::flex());
    (model.state(), metadata)
}

fn values(state: &State, name: &str) -> Vec<u32> {
    let values = state[name].iter::<f32>();
    values.map(f32::to_bits).collect()
}

fn is_frozen(name: &str) -> bool {
    ["stem.", "3a.", "3b.", "3c."].iter().any(|block| name.starts_with(block))
}

#[test]
fn the_frozen_part_keeps_its_bits_and_the_rest_learns() {
    let folder = tempfile::tempdir().unwrap();
    let (base, data) = prepare(folder.path(), 0.0);
    let out = folder.path().join("out");
    finish(config(&base, &data, &out));
    let (before, old) = load(&base);
    let (after, new) = load(&out.join("model.safetensors"));

    assert_eq!(new.config, old.config.clone().with_classes(4));
    assert_eq!(new.preprocess, old.preprocess);
    assert_eq!(new.labels, class_names()[..4]);
    let settings = &new.facts["settings"]["fine-tune"];
    assert_eq!(settings["weights"], "base.safetensors", "a name, not a place");
    assert_eq!(settings["freeze"], "3c");

    // The last checkpoint is these weights.
    let mut checkpoints: Vec<_> =
        fs::read_dir(out.join("checkpoints")).unwrap().map(|file| file.unwrap().path()).collect();
    checkpoints.retain(|path| path.extension().is_some_and(|extension| extension == "ckpt"));
    let last = checkpoints.iter().max().unwrap().display().to_string();
    let opened = open_weights(&Store::new(), &last, None).unwrap();
    assert_eq!(opened.state(), &after);
    assert_eq!(opened.metadata().config, new.config);
    assert_eq!((&opened.metadata().preprocess, &opened.metadata().labels), (&new.preprocess, &new.labels));

    // The trained network and the shipped one, its average: neither changes where it is frozen.
    let trained = newest_checkpoint(&out).model;
    let (mut frozen, mut moved) = (0, 0);
    for name in before.keys().filter(|name| !name.starts_with("classifier.")) {
        let same = values(&after, name) == values(&before, name);
        let flat: Vec<u32> = trained[name].iter().map(|value| value.to_bits()).collect();
        assert_eq!(flat == values(&before, name), same, "{name}");
        // The bias before a batch normalisation has no effect, and no gradient.
        let idle = name.ends_with(".bias");
        assert_eq!(same, is_frozen(name) || idle, "{name}");
        frozen += usize::from(is_frozen(name) && TensorRole::of(name) == TensorRole::Statistic);
        moved += usize::from(!same && TensorRole::of(name) == TensorRole::Statistic);
    }
    assert!(frozen > 0 && moved > 0, "both kinds of statistics were seen");
}

#[test]
fn nothing_is_frozen_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (base, data) = prepare(folder.path(), 0.0);
    let mut config = config(&base, &data, &folder.path().join("out"));
    config.choices.freeze = None;
    finish(config);
    let (before, _) = load(&base);
    let (after, _) = load(&folder.path().join("out/model.safetensors"));
    for name in before.keys().filter(|name| !name.ends_with("bias")) {
        assert_ne!(values(&after, name), values(&before, name), "{name}");
    }
}

#[test]
fn the_classifier_and_the_rest_learn_at_their_own_rates() {
    let folder = tempfile::tempdir().unwrap();
    let (base, data) = prepare(folder.path(), 0.0);
    let after_a_step = |name: &str, lr: f64, head_lr: f64| {
        let out = folder.path().join(name);
        let mut config = config(&base, &data, &out);
        config.choices.epochs = None;
        config.choices.steps = Some(1);
        (config.choices.lr, config.choices.head_lr) = (Some(lr), Some(head_lr));
        finish(config);
        newest_checkpoint(&out).model
    };
    let plain = after_a_step("plain", 0.01, 0.1);
    let fast_head = after_a_step("fast-head", 0.01, 0.2);
    let fast_rest = after_a_step("fast-rest", 0.02, 0.1);
    for name in plain.keys().filter(|name| !is_frozen(name)) {
        let learned =
            TensorRole::of(name) != TensorRole::Statistic && !name.ends_with(".bias") || name == "classifier.bias";
        let head = name.starts_with("classifier.");
        assert_eq!(fast_head[name] != plain[name], learned && head, "{name}");
        assert_eq!(fast_rest[name] != plain[name], learned && !head, "{name}");
    }
}

#[test]
fn a_stopped_run_resumes_to_the_same_bits_without_the_weights_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let (base, data) = prepare(folder.path(), 0.2);
    let whole = folder.path().join("whole");
    finish(config(&base, &data, &whole));

    // A signal given beforehand stops each run after one step.
    let stopped = folder.path().join("stopped");
    let stop = StopSignal::new();
    stop.stop("test");
    let outcome = train(config(&base, &data, &stopped), &stop).unwrap();
    assert!(matches!(outcome, Outcome::Stopped { step: 1, .. }), "{outcome:?}");
    fs::remove_file(&base).unwrap();
    for _ in 0..3 {
        train(resumed(config(&base, &data, &stopped)), &stop).unwrap();
    }
    finish(resumed(config(&base, &data, &stopped)));

    let (found, expected) = (newest_checkpoint(&stopped), newest_checkpoint(&whole));
    assert_eq!(found.settings, expected.settings);
    assert!(found.model == expected.model, "weights differ");
    assert!(found.velocity == expected.velocity, "velocities differ");
    assert!(found.average == expected.average, "averages differ");
    let shipped = |out: &Path| fs::read(out.join("model.safetensors")).unwrap();
    assert!(shipped(&stopped) == shipped(&whole), "other weights are shipped");
}

#[test]
fn what_cannot_be_fine_tuned_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let (base, data) = prepare(folder.path(), 0.0);
    let out = folder.path().join("out");
    let fails = |change: &dyn Fn(&mut TrainConfig), parts: &[&str]| {
        let mut config = config(&base, &data, &out);
        change(&mut config);
        let message = match train(config, &StopSignal::new()) {
            Ok(outcome) => panic!("expected an error about {parts:?}, found {outcome:?}"),
            Err(error) => error.to_string(),
        };
        for part in parts {
            assert!(message.contains(part), "`{message}` does not say `{part}`");
        }
        assert!(!message.contains('\n'), "{message}");
        assert!(!out.join("run.jsonl").exists(), "{message}");
    };
    fails(&|config| config.choices.freeze = Some("6a".into()), &["--freeze", "`6a`", "stem, 3a", "5b"]);
    fails(&|config| config.choices.lr = Some(0.0), &["--lr is 0", "positive"]);
    fails(&|config| config.choices.head_lr = Some(-1.0), &["--head-lr is -1"]);
    fails(&|config| config.choices.preset = Some("caffe".into()), &["--preset comes with the weights"]);
    fails(&|config| config.choices.weights = None, &["--freeze needs --weights"]);
    fails(
        &|config| config.choices.weights = Some("nowhere.safetensors".into()),
        &["nowhere.safetensors", "no such file"],
    );

    // Weights for inference have no batch normalisation to train with.
    let network = Preset::Small.config().with_normalization(Normalization::Folded);
    let network = network.with_width(0.05).with_classes(7);
    let folded = folder.path().join("folded.safetensors");
    let metadata = Metadata { config: network.clone(), ..load(&base).1 };
    let model = network.init(&Device::flex()).unwrap();
    let weights = Weights::from_model(&model, metadata).unwrap();
    weights.save(&folded, Precision::Full).unwrap();
    fails(
        &|config| config.choices.weights = Some(folded.display().to_string()),
        &["folded.safetensors: folded for inference"],
    );

    let stop = StopSignal::new();
    stop.stop("test");
    let stopped = folder.path().join("stopped");
    train(config(&base, &data, &stopped), &stop).unwrap();
    let other = TrainConfig {
        resume: true,
        choices: Choices { freeze: Some("4e".into()), ..Choices::default() },
        ..config(&base, &data, &stopped)
    };
    let message = train(other, &stop).unwrap_err().to_string();
    assert!(message.contains("--freeze 4e (was: 3c)"), "{message}");
}
