//! Tests that cross crates and run the real programs.
