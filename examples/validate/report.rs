//! An evaluation class by class and image by image.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use bn_inception_examples::Failure;
use bn_inception_train::data::ImageDataset;
use bn_inception_train::{EvaluatedImage, Evaluation};
use csv::Writer;
use serde::Serialize;

/// Name in place of a prediction, if probabilities are no numbers.
const NONE: &str = "none";

/// Results of the images of one class.
#[derive(Serialize)]
pub struct Class {
    label: String,
    images: usize,
    top1: f64,
    top5: f64,
    /// The class that its images are most often taken for besides their own, and how many are.
    mistaken_for: Option<(String, usize)>,
}

/// The classes that there are images of, in the order of the weights' classes.
pub fn classes(result: &Evaluation, labels: &[String]) -> Vec<Class> {
    let mut images = BTreeMap::<usize, Vec<&EvaluatedImage>>::new();
    for image in &result.each {
        images.entry(image.class).or_default().push(image);
    }
    let classes = images.into_iter().map(|(class, images)| {
        let mut mistakes = BTreeMap::<usize, usize>::new();
        for predicted in images.iter().filter_map(|image| image.predicted).filter(|predicted| *predicted != class) {
            *mistakes.entry(predicted).or_default() += 1;
        }
        // Of equally frequent ones the first.
        let worst = mistakes.into_iter().rev().max_by_key(|(_, count)| *count);
        let fraction = |ranks| images.iter().filter(|image| image.rank < ranks).count() as f64 / images.len() as f64;
        Class {
            label: labels[class].clone(),
            images: images.len(),
            top1: fraction(1),
            top5: fraction(5),
            mistaken_for: worst.map(|(class, count)| (labels[class].clone(), count)),
        }
    });
    classes.collect()
}

/// Prints a table of `classes`.
pub fn print(classes: &[Class], out: &mut impl Write) -> io::Result<()> {
    let width = classes.iter().map(|class| class.label.chars().count()).max().unwrap_or_default().max(5);
    writeln!(out, "{:width$}  images    top-1    top-5  most often taken for", "class")?;
    for Class { label, images, top1, top5, mistaken_for } in classes {
        let mistake = match mistaken_for {
            Some((label, count)) => format!("{label} ({count})"),
            None => String::new(),
        };
        let line = format!("{label:width$}  {images:6}  {:5.1} %  {:5.1} %  {mistake}", 100.0 * top1, 100.0 * top5);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The confusion matrix as a table: a line for each class that there are images of, a column for each that they were taken
/// for or are of.
pub fn confusion(result: &Evaluation, labels: &[String]) -> Result<Vec<u8>, Failure> {
    let mut counts = BTreeMap::<(usize, Option<usize>), usize>::new();
    for image in &result.each {
        *counts.entry((image.class, image.predicted)).or_default() += 1;
    }
    let rows: BTreeSet<usize> = result.each.iter().map(|image| image.class).collect();
    let own = rows.iter().map(|class| Some(*class));
    let columns: BTreeSet<Option<usize>> = result.each.iter().map(|image| image.predicted).chain(own).collect();
    let name = |class: &Option<usize>| class.map_or(NONE.to_owned(), |class| labels[class].clone());
    let mut table = Writer::from_writer(Vec::new());
    table.write_record(std::iter::once("class \\ predicted".to_owned()).chain(columns.iter().map(name)))?;
    for row in rows {
        let count = |column: &Option<usize>| counts.get(&(row, *column)).copied().unwrap_or_default().to_string();
        table.write_record(std::iter::once(labels[row].clone()).chain(columns.iter().map(count)))?;
    }
    Ok(table.into_inner()?)
}

/// A table with a line for each image of `folder`.
pub fn predictions(result: &Evaluation, labels: &[String], folder: &ImageDataset) -> Result<Vec<u8>, Failure> {
    let mut table = Writer::from_writer(Vec::new());
    table.write_record(["image", "class", "predicted", "probability", "rank", "replaced"])?;
    let broken: BTreeSet<_> = result.broken.iter().map(|image| &image.path).collect();
    for (index, image) in result.each.iter().enumerate() {
        let predicted = image.predicted.map_or(NONE, |class| labels[class].as_str());
        let (probability, rank) = (image.probability.to_string(), (image.rank + 1).to_string());
        let replaced = if broken.contains(&folder.path(index)) { "yes" } else { "" };
        let (name, class) = (folder.name(index), labels[image.class].as_str());
        table.write_record([name.as_ref(), class, predicted, &probability, &rank, replaced])?;
    }
    Ok(table.into_inner()?)
}
