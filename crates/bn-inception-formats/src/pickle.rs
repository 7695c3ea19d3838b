//! A pickle machine that can build nothing but state dicts.
//!
//! Python's pickles are programs, and `pickle.load` runs whatever they name. This machine knows a fixed table of names
//! (`GLOBALS`), turns each into data, and refuses every other. Opcodes are those of Python's `pickletools`, protocols 0
//! to 4.
//!
//! Objects live in one arena and refer to each other by index, so neither cycles nor depth can exhaust the stack.

use crate::cursor::Cursor;
use crate::error::Problem;
use machine::Machine;
pub(crate) use object::{Id, Object, View};

mod build;
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
        while let Some(opcode) = machine.step(cursor)? {
            machine.execute(opcode, cursor)?;
        }
        let root = machine.pop()?;
        Ok(Self { objects: machine.objects, root })
    }

    pub(crate) fn get(&self, id: Id) -> &Object<'a> {
        self.objects.get(id as usize).unwrap_or(&Object::Nothing)
    }
}
