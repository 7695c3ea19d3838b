//! The share of a rank.

use std::ops::Range;

use super::membership::Group;

/// The parts of a step, `0..parts`, that this rank computes, if a whole step has `accumulate` parts. The last step of an
/// epoch may have fewer, and then none for the last ranks.
pub(crate) fn own_parts(group: &dyn Group, accumulate: usize, parts: usize) -> Range<usize> {
    let own = accumulate / group.size();
    let start = group.rank() * own;
    start.min(parts)..(start + own).min(parts)
}

/// The batches of an epoch, from number `start` to `end`, that this rank computes.
pub(crate) fn own_steps(
    group: &dyn Group,
    accumulate: usize,
    [start, end]: [usize; 2],
) -> impl Iterator<Item = usize> + use<> {
    let own = own_parts(group, accumulate, accumulate);
    (start..end).filter(move |batch| own.contains(&((batch - start) % accumulate)))
}
