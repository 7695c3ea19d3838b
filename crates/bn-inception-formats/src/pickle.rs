//! A pickle machine that can build nothing but state dicts.
//!
//! Python's pickles are programs, and `pickle.load` runs whatever they name. This machine knows a fixed table of
//! names ([`GLOBALS`]), turns each into data, and refuses every other. Opcodes are those of Python's
//! `pickletools`, protocols 0 to 4.
//!
//! Objects live in one arena and refer to each other by index, so neither cycles nor depth can exhaust the stack.

use std::collections::BTreeMap;

use crate::array::Element;
use crate::cursor::Cursor;
use crate::error::{Problem, shown};
use crate::limits::{MAX_NAME, MAX_OBJECTS, MAX_RANK};

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
        let mut machine = Machine {
            objects: vec![Object::Nothing],
            charged: 0,
            limit: MAX_OBJECTS + cursor.left() / 2,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
        };
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

/// [`Object::Nothing`], which every machine has once.
const NOTHING: Id = 0;

struct Machine<'a> {
    objects: Vec<Object<'a>>,
    /// Objects, and entries that were copied from one object to another.
    charged: usize,
    /// The most that `charged` may be, for the length of the pickle.
    limit: usize,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Machine<'a> {
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
            // Numbers with a point are learning rates and the like: nothing of a tensor depends on them.
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
            0x8d | 0x8e => {
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
                match (&self.objects[module as usize], &self.objects[name as usize]) {
                    (Object::Text(module), Object::Text(name)) => self.global(module, name)?,
                    _ => {
                        return Err(Problem::malformed(
                            "the pickle names an object without text",
                        ));
                    }
                }
            }
            b'R' | 0x81 => {
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
                let storage = self.storage(id)?;
                self.push(Object::Storage(Box::new(storage)))?;
            }
            other => {
                let reason =
                    format!("opcode {other:#04x} of the pickle is not needed by state dicts");
                return Err(Problem::malformed(reason));
            }
        }
        Ok(())
    }

    fn push(&mut self, object: Object<'a>) -> Result<(), Problem> {
        self.charge(1)?;
        self.stack.push(self.objects.len() as Id);
        self.objects.push(object);
        Ok(())
    }

    fn charge(&mut self, count: usize) -> Result<(), Problem> {
        self.charged += count;
        Problem::limit("number of objects in the pickle", self.charged, self.limit)
    }

    fn integer(&mut self, value: i64) -> Result<(), Problem> {
        self.push(Object::Integer(value))
    }

    /// Two's complement, little-endian, of any length; what does not fit 64 bits is no size or offset.
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

    /// Bytes that are no text are of no interest.
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

    /// Position on the stack of the `count`-th object from the top, above the last mark.
    fn index_from_top(&self, count: usize) -> Result<usize, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let at = self.stack.len().checked_sub(count);
        at.filter(|at| *at >= floor)
            .ok_or_else(|| Problem::malformed("the pickle takes an object that it never made"))
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
            _ => return Err(Problem::malformed("the pickle appends to what is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Problem> {
        let dict = self.peek()?;
        match &mut self.objects[dict as usize] {
            Object::Dict(dict) => dict.extend(pairs(items)?),
            _ => {
                return Err(Problem::malformed(
                    "the pickle sets an item of what is no dict",
                ));
            }
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

    fn global(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        let mut globals = GLOBALS.iter();
        match globals.find(|(m, n, _)| (*m, *n) == (module, name)) {
            Some((_, _, global)) => self.push(Object::Global(*global)),
            None => Err(Problem::ForbiddenGlobal {
                name: shown(&format!("{module}.{name}")),
            }),
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

    /// What `callable(*arguments)` stands for.
    fn reduce(&mut self, callable: Id, arguments: Id) -> Result<(), Problem> {
        let Object::Global(global) = self.objects[callable as usize] else {
            return Err(Problem::malformed("the pickle calls what is no function"));
        };
        let wrong =
            || Problem::malformed(format!("the pickle gives wrong arguments to {global:?}"));
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
            // The tensor itself.
            Global::RebuildParameter => {
                self.stack.push(*list.first().ok_or_else(wrong)?);
                Ok(())
            }
            // The tuple itself.
            Global::Size => {
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

    /// PyTorch's persistent ids: `('storage', type, key, device, length[, view])`, where a legacy view is
    /// `(key, start, length)`.
    fn storage(&self, id: Id) -> Result<Storage<'a>, Problem> {
        let wrong =
            || Problem::malformed("the pickle refers to an outside object that is no storage");
        let list = self.sequence(id).ok_or_else(wrong)?;
        let &[kind, element, key, _, length, ref view @ ..] = list else {
            return Err(wrong());
        };
        let object = |id: Id| &self.objects[id as usize];
        match (object(kind), object(element), object(key)) {
            (
                Object::Text("storage"),
                Object::Global(Global::StorageType(element)),
                Object::Text(key),
            ) => {
                let mut storage = Storage {
                    key,
                    element: *element,
                    length: self.size(length).ok_or_else(wrong)?,
                    start: 0,
                };
                if let Some(&[_, start, length]) = view.first().and_then(|id| self.sequence(*id)) {
                    storage.start = self.size(start).ok_or_else(wrong)?;
                    storage.length = self.size(length).ok_or_else(wrong)?;
                }
                Ok(storage)
            }
            (Object::Text("module"), ..) => Err(Problem::malformed(
                "a whole pickled module, not a state dict: save `model.state_dict()`",
            )),
            _ => Err(wrong()),
        }
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Problem> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(Problem::malformed(
            "the pickle leaves a key of a dict without value",
        )),
    }
}

fn memo_index(line: &[u8]) -> Result<u32, Problem> {
    let index = std::str::from_utf8(line).ok();
    let index = index.and_then(|digits| digits.trim().parse().ok());
    index.ok_or_else(|| Problem::malformed("a memo index of the pickle is no number"))
}
