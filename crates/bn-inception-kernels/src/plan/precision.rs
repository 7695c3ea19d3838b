//! Numbers that a plan computes with.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Numbers of the feature maps and packed filters of a plan.
///
/// A property of the loops, as the instruction set is: a plan gets loops of one instruction set for one precision. What
/// goes in and comes out is `f32` in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats (IEEE 754 binary32), multiplied and summed as such.
    #[default]
    F32,
}

/// A name that no precision has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPrecision(
    /// The name given.
    pub String,
);

impl Precision {
    /// All precisions.
    pub const ALL: &'static [Self] = &[Self::F32];

    /// Name on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
        }
    }

    /// Size of one number in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
        }
    }
}

impl Display for Precision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        let found = Self::ALL.iter().find(|precision| precision.name() == name);
        found.copied().ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

impl Display for UnknownPrecision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Precision::ALL.iter().map(|precision| precision.name()).collect();
        write!(f, "unknown precision `{}`, expected one of: {}", self.0, names.join(", "))
    }
}

impl std::error::Error for UnknownPrecision {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_refused() {
        for precision in Precision::ALL {
            assert_eq!(precision.name().parse(), Ok(*precision));
        }
        let error = "f16".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(error, "unknown precision `f16`, expected one of: f32");
    }
}
