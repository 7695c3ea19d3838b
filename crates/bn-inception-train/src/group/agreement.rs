//! The check that all ranks start with the same.

use bn_inception_data::ImageDataset;
use bn_inception_data::fingerprint;
use serde::{Deserialize, Serialize};

use super::membership::Group;
use super::record::exchange;
use crate::error::TrainError;
use crate::settings::Settings;

/// Facts that have to be the same on all ranks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Each with its name.
    terms: Vec<(String, String)>,
}

impl Terms {
    /// Those of this rank: its program, settings, device and data.
    pub(crate) fn new(program: &str, settings: &Settings, device: &str, folders: [&ImageDataset; 2]) -> Self {
        let settings = serde_json::to_value(settings).unwrap_or_default();
        // Folders may have other names on other machines; their content counts.
        let settings = settings.as_object().into_iter().flatten().filter(|(name, _)| *name != "data");
        let mut terms: Vec<_> = settings.map(|(name, value)| (name.clone(), value.to_string())).collect();
        let [train, val] = folders;
        let images = format!("{} + {} images, fingerprint {}", train.len(), val.len(), fingerprint([train, val]));
        terms.push(("program".to_owned(), program.to_owned()));
        terms.push(("device".to_owned(), device.to_owned()));
        terms.push(("data".to_owned(), images));
        Self { terms }
    }

    /// # Errors
    /// [`TrainError::Rank`] if a rank has others than rank 0, with the first difference.
    pub(crate) fn agree(self, group: &dyn Group) -> Result<(), TrainError> {
        let all = exchange(group, self)?;
        for (rank, own) in all.iter().enumerate() {
            let mut pairs = own.terms.iter().zip(&all[0].terms);
            if let Some(((name, found), (_, expected))) = pairs.find(|(own, first)| own != first) {
                let what = format!("has another {name} than rank 0: {found}, not {expected}");
                return Err(TrainError::Rank { rank, what });
            }
        }
        Ok(())
    }
}
