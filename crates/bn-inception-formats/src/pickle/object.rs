//! Objects that a pickle may build.

use crate::array::Element;

/// Index of an object in the arena.
pub(crate) type Id = u32;

/// A Python object, as far as state dicts have them.
#[derive(Debug, Clone)]
pub(crate) enum Object<'a> {
    /// `None`, or anything that is of no interest.
    Nothing,
    Integer(i64),
    Text(&'a str),
    /// A tuple, list or set.
    Sequence(Vec<Id>),
    /// A dict or `OrderedDict`.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Box<Storage<'a>>),
    Tensor(Box<View<'a>>),
}

/// A block of numbers outside the pickle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) element: Element,
    /// Number of elements.
    pub(crate) length: usize,
    /// Offset within the block called `key`, in elements (legacy views only).
    pub(crate) start: usize,
}

/// A tensor: a part of a storage.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    pub(crate) storage: Storage<'a>,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// Meaning of a name that a pickle may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    StorageType(Element),
    /// Carries no weights; what is built from it is `None`.
    Inert,
}
