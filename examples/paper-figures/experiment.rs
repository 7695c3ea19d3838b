//! The runs of the experiment: which there are, what becomes of each.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use bn_inception::DeviceSpec;
use bn_inception_examples::{Failure, REVISION, WrongArgument};
use bn_inception_train::checkpoint::CheckpointFolder;
use bn_inception_train::data::{ImageDataset, Split, fingerprint};
use bn_inception_train::run_log::LOG_FILE;
use bn_inception_train::{
    Choices, Display as Progress, Outcome, Settings, SettingsError, StopSignal, TrainConfig, TrainError, Trainer,
};
use serde_json::Value;

use crate::outcome::{Course, Results, Run};
use crate::paper::PUBLISHED;

/// Size of the experiment.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Multiplier of the network's channels.
    pub width: f64,
    /// Height and width of the images in pixels.
    pub image_size: usize,
    /// Passes over the training images.
    pub epochs: usize,
    /// Number of runs of each recipe.
    pub seeds: u16,
}

/// About an hour on two processor cores with the 9,469 photographs of Imagenette.
pub const DEFAULT_SCALE: Scale = Scale { width: 0.5, image_size: 64, epochs: 12, seeds: 2 };

/// One run to make.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    pub recipe: &'static str,
    pub seed: u64,
}

/// The name of its folder.
impl Display for Planned {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.recipe, self.seed)
    }
}

/// All runs, those of the first seed first: a half-finished experiment then compares all recipes.
pub fn plan(seeds: u16) -> Vec<Planned> {
    let of_seed = |seed| PUBLISHED.map(|row| Planned { recipe: row.recipe, seed });
    (0..u64::from(seeds)).flat_map(of_seed).collect()
}

/// The runs that have not ended.
pub fn missing(results: &Results, seeds: u16) -> Vec<Planned> {
    let plan = plan(seeds).into_iter();
    plan.filter(|planned| results.run(planned.recipe, planned.seed).is_none()).collect()
}

/// The end of a call that trains a run.
pub enum Ending {
    /// The run is finished, or it diverged.
    Ended(Run),
    /// It was stopped and saved after this number of steps.
    Stopped(u64),
}

/// The experiment, with everything that its runs have in common.
pub struct Experiment {
    pub data: PathBuf,
    pub out: PathBuf,
    pub scale: Scale,
    pub device: DeviceSpec,
    /// Threads that decode images, unless the default is right.
    pub workers: Option<usize>,
}

impl Experiment {
    /// The runs that have ended. Refuses runs with other settings or data.
    pub fn ended(&self) -> Result<Vec<Run>, Failure> {
        let [train, val] = [Split::Train, Split::Val].map(|split| ImageDataset::open_split(&self.data, split));
        let dataset = fingerprint([&train?, &val?]);
        let mut ended = Vec::new();
        for planned in plan(self.scale.seeds) {
            // Wrong flags are found before the first run, not at the end of it.
            self.choices(planned).settings(Some(self.data.clone()), None)?;
            if !self.folder(planned).join(LOG_FILE).exists() {
                continue;
            }
            let course = self.course(planned)?;
            self.check(planned, &course, &dataset)?;
            // The trainer writes the summary last.
            if course.diverged_after.is_some() || self.folder(planned).join("summary.json").exists() {
                ended.push(Run { recipe: planned.recipe, seed: planned.seed, course });
            }
        }
        Ok(ended)
    }

    /// Trains a run that has not ended, from its newest checkpoint if it has one.
    pub fn train(&self, planned: Planned, stop: &StopSignal) -> Result<Ending, Failure> {
        let out = self.folder(planned);
        let checkpoints = CheckpointFolder::of_run(&out);
        let defaults = TrainConfig::new(&out);
        let config = TrainConfig {
            data: Some(self.data.clone()),
            choices: self.choices(planned),
            resume: !checkpoints.steps()?.is_empty(),
            device: self.device.clone(),
            workers: self.workers.unwrap_or(defaults.workers),
            // Enough to resume, and ten runs need little space.
            keep_checkpoints: 1,
            // Standard output is for the table.
            display: Progress::Stderr,
            program: concat!("paper-figures ", env!("CARGO_PKG_VERSION")).to_owned(),
            revision: REVISION.map(str::to_owned),
            ..defaults
        };
        let trained = Trainer::new(config, |line| eprintln!("{line}")).and_then(|trainer| trainer.run(stop));
        let name = out.display();
        match trained {
            Ok(Outcome::Stopped { step, .. }) => return Ok(Ending::Stopped(step)),
            Ok(Outcome::Finished(_)) => {}
            // A result: the paper reports the same of Inception with 5 times the learning rate.
            Err(error @ TrainError::NotFinite { .. }) => eprintln!("{name} diverged: {error}"),
            Err(error) => return Err(format!("{name}: {error}").into()),
        }
        let course = self.course(planned)?;
        Ok(Ending::Ended(Run { recipe: planned.recipe, seed: planned.seed, course }))
    }

    fn folder(&self, planned: Planned) -> PathBuf {
        self.out.join(planned.to_string())
    }

    fn course(&self, planned: Planned) -> Result<Course, Failure> {
        let path = self.folder(planned).join(LOG_FILE);
        Course::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
    }

    fn choices(&self, planned: Planned) -> Choices {
        Choices {
            recipe: Some(planned.recipe.to_owned()),
            width: Some(self.scale.width),
            image_size: Some(self.scale.image_size),
            epochs: Some(self.scale.epochs),
            seed: Some(planned.seed),
            ..Choices::default()
        }
    }

    /// Refuses a run that was begun with other settings or data.
    fn check(&self, planned: Planned, course: &Course, dataset: &str) -> Result<(), Failure> {
        let Some(start) = &course.start else {
            return Ok(());
        };
        let out = self.folder(planned);
        let out = out.display();
        let settings = Value::Object(start.settings.clone());
        let Ok(settings) = serde_json::from_value::<Settings>(settings) else {
            return Err(format!("{out} holds a run of another program; choose another --out").into());
        };
        match self.choices(planned).check_against(&settings) {
            Ok(()) => {}
            Err(SettingsError::Differs { differences }) => {
                let differences = differences.join(", ");
                let message = format!("{out} has other settings: {differences}; choose another --out");
                return Err(WrongArgument(message).into());
            }
            Err(error) => return Err(error.into()),
        }
        if start.dataset != dataset {
            let data = self.data.display();
            return Err(format!("{out} was trained on other data than {data}; choose another --out").into());
        }
        Ok(())
    }
}
