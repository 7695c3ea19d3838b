//! The steps of a training plan.

use crate::conv::direct::DirectConv;
use crate::conv::weight_gradient::WeightGradient;
use crate::conv::winograd::WinogradConv;
use crate::conv::winograd_gradient::{WinogradGradient, WinogradGradientOutput};
use crate::plan::border::Border;
use crate::plan::context::Context;
use crate::plan::images::Images;
use crate::plan::output::Output;

use super::call::Buffers;
use super::filters::{Pack, Unpack};
use super::maps::{Copy, Pool};
use super::normalization::{Normalization, Pass};

/// The operation of a step.
pub(super) enum Op {
    Images(Images),
    Copy(Copy),
    Output(Output),
    Border(Border),
    Pack(Pack),
    Direct(DirectConv),
    Winograd(WinogradConv),
    Normalization(Normalization, Pass),
    Pool(Pool),
    WeightGradient(WeightGradient),
    WinogradGradient(WinogradGradient),
    WinogradGradientOutput(WinogradGradientOutput),
    Unpack(Unpack),
}

/// An operation with its name and cost for profiles.
pub(super) struct Step {
    pub(super) name: String,
    pub(super) macs: u64,
    pub(super) op: Op,
    /// Number of shares, which the threads take one after the other.
    pub(super) shares: usize,
}

impl Op {
    /// Computes the share of `c`.
    ///
    /// # Safety
    /// The safety contract of [`Context`] and of [`Buffers`].
    pub(super) unsafe fn run(&self, c: &Context<'_>, buffers: &Buffers<'_>) {
        // SAFETY: the same contract.
        unsafe {
            match self {
                Op::Images(op) => op.run(c),
                Op::Copy(op) => op.run(c, buffers),
                Op::Output(op) => op.run(c),
                Op::Border(op) => op.run(c),
                Op::Pack(op) => op.run(c, buffers),
                Op::Direct(op) => op.run(c),
                Op::Winograd(op) => op.run(c),
                Op::Normalization(op, pass) => op.run(pass, c, buffers),
                Op::Pool(op) => op.run(c),
                Op::WeightGradient(op) => op.run(c),
                Op::WinogradGradient(op) => op.run(c),
                Op::WinogradGradientOutput(op) => op.run(c),
                Op::Unpack(op) => op.run(c, buffers),
            }
        }
    }
}
