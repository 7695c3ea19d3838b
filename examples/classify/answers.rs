//! What is in images, printed as it is found.

use std::io::{self, BufWriter, Stdout, Write as _};

use bn_inception::Prediction;
use csv::Writer;
use serde::Serialize;

/// Form of the answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One array.
    Json,
    /// An object a line.
    JsonLines,
    /// A line for each class of each image.
    Csv,
}

/// The most probable classes of an image.
#[derive(Serialize)]
pub struct Answer {
    pub image: String,
    pub predictions: Vec<Prediction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<Vec<f32>>,
}

/// Answers on their way to standard output.
pub struct Answers {
    format: Format,
    /// True if each has the name of its image above it.
    named: bool,
    out: BufWriter<Stdout>,
    count: usize,
}

impl Answers {
    pub fn begin(format: Format, named: bool) -> io::Result<Self> {
        let mut answers = Self { format, named, out: BufWriter::new(io::stdout()), count: 0 };
        match format {
            Format::Json => answers.out.write_all(b"[")?,
            Format::Csv => answers.line(&["image", "rank", "class", "label", "probability"])?,
            Format::Text | Format::JsonLines => {}
        }
        Ok(answers)
    }

    pub fn add(&mut self, answer: Answer) -> io::Result<()> {
        match self.format {
            Format::Text => {
                if self.named {
                    writeln!(self.out, "{}", answer.image)?;
                }
                for prediction in &answer.predictions {
                    writeln!(self.out, "{:6.2} %  {}", 100.0 * prediction.probability, prediction.label)?;
                }
            }
            Format::Json => {
                let comma = if self.count > 0 { "," } else { "" };
                let object = serde_json::to_string_pretty(&answer)?.replace('\n', "\n  ");
                write!(self.out, "{comma}\n  {object}")?;
            }
            Format::JsonLines => writeln!(self.out, "{}", serde_json::to_string(&answer)?)?,
            Format::Csv => {
                for (rank, Prediction { class, label, probability }) in (1..).zip(&answer.predictions) {
                    let rank: i32 = rank;
                    let [rank, class, probability] = [rank.to_string(), class.to_string(), probability.to_string()];
                    self.line(&[&answer.image, &rank, &class, label, &probability])?;
                }
            }
        }
        self.count += 1;
        Ok(())
    }

    /// Prints what was added so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub fn finish(mut self) -> io::Result<()> {
        match (self.format, self.count) {
            (Format::Json, 0) => writeln!(self.out, "]")?,
            (Format::Json, _) => writeln!(self.out, "\n]")?,
            _ => {}
        }
        self.out.flush()
    }

    fn line(&mut self, fields: &[&str]) -> io::Result<()> {
        let mut line = Writer::from_writer(&mut self.out);
        line.write_record(fields)?;
        line.flush()
    }
}
