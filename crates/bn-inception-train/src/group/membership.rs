//! Membership in a group of processes.

/// Processes that call the same methods in the same order. Each method returns once all ranks have called it.
///
/// Methods do not return errors: a group whose connection is lost ends its processes.
pub trait Group: Send + Sync {
    /// Number of this process, from 0.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn size(&self) -> usize;

    /// Replaces `values`, equally many on all ranks, by the sum of those of the first `ranks` ranks, by
    /// [`sum_in_tree`](super::sum_in_tree).
    fn reduce(&self, values: &mut [f32], ranks: usize);

    /// The `records` of all ranks, in the order of the ranks, on all of them.
    fn gather(&self, record: &[u8]) -> Vec<Vec<u8>>;

    /// `bytes` of rank 0, on all ranks; those of the others are ignored.
    fn broadcast(&self, bytes: Vec<u8>) -> Vec<u8>;

    /// Ends all processes of the group at once, as after an error of this one.
    fn abort(&self) -> !;
}
