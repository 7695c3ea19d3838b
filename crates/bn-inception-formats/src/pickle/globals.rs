//! The names that a pickle may use.

use super::object::Global;
use crate::array::Element;
use crate::error::{Problem, shown};

/// Names with a meaning.
const GLOBALS: [(&str, &str, Global); 19] = [
    ("collections", "OrderedDict", Global::OrderedDict),
    ("collections", "defaultdict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch._utils", "_rebuild_parameter_with_state", Global::RebuildParameter),
    ("torch.nn.parameter", "Parameter", Global::RebuildParameter),
    ("torch", "Size", Global::Size),
    ("torch", "FloatStorage", Global::StorageType(Element::F32)),
    ("torch", "DoubleStorage", Global::StorageType(Element::F64)),
    ("torch", "HalfStorage", Global::StorageType(Element::F16)),
    ("torch", "BFloat16Storage", Global::StorageType(Element::BF16)),
    ("torch", "LongStorage", Global::StorageType(Element::I64)),
    ("torch", "IntStorage", Global::StorageType(Element::I32)),
    ("torch", "ShortStorage", Global::StorageType(Element::I16)),
    ("torch", "CharStorage", Global::StorageType(Element::I8)),
    ("torch", "ByteStorage", Global::StorageType(Element::U8)),
    ("torch", "BoolStorage", Global::StorageType(Element::Bool)),
    ("torch", "device", Global::Inert),
];

/// Modules and their names that stand beside state dicts in checkpoints and hold no weights: numpy's numbers and
/// arrays (as `numpy.core` before version 2), the arguments of a program, the milestones of a learning rate.
const INERT: [(&str, &[&str]); 15] = [
    ("argparse", &["Namespace"]),
    ("collections", &["Counter", "deque"]),
    ("datetime", &["date", "datetime", "timedelta"]),
    ("pathlib", &["Path", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"]),
    ("pathlib._local", &["Path", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"]),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy.core.multiarray", &["_reconstruct", "scalar"]),
    ("numpy._core.multiarray", &["_reconstruct", "scalar"]),
    ("numpy.core.numeric", &["_frombuffer"]),
    ("numpy._core.numeric", &["_frombuffer"]),
    ("_codecs", &["encode"]),
    ("builtins", &["bytearray", "complex", "frozenset", "object", "set", "slice"]),
    ("__builtin__", &["bytearray", "complex", "frozenset", "object", "set", "slice"]),
    ("copyreg", &["_reconstructor"]),
    ("copy_reg", &["_reconstructor"]),
];

/// Element types, which are objects of their own: `torch.float32` and the like.
const DTYPES: [&str; 12] = [
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "float", "double",
];

/// Meaning of `module.name`; `None` if a pickle may not use it.
pub(super) fn meaning(module: &str, name: &str) -> Option<Global> {
    let known = GLOBALS.iter().find(|(m, n, _)| (*m, *n) == (module, name));
    if let Some((.., global)) = known {
        return Some(*global);
    }
    let inert = INERT.iter().any(|(m, names)| *m == module && names.contains(&name));
    let dtype = module == "torch" && DTYPES.contains(&name);
    (inert || dtype).then_some(Global::Inert)
}

/// Unknown names of a pickle.
#[derive(Debug)]
pub(super) struct Foreign {
    /// The first.
    name: String,
    /// True if one of them is a layer of PyTorch's, and the pickle therefore a whole model.
    module: bool,
}

impl Foreign {
    /// `module.name` in addition to those in `foreign`.
    pub(super) fn note(foreign: &mut Option<Self>, module: &str, name: &str) {
        let layer = module.starts_with("torch.nn.modules.");
        let foreign = foreign.get_or_insert_with(|| Self { name: shown(&format!("{module}.{name}")), module: false });
        foreign.module |= layer;
    }

    /// The reason why the pickle is refused.
    pub(super) fn problem(self) -> Problem {
        let Self { name, module } = self;
        if module { Problem::PickledModule { class: name } } else { Problem::ForbiddenGlobal { name } }
    }
}
