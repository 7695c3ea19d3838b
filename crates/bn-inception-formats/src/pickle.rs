//! A pickle machine that can build nothing but state dicts.
//!
//! Python's pickles are programs, and `pickle.load` runs whatever they name. This machine knows a fixed table of
//! names ([`GLOBALS`]), turns each into data, and refuses every other. Opcodes are those of Python's
//! `pickletools`, protocols 0 to 4.
//!
//! Objects live in one arena and refer to each other by index, so neither cycles nor depth can exhaust the stack.

mod build;
mod machine;

use crate::array::Element;
use crate::cursor::Cursor;
use crate::error::Problem;
use machine::Machine;

/// Index of an object in [`Pickle`].
pub(crate) type Id = u32;

/// A Python object, as far as state dicts have them.
#[derive(Debug, Clone)]
pub(crate) enum Object<'a> {
    /// `None`, or something that is of no interest.
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
    /// Where it begins within the block called `key`, in elements (legacy views only).
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

/// What a name in a pickle may stand for.
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

/// Every name that is accepted.
const GLOBALS: [(&str, &str, Global); 18] = [
    ("collections", "OrderedDict", Global::OrderedDict),
    ("collections", "defaultdict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    (
        "torch._utils",
        "_rebuild_parameter",
        Global::RebuildParameter,
    ),
    ("torch.nn.parameter", "Parameter", Global::RebuildParameter),
    ("torch", "Size", Global::Size),
    ("torch", "device", Global::Inert),
    ("torch", "FloatStorage", Global::StorageType(Element::F32)),
    ("torch", "DoubleStorage", Global::StorageType(Element::F64)),
    ("torch", "HalfStorage", Global::StorageType(Element::F16)),
    (
        "torch",
        "BFloat16Storage",
        Global::StorageType(Element::BF16),
    ),
    ("torch", "LongStorage", Global::StorageType(Element::I64)),
    ("torch", "IntStorage", Global::StorageType(Element::I32)),
    ("torch", "ShortStorage", Global::StorageType(Element::I16)),
    ("torch", "CharStorage", Global::StorageType(Element::I8)),
    ("torch", "ByteStorage", Global::StorageType(Element::U8)),
    ("torch", "BoolStorage", Global::StorageType(Element::Bool)),
];

/// The objects that one pickle builds.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    /// The object the pickle stands for.
    pub(crate) root: Id,
}

impl<'a> Pickle<'a> {
    /// Runs the pickle at `cursor`, which is left behind its end.
    pub(crate) fn run(cursor: &mut Cursor<'a>) -> Result<Self, Problem> {
        let mut machine = Machine::new(cursor.left());
        while let Some(opcode) = machine.step(cursor)? {
            machine.execute(opcode, cursor)?;
        }
        let root = machine.pop()?;
        Ok(Self {
            objects: machine.objects,
            root,
        })
    }

    pub(crate) fn get(&self, id: Id) -> &Object<'a> {
        self.objects.get(id as usize).unwrap_or(&Object::Nothing)
    }
}
