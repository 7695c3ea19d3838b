//! Validated extents, and the error for extents that do not fit.

use thiserror::Error;

/// An impossible shape, or a slice whose length does not match its shape.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// An extent that must be at least one is zero.
    #[error("{what} is 0, expected at least 1")]
    Zero {
        /// The name of the extent.
        what: &'static str,
    },
    /// The number of elements of a tensor, or of operations on it, exceeds the address space.
    #[error("the size of {what} overflows")]
    Overflow {
        /// The name of the tensor.
        what: &'static str,
    },
    /// The kernel does not fit into the padded input.
    #[error("kernel {axis} {kernel} is larger than the padded input {axis} {padded}")]
    KernelTooLarge {
        /// `"height"` or `"width"`.
        axis: &'static str,
        /// Kernel extent along that axis.
        kernel: usize,
        /// Input extent with both paddings.
        padded: usize,
    },
    /// A channel count is not a multiple of the number of groups.
    #[error("{channels} {what} do not divide into {groups} groups")]
    Groups {
        /// `"input channels"` or `"output channels"`.
        what: &'static str,
        /// The channel count.
        channels: usize,
        /// The group count.
        groups: usize,
    },
    /// A pooling window can lie entirely in the padding.
    #[error("padding {padding} along {axis} is not smaller than the window {kernel}")]
    PaddingTooLarge {
        /// `"height"` or `"width"`.
        axis: &'static str,
        /// The larger padding along that axis.
        padding: usize,
        /// Window extent along that axis.
        kernel: usize,
    },
    /// A slice has the wrong length.
    #[error("buffer {buffer} holds {found} elements, expected {expected}")]
    Length {
        /// The argument's name.
        buffer: &'static str,
        /// Number of elements required by the shape.
        expected: usize,
        /// Number of elements of the slice.
        found: usize,
    },
    /// A pooling index does not point into its input plane.
    #[error("index {index} at position {position} points outside an input plane of {plane} pixels")]
    Index {
        /// Position in the index buffer.
        position: usize,
        /// The index at that position.
        index: u32,
        /// Number of pixels of an input plane.
        plane: usize,
    },
}

/// Checks one slice length.
pub(crate) fn check(buffer: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
    if expected == found { Ok(()) } else { Err(ShapeError::Length { buffer, expected, found }) }
}

/// Product of `extents`, unless that many `f32` exceed the address space.
pub(crate) fn elements(what: &'static str, extents: &[usize]) -> Result<usize, ShapeError> {
    extents
        .iter()
        .try_fold(1usize, |n, &e| n.checked_mul(e))
        .filter(|&n| n <= isize::MAX as usize / 4)
        .ok_or(ShapeError::Overflow { what })
}

/// Rejects the first zero among named extents.
pub(crate) fn positive(extents: &[(&'static str, usize)]) -> Result<(), ShapeError> {
    match extents.iter().find(|(_, e)| *e == 0) {
        Some(&(what, _)) => Err(ShapeError::Zero { what }),
        None => Ok(()),
    }
}

/// Input extent with both paddings, checked against the kernel.
pub(crate) fn padded(
    axis: &'static str,
    size: usize,
    before: usize,
    after: usize,
    kernel: usize,
) -> Result<usize, ShapeError> {
    let padded = size
        .checked_add(before)
        .and_then(|s| s.checked_add(after))
        .filter(|&s| s <= isize::MAX as usize / 4)
        .ok_or(ShapeError::Overflow { what: "padded input" })?;
    if kernel > padded { Err(ShapeError::KernelTooLarge { axis, kernel, padded }) } else { Ok(padded) }
}

/// Extents of a two-dimensional convolution over NCHW tensors.
///
/// Input `[batch, in_channels, height, width]`, weight
/// `[out_channels, in_channels / groups, kernel_h, kernel_w]`, output
/// `[batch, out_channels, out_height, out_width]` with
/// `out = (size + padding_before + padding_after - kernel) / stride + 1`, rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dShape {
    pub(crate) batch: usize,
    pub(crate) in_channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) out_channels: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 4],
    pub(crate) groups: usize,
    out: [usize; 2],
    macs: u64,
}

impl Conv2dShape {
    /// Shape for an `input` of `[batch, channels, height, width]` and a `padding` of `[top, left, bottom, right]`.
    ///
    /// # Errors
    /// A zero extent, a kernel larger than the padded input, channels not divisible by the groups, or a tensor too
    /// large to address.
    pub fn new(
        input: [usize; 4],
        out_channels: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 4],
        groups: usize,
    ) -> Result<Self, ShapeError> {
        let [batch, in_channels, height, width] = input;
        positive(&[
            ("batch", batch),
            ("in_channels", in_channels),
            ("height", height),
            ("width", width),
            ("out_channels", out_channels),
            ("kernel height", kernel[0]),
            ("kernel width", kernel[1]),
            ("stride height", stride[0]),
            ("stride width", stride[1]),
            ("groups", groups),
        ])?;
        for (what, channels) in [("input channels", in_channels), ("output channels", out_channels)] {
            if channels % groups != 0 {
                return Err(ShapeError::Groups { what, channels, groups });
            }
        }
        let [top, left, bottom, right] = padding;
        let out = [
            (padded("height", height, top, bottom, kernel[0])? - kernel[0]) / stride[0] + 1,
            (padded("width", width, left, right, kernel[1])? - kernel[1]) / stride[1] + 1,
        ];
        elements("input", &input)?;
        elements("padded input", &[height + top + bottom, width + left + right])?;
        let per_output =
            elements("weight", &[out_channels, in_channels / groups, kernel[0], kernel[1]])? / out_channels;
        let outputs = elements("output", &[batch, out_channels, out[0], out[1]])?;
        let macs =
            (outputs as u64).checked_mul(per_output as u64).ok_or(ShapeError::Overflow { what: "operation count" })?;
        Ok(Self { batch, in_channels, height, width, out_channels, kernel, stride, padding, groups, out, macs })
    }

    /// Height of the output.
    pub fn out_height(&self) -> usize {
        self.out[0]
    }

    /// Width of the output.
    pub fn out_width(&self) -> usize {
        self.out[1]
    }

    /// Number of multiply-accumulate operations of one pass; padding counts as data.
    pub fn macs(&self) -> u64 {
        self.macs
    }

    /// Number of elements of the input and of its gradient.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_channels * self.height * self.width
    }

    /// Number of elements of the weight and of its gradient.
    pub fn weight_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// Number of elements of the output and of its gradient.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.out[0] * self.out[1]
    }
}

/// Extents of a batch normalisation over a `[batch, channels, spatial]` tensor (`spatial` = height · width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchNormShape {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) spatial: usize,
}

impl BatchNormShape {
    /// Shape of a `[batch, channels, spatial]` tensor.
    ///
    /// # Errors
    /// A zero extent, or a tensor too large to address.
    pub fn new(batch: usize, channels: usize, spatial: usize) -> Result<Self, ShapeError> {
        positive(&[("batch", batch), ("channels", channels), ("spatial", spatial)])?;
        elements("input", &[batch, channels, spatial])?;
        Ok(Self { batch, channels, spatial })
    }

    /// Number of elements of the tensor.
    pub fn tensor_len(&self) -> usize {
        self.batch * self.channels * self.spatial
    }

    /// Number of values in the statistics of a channel.
    pub fn values_per_channel(&self) -> usize {
        self.batch * self.spatial
    }
}
