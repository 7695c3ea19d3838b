//! Records that ranks exchange: one a step, and one for each batch of a validation.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::membership::Group;
use crate::error::TrainError;

/// A rank's share of an optimizer step.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    /// Its parts, in order.
    pub parts: Vec<PartRecord>,
    /// Training images found to be broken: the decoder's error by index in the dataset.
    pub broken: BTreeMap<usize, String>,
    /// Names of the tensors that have gradients, if some ranks have no parts and cannot know them.
    pub gradients: Vec<String>,
    /// Time from the start of the step to this record in seconds.
    pub seconds: f64,
    /// Part of it spent waiting for images.
    pub wait_seconds: f64,
}

/// The result of one part.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    /// Sum of the images' losses.
    pub loss: f64,
    /// Number of images whose class was the first guess.
    pub top1: usize,
    /// Number of images whose class was among the first five.
    pub top5: usize,
    /// Number of images.
    pub images: usize,
    /// Statistics of the part for batch normalisation, unless they are in the running ones already.
    pub statistics: Vec<f32>,
}

/// The records of all ranks, in their order.
///
/// # Errors
/// [`TrainError::Rank`] if one cannot be read, as of a rank that runs another version of the program.
pub(crate) fn exchange<T: Serialize + DeserializeOwned>(group: &dyn Group, own: T) -> Result<Vec<T>, TrainError> {
    if group.size() == 1 {
        return Ok(vec![own]);
    }
    let records = group.gather(&write(&own));
    records.iter().enumerate().map(|(rank, record)| read(rank, record)).collect()
}

/// A record as bytes.
pub(crate) fn write(record: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(record).expect("maps, lists and numbers have an encoding")
}

/// The record of `rank`.
pub(crate) fn read<T: DeserializeOwned>(rank: usize, record: &[u8]) -> Result<T, TrainError> {
    let foreign = |_| TrainError::Rank { rank, what: "sent a record of another version of the program".to_owned() };
    postcard::from_bytes(record).map_err(foreign)
}
