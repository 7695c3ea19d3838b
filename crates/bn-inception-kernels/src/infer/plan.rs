//! The plan for a network and the extents of its input: a list of steps over one arena.

use super::build::{Builder, PlanConfig};
use super::prefix::Prefix;
use super::step::{Op, Pooling, Step};
use crate::plan::error::NetworkError;
use crate::plan::layout::{BLOCK, View};
use crate::plan::memory::{Lifetime, assign};

/// The steps of each phase and the extents of their memory.
pub(crate) struct Plan {
    pub(crate) phases: Vec<Vec<Step>>,
    /// Offset of each tensor in the arena.
    pub(crate) offsets: Vec<usize>,
    /// Number of floats of the arena.
    pub(crate) arena: usize,
    /// Number of floats of a thread's scratch memory.
    pub(crate) scratch: usize,
    /// Number of floats of the images.
    pub(crate) input: usize,
    /// Dimensions of the output: `[N, classes]`, `[N, C]` or `[N, C, H, W]`.
    pub(crate) output: Vec<usize>,
}

/// Maximum number of images of a plan: enough to reuse filters in the late stages, few enough for the cache.
pub(crate) const MAX_IMAGES: usize = 16;

impl Plan {
    /// Plan for the layers of a valid network up to the end of a call.
    ///
    /// # Errors
    /// [`NetworkError::TooSmall`] or [`NetworkError::TooLarge`].
    pub(crate) fn new(prefix: &Prefix<'_>, size: [usize; 3], config: &PlanConfig<'_>) -> Result<Self, NetworkError> {
        let [batch, height, width] = size;
        let too_large = || NetworkError::TooLarge { batch, height, width };
        // No tensor of the network has a thousand times as many floats as the images, so no product below overflows.
        let input = [batch, 3, height, width]
            .iter()
            .try_fold(1usize, |n, &e| n.checked_mul(e))
            .filter(|&n| n < isize::MAX as usize >> 20)
            .ok_or_else(too_large)?;
        let output = prefix.output_shape(size)?;
        let mut builder = Builder::new(config, [height, width]);
        builder.network(prefix, batch)?;
        let Builder { phases, tensors, scratch, .. } = builder;
        let (offsets, arena) = assign(&tensors);
        let plan = Self { phases, offsets, arena, scratch, input, output };
        plan.check(&tensors, config.kernels.oc);
        Ok(plan)
    }

    /// Panics unless every step stays inside its tensors, on which all `unsafe` code of the steps relies. A failure is
    /// a bug of the builder.
    fn check(&self, tensors: &[Lifetime], oc: usize) {
        let output: usize = self.output.iter().product();
        let len = |tensor: usize| tensors[tensor].len;
        for Step { name, op, .. } in self.phases.iter().flatten() {
            let inside = |view: &View, extra: usize| {
                assert!(view.offset + extra <= len(view.tensor), "{name} leaves its tensor");
            };
            match op {
                Op::Input(op) => op.check(self.input, len(op.to.tensor)),
                Op::Direct(op) => op.check(oc, len),
                Op::Winograd(op) => op.check(oc, self.scratch, len),
                Op::Pooling(op) => {
                    let Pooling { from, to, images, blocks, height, width, stride, .. } = op;
                    let last = (blocks - 1) * from.plane + ((height - 1) * stride + 2) * from.row;
                    let columns = (width - 1) * stride + 3;
                    inside(from, (images - 1) * from.image + last + columns * BLOCK);
                    let last = (blocks - 1) * to.plane + (height - 1) * to.row;
                    inside(to, (images - 1) * to.image + last + width * BLOCK);
                    if let Some(average) = &op.average {
                        assert!(average.scale.len() == height * width);
                        assert!(average.epilogue.bias.len() >= blocks * BLOCK);
                        assert!(average.epilogue.floor.len() >= blocks * BLOCK && *stride == 1);
                    }
                }
                Op::Mean { from, to, images, blocks, height, width } => {
                    let last = (blocks - 1) * from.plane + (height - 1) * from.row;
                    inside(from, (images - 1) * from.image + last + width * BLOCK);
                    inside(to, (images - 1) * to.image + (blocks - 1) * to.plane + BLOCK);
                }
                Op::Logits { from, images, classes } => {
                    let last = (classes - 1) / BLOCK * from.plane;
                    inside(from, (images - 1) * from.image + last + BLOCK);
                    assert!(images * classes == output);
                }
                Op::Output(op) => op.check(len(op.tensor()), output),
                Op::Border(op) => op.check(len(op.tensor())),
            }
        }
    }
}
