//! Names, calls and outside references of a pickle.

use super::globals::{self, Foreign};
use super::machine::{Machine, NOTHING};
use super::object::{Global, Id, Object, Storage, View};
use crate::error::Problem;
use crate::limits::MAX_RANK;

impl<'a> Machine<'a> {
    pub(super) fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        // The rest of the pickle tells what it is (a whole model, say), so the refusal waits for its end.
        let global = globals::meaning(module, name).unwrap_or_else(|| {
            Foreign::note(&mut self.foreign, module, name);
            Global::Inert
        });
        self.push(Object::Global(global))
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
        let global = match self.objects[callable as usize] {
            Object::Global(global) => global,
            // The result of an inert call.
            Object::Nothing => Global::Inert,
            _ => return Err(Problem::malformed("the pickle calls what is no function")),
        };
        if global == Global::Inert {
            self.stack.push(NOTHING);
            return Ok(());
        }
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
            Global::StorageType(_) | Global::Inert => Err(wrong()),
        }
    }

    /// Storage of a persistent id of PyTorch: `('storage', type, key, device, length[, view])`, where a legacy view is
    /// `(key, start, length)`. `None` for a class with its source, which only whole models have.
    pub(super) fn storage(&self, id: Id) -> Result<Option<Storage<'a>>, Problem> {
        let wrong = || Problem::malformed("the pickle refers to an outside object that is no storage");
        let list = self.sequence(id).ok_or_else(wrong)?;
        // Before PyTorch 1.6: `('module', class, file, source)`.
        if let Some(Object::Text("module")) = list.first().map(|kind| &self.objects[*kind as usize]) {
            return Ok(None);
        }
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
                Ok(Some(storage))
            }
            _ => Err(wrong()),
        }
    }
}
