//! The programs of bn-inception.
