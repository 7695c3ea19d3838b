//! What a file may ask for. Files come from strangers: nothing in them may cost more memory or time than their own
//! size explains.

/// Values of all tensors together, for each byte of the file. One-byte integers need 1; views that repeat their
/// elements (stride 0, shared storages) and compressed archives must not need more than this.
pub const MAX_VALUES_PER_BYTE: usize = 2;

/// Tensors in one file. The network has fewer than 500.
pub const MAX_TENSORS: usize = 16_384;

/// Dimensions of a tensor.
pub const MAX_RANK: usize = 8;

/// Values of a tensor that a file describes instead of storing (ONNX `ConstantOfShape`). The largest known
/// classifier, 21,841 classes of 1,024 channels, has 22 million.
pub const MAX_CONSTANT_VALUES: usize = 1 << 25;

/// Length of a name in bytes.
pub const MAX_NAME: usize = 1024;

/// Uncompressed bytes of an archive, for each byte of the file. PyTorch stores without compression; trained weights
/// compress to nine tenths.
pub const MAX_INFLATION: usize = 4;

/// Members of an archive.
pub const MAX_MEMBERS: usize = 65_536;

/// Objects of a pickle, for each two bytes of it, on top of a thousand.
pub const MAX_OBJECTS: usize = 1_000;

/// Depth of nested dictionaries in which a state dict is looked for.
pub const MAX_NESTING: usize = 4;

/// Nodes or layers of a graph. The network has fewer than 1,000.
pub const MAX_NODES: usize = 16_384;

/// Most memory that reading a file takes, for each byte of the file and besides [`ALLOCATION_SLACK`]. Ordinary
/// files take 1 to 3; the bound is reached by pickles that consist of nothing but empty objects. The fuzz command
/// enforces it.
pub const ALLOCATION_FACTOR: usize = 64;

/// Most memory, in bytes, that reading a file of no size takes.
pub const ALLOCATION_SLACK: usize = 2 << 20;
