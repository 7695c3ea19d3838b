//! From the choices of a user to everything that determines a run: recipe, schedule, network, preprocessing.

mod choices;
mod error;
mod fine_tune;
mod recipe;
mod run_settings;
mod schedule;
#[cfg(test)]
mod tests;

pub use choices::Choices;
pub use error::SettingsError;
pub use fine_tune::FineTune;
pub use recipe::{RECIPES, Recipe, UnknownRecipe};
pub use run_settings::Settings;
pub use schedule::Schedule;
