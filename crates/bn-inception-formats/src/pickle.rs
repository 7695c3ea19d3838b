//! A pickle machine that can build nothing but state dicts.
//!
//! Python's pickles are programs, and `pickle.load` runs whatever they name. This machine knows a fixed table of names
//! (`GLOBALS`), turns each into data, and refuses every other. What checkpoints hold beside a state dict (numpy's
//! numbers, the arguments of a program, the state of an optimizer) becomes `None`. Opcodes are those of Python's
//! `pickletools`, protocols 0 to 5.
//!
//! Objects live in one arena and refer to each other by index, so neither cycles nor depth can exhaust the stack.

use crate::cursor::Cursor;
use crate::error::Problem;
use machine::Machine;
pub(crate) use object::{Id, Object, Storage, View};

mod build;
mod globals;
mod machine;
mod object;

/// The objects that a pickle builds.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    /// The object that the pickle describes.
    pub(crate) root: Id,
}

impl<'a> Pickle<'a> {
    /// Runs the pickle at `cursor`, and leaves `cursor` after its end.
    pub(crate) fn run(cursor: &mut Cursor<'a>) -> Result<Self, Problem> {
        let mut machine = Machine::new(cursor.left());
        let root = machine.run(cursor);
        // Whatever followed an unknown name, the name is what is wrong.
        match machine.foreign.take() {
            Some(foreign) => Err(foreign.problem()),
            None => Ok(Self { root: root?, objects: machine.objects }),
        }
    }

    pub(crate) fn get(&self, id: Id) -> &Object<'a> {
        self.objects.get(id as usize).unwrap_or(&Object::Nothing)
    }

    /// The storages that the pickle refers to, those of tensors of no interest included.
    pub(crate) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(&**storage),
            _ => None,
        })
    }
}
