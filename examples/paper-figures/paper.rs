//! The numbers of the paper's Figure 3.

/// A row of it.
pub struct Published {
    /// The recipe here.
    pub recipe: &'static str,
    /// The network in the paper.
    pub name: &'static str,
    /// Training steps to a top-1 of 72.2 %, the best of Inception.
    pub steps: Option<f64>,
    /// Best top-1.
    pub best: f64,
}

/// All of it, in the paper's order.
pub const PUBLISHED: [Published; 5] = [
    Published { recipe: "inception", name: "Inception", steps: Some(31.0e6), best: 0.722 },
    Published { recipe: "bn-baseline", name: "BN-Baseline", steps: Some(13.3e6), best: 0.727 },
    Published { recipe: "bn-x5", name: "BN-x5", steps: Some(2.1e6), best: 0.730 },
    Published { recipe: "bn-x30", name: "BN-x30", steps: Some(2.7e6), best: 0.748 },
    Published { recipe: "bn-x5-sigmoid", name: "BN-x5-Sigmoid", steps: None, best: 0.698 },
];

/// The recipe whose best top-1 the others have to reach.
pub const INCEPTION: &str = PUBLISHED[0].recipe;

/// A second mark, in case that Inception without batch normalisation hardly learns on little data.
pub const BASELINE: &str = PUBLISHED[1].recipe;
