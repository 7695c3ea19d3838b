//! Names, calls and outside references of a pickle.

use super::machine::{Machine, NOTHING};
use super::object::{Global, Id, Object, Storage, View};
use crate::array::Element;
use crate::error::{Problem, shown};
use crate::limits::MAX_RANK;

/// The names that a pickle may use.
const GLOBALS: [(&str, &str, Global); 18] = [
    ("collections", "OrderedDict", Global::OrderedDict),
    ("collections", "defaultdict", Global::OrderedDict),
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch.nn.parameter", "Parameter", Global::RebuildParameter),
    ("torch", "Size", Global::Size),
    ("torch", "device", Global::Inert),
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
];

impl<'a> Machine<'a> {
    pub(super) fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        let mut globals = GLOBALS.iter();
        match globals.find(|(m, n, _)| (*m, *n) == (module, name)) {
            Some((_, _, global)) => self.push(Object::Global(*global)),
            None => Err(Problem::ForbiddenGlobal { name: shown(&format!("{module}.{name}")) }),
        }
    }

    fn sequence(&self, id: Id) -> Option<&[Id]> {
        match &self.objects[id as usize] {
            Object::Sequence(items) => Some(items),
            _ => None,
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        match self.objects[id as usize] {
            Object::Integer(value) => usize::try_from(value).ok(),
            _ => None,
        }
    }

    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let sizes = self.sequence(id)?;
        let accepted = sizes.len() <= MAX_RANK;
        accepted.then(|| sizes.iter().map(|id| self.size(*id)).collect())?
    }

    /// Pushes the value of `callable(*arguments)`.
    pub(super) fn reduce(&mut self, callable: Id, arguments: Id) -> Result<(), Problem> {
        let Object::Global(global) = self.objects[callable as usize] else {
            return Err(Problem::malformed("the pickle calls what is no function"));
        };
        let wrong = || Problem::malformed(format!("the pickle gives wrong arguments to {global:?}"));
        let list = self.sequence(arguments).ok_or_else(wrong)?;
        match global {
            Global::OrderedDict => {
                // Python 2 wrote the items as a list of pairs.
                let items = list.first().and_then(|id| self.sequence(*id));
                let items = items.unwrap_or_default().iter();
                let pairs = items.filter_map(|pair| match self.sequence(*pair) {
                    Some(&[key, value]) => Some((key, value)),
                    _ => None,
                });
                let pairs: Vec<_> = pairs.collect();
                self.charge(pairs.len())?;
                self.push(Object::Dict(pairs))
            }
            Global::RebuildTensor => {
                let &[storage, offset, shape, strides, ..] = list else {
                    return Err(wrong());
                };
                let Object::Storage(storage) = &self.objects[storage as usize] else {
                    return Err(wrong());
                };
                let view = View {
                    storage: **storage,
                    offset: self.size(offset).ok_or_else(wrong)?,
                    shape: self.sizes(shape).ok_or_else(wrong)?,
                    strides: self.sizes(strides).ok_or_else(wrong)?,
                };
                self.push(Object::Tensor(Box::new(view)))
            }
            // The tensor, or the tuple, itself.
            Global::RebuildParameter | Global::Size => {
                self.stack.push(*list.first().ok_or_else(wrong)?);
                Ok(())
            }
            Global::Inert => {
                self.stack.push(NOTHING);
                Ok(())
            }
            Global::StorageType(_) => Err(wrong()),
        }
    }

    /// Storage of a persistent id of PyTorch: `('storage', type, key, device, length[, view])`, where a legacy view is
    /// `(key, start, length)`.
    pub(super) fn storage(&self, id: Id) -> Result<Storage<'a>, Problem> {
        let wrong = || Problem::malformed("the pickle refers to an outside object that is no storage");
        let list = self.sequence(id).ok_or_else(wrong)?;
        let &[kind, element, key, _, length, ref view @ ..] = list else {
            return Err(wrong());
        };
        let object = |id: Id| &self.objects[id as usize];
        match (object(kind), object(element), object(key)) {
            (Object::Text("storage"), Object::Global(Global::StorageType(element)), Object::Text(key)) => {
                let mut storage =
                    Storage { key, element: *element, length: self.size(length).ok_or_else(wrong)?, start: 0 };
                if let Some(&[_, start, length]) = view.first().and_then(|id| self.sequence(*id)) {
                    storage.start = self.size(start).ok_or_else(wrong)?;
                    storage.length = self.size(length).ok_or_else(wrong)?;
                }
                Ok(storage)
            }
            (Object::Text("module"), ..) => {
                Err(Problem::malformed("a whole pickled module, not a state dict: save `model.state_dict()`"))
            }
            _ => Err(wrong()),
        }
    }
}
