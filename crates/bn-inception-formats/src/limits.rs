//! Limits on the content of files. Files come from strangers: nothing in them may cost more memory or time than their
//! own size explains.

/// Maximum number of values of all tensors together, per byte of the file. One-byte integers need 1; views that repeat
/// their elements (stride 0, shared storages) and compressed archives must not need more than this.
pub const MAX_VALUES_PER_BYTE: usize = 2;

/// Maximum number of tensors in a file. The network has fewer than 500.
pub const MAX_TENSORS: usize = 16_384;

/// Maximum number of dimensions of a tensor.
pub const MAX_RANK: usize = 8;

/// Maximum number of values of the tensors that a file describes instead of storing (ONNX `ConstantOfShape`). The
/// largest known classifier, 21,841 classes of 1,024 channels, has 22 million.
pub const MAX_CONSTANT_VALUES: usize = 1 << 25;

/// Maximum length of a name in bytes.
pub const MAX_NAME: usize = 1024;

/// Maximum number of uncompressed bytes of an archive, per byte of the file. PyTorch stores without compression;
/// trained weights compress to nine tenths.
pub const MAX_INFLATION: usize = 4;

/// Maximum number of members of an archive.
pub const MAX_MEMBERS: usize = 65_536;

/// Maximum number of objects of a pickle, on top of one for every two bytes of it.
pub const MAX_OBJECTS: usize = 1_000;

/// Maximum depth of nested dictionaries in which a state dict is searched for.
pub const MAX_NESTING: usize = 4;

/// Maximum number of nodes or layers of a graph. The network has fewer than 1,000.
pub const MAX_NODES: usize = 16_384;

/// Maximum memory in bytes that reading a file takes, per byte of the file and besides [`ALLOCATION_SLACK`]. Ordinary
/// files take 1 to 3; pickles that consist of nothing but empty objects reach the bound. The fuzz tests enforce it.
pub const ALLOCATION_FACTOR: usize = 64;

/// Memory in bytes that reading takes at most besides [`ALLOCATION_FACTOR`]'s.
pub const ALLOCATION_SLACK: usize = 2 << 20;
