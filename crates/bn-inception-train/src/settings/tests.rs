//! Settings from choices, and invalid choices.

use std::path::PathBuf;

use super::{Choices, Settings};

fn settings() -> Settings {
    let choices = Choices { seed: Some(3), ..Choices::default() };
    choices.settings(None, None).unwrap()
}

fn photographs() -> Option<PathBuf> {
    Some(PathBuf::from("photographs"))
}

#[test]
fn the_data_and_the_recipe_choose_the_defaults() {
    let none = Choices::default();
    let drawn = none.settings(None, None).unwrap();
    assert_eq!(drawn.image_size, 64);
    assert_eq!((drawn.recipe.as_str(), drawn.batch_size), ("drawn", 32));
    let own = none.settings(photographs(), None).unwrap();
    assert_eq!((own.width, own.image_size, own.batch_size), (1.0, 224, 64));
    let paper = Choices { recipe: Some("bn-x30".into()), ..none };
    assert_eq!(paper.settings(photographs(), None).unwrap().batch_size, 32);
}

#[test]
fn wrong_values_are_named() {
    let none = Choices::default;
    let cases = [
        (Choices { recipe: Some("x".into()), ..none() }, "unknown recipe `x`"),
        (Choices { preset: Some("x".into()), ..none() }, "unknown preset `x`"),
        (Choices { epochs: Some(0), ..none() }, "--epochs is 0"),
        (Choices { batch_size: Some(0), ..none() }, "--batch-size is 0"),
        (Choices { accumulate: Some(0), ..none() }, "--accumulate is 0"),
        (Choices { clip_norm: Some(f64::NAN), ..none() }, "--clip-norm is NaN"),
        (Choices { width: Some(-1.0), ..none() }, "width is -1"),
        (Choices { image_size: Some(5), ..none() }, "input_size is 5"),
        (Choices { epochs: Some(1), steps: Some(1), ..none() }, "exclude each other"),
    ];
    for (choices, expected) in cases {
        let message = choices.settings(photographs(), None).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_resumed_run_accepts_only_its_own_settings() {
    let settings = settings();
    Choices::default().check_against(&settings).unwrap();
    let same = Choices { width: Some(settings.width), epochs: settings.epochs, seed: Some(3), ..Choices::default() };
    same.check_against(&settings).unwrap();
    let other = Choices { steps: Some(7), seed: Some(4), ..same };
    let message = other.check_against(&settings).unwrap_err().to_string();
    assert!(message.contains("--seed 4 (was: 3)"), "{message}");
    assert!(message.contains("--steps 7 (was: not set)"), "{message}");
    assert!(!message.contains("--width"), "{message}");
}

#[test]
fn settings_survive_a_checkpoint() {
    let settings = settings();
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
}
