//! Findings of a search, as text and as a table.

use std::io::{self, Write as _};

use bn_inception_examples::Failure;
use csv::Writer;
use serde::Serialize;

/// A query and the rows nearest to it.
#[derive(Serialize)]
pub struct Found {
    pub query: String,
    pub neighbours: Vec<Near>,
}

/// A row near to a query.
#[derive(Serialize)]
pub struct Near {
    pub name: String,
    pub row: usize,
    pub cosine: f32,
}

/// Prints each query, and its neighbours below it.
pub fn print(found: &[Found]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for Found { query, neighbours } in found {
        writeln!(out, "{query}")?;
        for Near { name, cosine, .. } in neighbours {
            writeln!(out, "  {cosine:.4}  {name}")?;
        }
    }
    out.flush()
}

/// A table with a line for each neighbour.
pub fn csv(found: &[Found]) -> Result<Vec<u8>, Failure> {
    let mut table = Writer::from_writer(Vec::new());
    table.write_record(["query", "rank", "name", "row", "cosine"])?;
    for Found { query, neighbours } in found {
        for (rank, Near { name, row, cosine }) in (1..).zip(neighbours) {
            table.write_record([query, &format!("{rank}"), name, &row.to_string(), &cosine.to_string()])?;
        }
    }
    Ok(table.into_inner()?)
}
