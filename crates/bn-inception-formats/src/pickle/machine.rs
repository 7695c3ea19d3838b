//! Opcodes, stack and memo.

use std::collections::BTreeMap;

use super::globals::Foreign;
use super::object::{Global, Id, Object};
use crate::cursor::Cursor;
use crate::error::Problem;
use crate::limits::{MAX_NAME, MAX_OBJECTS};

/// The one [`Object::Nothing`] of every machine.
pub(super) const NOTHING: Id = 0;

/// The state of a running pickle.
pub(super) struct Machine<'a> {
    pub(super) objects: Vec<Object<'a>>,
    /// Objects, and entries that were copied from one object to another.
    charged: usize,
    /// Maximum of `charged`, by the length of the pickle.
    limit: usize,
    pub(super) stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
    /// The names it may not use, if it used any.
    pub(super) foreign: Option<Foreign>,
}

impl<'a> Machine<'a> {
    /// A machine for a pickle of `length` bytes.
    pub(super) fn new(length: usize) -> Self {
        Self {
            objects: vec![Object::Nothing],
            charged: 0,
            limit: MAX_OBJECTS + length / 2,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
            foreign: None,
        }
    }

    /// Runs the pickle at `cursor` to its end, and returns the object that it describes.
    pub(super) fn run(&mut self, cursor: &mut Cursor<'a>) -> Result<Id, Problem> {
        while let Some(opcode) = self.step(cursor)? {
            self.execute(opcode, cursor)?;
        }
        self.pop()
    }

    /// The next opcode; `None` at the end of the pickle.
    fn step(&mut self, cursor: &mut Cursor<'a>) -> Result<Option<u8>, Problem> {
        const STOP: u8 = b'.';
        let opcode = cursor.u8("an opcode of the pickle")?;
        Ok((opcode != STOP).then_some(opcode))
    }

    fn execute(&mut self, opcode: u8, cursor: &mut Cursor<'a>) -> Result<(), Problem> {
        let number = "a number of the pickle";
        match opcode {
            0x80 => drop(cursor.u8("the pickle's protocol")?),
            0x95 => drop(cursor.u64("a frame of the pickle")?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.stack.push(self.peek()?),

            b'N' => self.stack.push(NOTHING),
            0x88 => self.integer(1)?,
            0x89 => self.integer(0)?,
            b'J' => {
                let value = cursor.i32(number)?;
                self.integer(value.into())?;
            }
            b'K' => {
                let value = cursor.u8(number)?;
                self.integer(value.into())?;
            }
            b'M' => {
                let value = cursor.u16(number)?;
                self.integer(value.into())?;
            }
            0x8a => {
                let length = cursor.u8(number)?;
                let bytes = cursor.take(number, length.into())?;
                self.long(bytes)?;
            }
            0x8b => {
                let length = cursor.u32(number)?;
                let bytes = cursor.take(number, length.into())?;
                self.long(bytes)?;
            }
            b'I' | b'L' => {
                let line = cursor.line(number)?.trim_ascii();
                let digits = line.strip_suffix(b"L").unwrap_or(line);
                let value = std::str::from_utf8(digits).ok();
                let value = value.and_then(|digits| digits.parse().ok());
                let wrong = || Problem::malformed(format!("not a number in the pickle: {line:?}"));
                self.integer(value.ok_or_else(wrong)?)?;
            }
            // Floating-point numbers are learning rates and the like; no tensor depends on them.
            b'G' => {
                cursor.u64(number)?;
                self.stack.push(NOTHING);
            }
            b'F' => {
                cursor.line(number)?;
                self.stack.push(NOTHING);
            }

            0x8c | b'U' | b'C' => {
                let length = cursor.u8("a string of the pickle")?;
                self.text(cursor, length.into())?;
            }
            b'X' | b'T' | b'B' => {
                let length = cursor.u32("a string of the pickle")?;
                self.text(cursor, length.into())?;
            }
            0x8d | 0x8e | 0x96 => {
                let length = cursor.u64("a string of the pickle")?;
                self.text(cursor, length)?;
            }
            b'V' | b'S' => {
                let line = cursor.line("a string of the pickle")?;
                self.push_text(line)?;
            }

            b')' | b']' | 0x8f => self.push(Object::Sequence(Vec::new()))?,
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Object::Sequence(items))?;
            }
            0x85..=0x87 => {
                let at = self.index_from_top(usize::from(opcode - 0x84))?;
                let items = self.stack.split_off(at);
                self.push(Object::Sequence(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b'}' => self.push(Object::Dict(Vec::new()))?,
            b'd' => {
                let pairs = pairs(&self.pop_to_mark()?)?;
                self.push(Object::Dict(pairs))?;
            }
            b's' => {
                let at = self.index_from_top(2)?;
                let items = self.stack.split_off(at);
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }

            b'p' => {
                let line = cursor.line("a memo index")?;
                self.memoize(memo_index(line)?)?;
            }
            b'q' => {
                let index = cursor.u8("a memo index")?;
                self.memoize(index.into())?;
            }
            b'r' => {
                let index = cursor.u32("a memo index")?;
                self.memoize(index)?;
            }
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'g' => {
                let line = cursor.line("a memo index")?;
                self.recall(memo_index(line)?)?;
            }
            b'h' => {
                let index = cursor.u8("a memo index")?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = cursor.u32("a memo index")?;
                self.recall(index)?;
            }

            b'c' => {
                let module = cursor.line("a name of the pickle")?;
                let name = cursor.line("a name of the pickle")?;
                let module = String::from_utf8_lossy(&module[..module.len().min(MAX_NAME)]);
                let name = String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]);
                self.global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Object::Text(module), Object::Text(name)) =
                    (&self.objects[module as usize], &self.objects[name as usize])
                else {
                    return Err(Problem::malformed("the pickle names an object without text"));
                };
                self.global(module, name)?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.reduce(callable, arguments)?;
            }
            // The same with keyword arguments.
            0x92 => {
                self.pop()?;
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.reduce(callable, arguments)?;
            }
            // The attributes of an `OrderedDict`, such as `_metadata`.
            b'b' => {
                self.pop()?;
                self.peek()?;
            }
            b'Q' => {
                let id = self.pop()?;
                match self.storage(id)? {
                    Some(storage) => self.push(Object::Storage(Box::new(storage)))?,
                    None => self.push(Object::Global(Global::Inert))?,
                }
            }
            other => {
                let reason = format!("opcode {other:#04x} of the pickle is not needed by state dicts");
                return Err(Problem::malformed(reason));
            }
        }
        Ok(())
    }

    pub(super) fn push(&mut self, object: Object<'a>) -> Result<(), Problem> {
        self.charge(1)?;
        self.stack.push(self.objects.len() as Id);
        self.objects.push(object);
        Ok(())
    }

    pub(super) fn charge(&mut self, count: usize) -> Result<(), Problem> {
        self.charged += count;
        Problem::limit("number of objects in the pickle", self.charged, self.limit)
    }

    fn integer(&mut self, value: i64) -> Result<(), Problem> {
        self.push(Object::Integer(value))
    }

    /// An integer in two's complement, little-endian, of any length; one beyond 64 bits is no size or offset.
    fn long(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if bytes.len() > 8 {
            self.stack.push(NOTHING);
            return Ok(());
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut word = [if negative { 0xff } else { 0 }; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        self.integer(i64::from_le_bytes(word))
    }

    fn text(&mut self, cursor: &mut Cursor<'a>, length: u64) -> Result<(), Problem> {
        let bytes = cursor.take("a string of the pickle", length)?;
        self.push_text(bytes)
    }

    /// Bytes that are not UTF-8 are of no interest.
    fn push_text(&mut self, bytes: &'a [u8]) -> Result<(), Problem> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Object::Text(text)),
            Err(_) => {
                self.stack.push(NOTHING);
                Ok(())
            }
        }
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.peek()?;
        self.stack.pop();
        Ok(top)
    }

    fn peek(&self) -> Result<Id, Problem> {
        let at = self.index_from_top(1)?;
        Ok(self.stack[at])
    }

    /// Position of the `count`-th object from the top of the stack, above the last mark.
    fn index_from_top(&self, count: usize) -> Result<usize, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let at = self.stack.len().checked_sub(count);
        at.filter(|at| *at >= floor).ok_or_else(|| Problem::malformed("the pickle takes an object that it never made"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let unmarked = || Problem::malformed("the pickle goes back to a mark that it never set");
        let mark = self.marks.pop().ok_or_else(unmarked)?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), Problem> {
        let list = self.peek()?;
        match &mut self.objects[list as usize] {
            Object::Sequence(list) => list.extend(items),
            // Made by an inert call.
            Object::Nothing => {}
            _ => return Err(Problem::malformed("the pickle appends to what is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Problem> {
        let dict = self.peek()?;
        match &mut self.objects[dict as usize] {
            Object::Dict(dict) => dict.extend(pairs(items)?),
            Object::Nothing => {}
            _ => return Err(Problem::malformed("the pickle sets an item of what is no dict")),
        }
        Ok(())
    }

    fn memoize(&mut self, index: u32) -> Result<(), Problem> {
        let top = self.peek()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), Problem> {
        let unknown = || Problem::malformed("the pickle recalls an object that it never noted");
        let id = self.memo.get(&index).copied().ok_or_else(unknown)?;
        self.stack.push(id);
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Problem> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(Problem::malformed("the pickle leaves a key of a dict without value")),
    }
}

fn memo_index(line: &[u8]) -> Result<u32, Problem> {
    let index = std::str::from_utf8(line).ok();
    let index = index.and_then(|digits| digits.trim().parse().ok());
    index.ok_or_else(|| Problem::malformed("a memo index of the pickle is no number"))
}
