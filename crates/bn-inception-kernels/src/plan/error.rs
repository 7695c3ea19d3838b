//! Errors of both engines.

use thiserror::Error;

/// Invalid network, or inputs and options it cannot run with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Wrong number of elements of a parameter, an input or an output.
    #[error("{layer}: {what} holds {found} elements, expected {expected}")]
    Length {
        /// The layer's name, or that of the call.
        layer: String,
        /// Name of the buffer.
        what: &'static str,
        /// Required number of elements.
        expected: usize,
        /// Actual number of elements.
        found: usize,
    },
    /// Property of a layer that does not fit its position in the network.
    #[error("{layer}: {what} is {found}, expected {expected}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// Name of the property.
        what: &'static str,
        /// Required value.
        expected: usize,
        /// Actual value.
        found: usize,
    },
    /// Image too small for the window of a layer.
    #[error("{layer}: an image of {height} by {width} pixels is too small")]
    TooSmall {
        /// Name of the first layer whose window does not fit.
        layer: String,
        /// Height of the image.
        height: usize,
        /// Width of the image.
        width: usize,
    },
    /// Tensor sizes beyond the address space.
    #[error("a batch of {batch} images of {height} by {width} pixels does not fit into memory")]
    TooLarge {
        /// Number of images.
        batch: usize,
        /// Height of an image.
        height: usize,
        /// Width of an image.
        width: usize,
    },
    /// Instruction set with an unknown name or not available on the processor.
    #[error("instruction set {name:?}, requested by BN_INCEPTION_ISA or the engine options, is not available on this processor; available: {}", available.join(", "))]
    InstructionSet {
        /// Requested name.
        name: String,
        /// Names of the available instruction sets, best first.
        available: Vec<&'static str>,
    },
}

impl NetworkError {
    /// Error unless a property of a layer has the expected value.
    pub(crate) fn require(layer: &str, what: &'static str, expected: usize, found: usize) -> Result<(), Self> {
        match expected == found {
            true => Ok(()),
            false => Err(Self::Layer { layer: layer.to_owned(), what, expected, found }),
        }
    }

    /// Error unless a buffer holds the expected number of elements.
    pub(crate) fn length(layer: &str, what: &'static str, expected: usize, found: usize) -> Result<(), Self> {
        match expected == found {
            true => Ok(()),
            false => Err(Self::Length { layer: layer.to_owned(), what, expected, found }),
        }
    }
}
