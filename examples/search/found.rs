//! Findings of a search, as text and as a table.

use std::io::{self, Write as _};

use bn_inception::RetrievalScores;
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

/// Prints scores.
pub fn print_scores(scores: &RetrievalScores, json: bool) -> Result<(), Failure> {
    let mut out = io::stdout();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(scores)?)?;
        return Ok(());
    }
    let RetrievalScores { recall, r_precision, map_at_r, queries, alone, classes } = scores;
    for (at, recall) in recall {
        write!(out, "recall@{at} {:.2} %  ", 100.0 * recall)?;
    }
    let besides = if *alone > 0 { format!(", {alone} besides without another of their class") } else { String::new() };
    writeln!(
        out,
        "R-precision {:.2} %  MAP@R {:.2} %  {queries} queries of {classes} classes{besides}",
        100.0 * r_precision,
        100.0 * map_at_r
    )?;
    Ok(())
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
