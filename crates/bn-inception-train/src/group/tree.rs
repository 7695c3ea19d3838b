//! Sums in a fixed binary tree: floating-point sums depend on the order, and the number of ranks must not change it.
//!
//! The tree over n leaves sums neighbours, then neighbours of those sums, and so on; what has no neighbour moves up as it
//! is. A rank's leaves are a subtree if it has 2^k of them, so that ranks can sum their own and then each other's.

/// A sum in a tree whose leaves come one by one. It keeps at most one partial sum for each level.
pub(crate) struct Tree<T> {
    /// Partial sums with their levels, which fall.
    sums: Vec<(u32, T)>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { sums: Vec::new() }
    }
}

impl<T> Tree<T> {
    /// Adds the next leaf.
    pub(crate) fn add(&mut self, leaf: T, plus: impl Fn(T, T) -> T) {
        let (mut level, mut sum) = (0, leaf);
        while let Some((_, left)) = self.sums.pop_if(|(other, _)| *other == level) {
            sum = plus(left, sum);
            level += 1;
        }
        self.sums.push((level, sum));
    }

    /// The sum of all leaves; `None` if there are none.
    pub(crate) fn finish(self, plus: impl Fn(T, T) -> T) -> Option<T> {
        let sums = self.sums.into_iter().rev().map(|(_, sum)| sum);
        sums.reduce(|right, left| plus(left, right))
    }
}

/// Adds all `pieces`, of equal length, up in the first, in the tree of this module: what every [`Group`](super::Group)
/// sums by.
///
/// # Panics
/// If the lengths differ.
pub fn sum_in_tree<P: AsMut<[f32]> + AsRef<[f32]>>(pieces: &mut [P]) {
    let mut tree = Tree::default();
    pieces.iter_mut().for_each(|piece| tree.add(piece, add_up));
    tree.finish(add_up);
}

fn add_up<'a, P: AsMut<[f32]> + AsRef<[f32]>>(sum: &'a mut P, piece: &'a mut P) -> &'a mut P {
    let (left, right) = (sum.as_mut(), piece.as_ref());
    assert_eq!(left.len(), right.len(), "pieces of different lengths");
    left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(leaves: std::ops::Range<usize>) -> Option<String> {
        let plus = |a: String, b: String| format!("({a}{b})");
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.add(leaf.to_string(), plus);
        }
        tree.finish(plus)
    }

    #[test]
    fn neighbours_are_summed_first() {
        for (leaves, expected) in
            [(1, "0"), (2, "(01)"), (3, "((01)2)"), (4, "((01)(23))"), (5, "(((01)(23))4)"), (7, "(((01)(23))((45)6))")]
        {
            assert_eq!(text(0..leaves).unwrap(), expected);
        }
        assert_eq!(text(0..0), None);
    }

    /// For every power of two of ranks and parts, and every number of parts that there are.
    #[test]
    fn ranks_sum_what_one_process_sums() {
        let values: Vec<f32> = (0..64).map(|i| ((i * 37 + 11) as f32 * 0.73).sin() * 1000.0_f32.powi(i % 3)).collect();
        let alone = |count: usize| {
            let mut tree = Tree::default();
            values[..count].iter().for_each(|value| tree.add(*value, |a, b| a + b));
            tree.finish(|a, b| a + b).unwrap()
        };
        let mut orders = 0;
        for parts in [1, 2, 4, 8, 16, 32, 64] {
            for ranks in [1, 2, 4, 8, 16].into_iter().filter(|ranks| *ranks <= parts) {
                for count in 1..=parts {
                    let own = parts / ranks;
                    let mut sums: Vec<Vec<f32>> = Vec::new();
                    for part in values[..count].chunks(own) {
                        let mut tree = Tree::default();
                        part.iter().for_each(|value| tree.add(*value, |a, b| a + b));
                        sums.push(vec![tree.finish(|a, b| a + b).unwrap()]);
                    }
                    sum_in_tree(&mut sums);
                    assert_eq!(sums[0][0].to_bits(), alone(count).to_bits(), "{ranks} ranks, {count} of {parts}");
                    let sequential = values[..count].iter().copied().reduce(|a, b| a + b).unwrap();
                    orders += usize::from(sequential != sums[0][0]);
                }
            }
        }
        assert!(orders > 100, "the values show the order of a sum");
    }
}
