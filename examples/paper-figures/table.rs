//! The paper's Figure 3 beside the experiment, in Markdown.

use crate::experiment::{Scale, missing};
use crate::outcome::{Reach, Results, Spread};
use crate::paper::{BASELINE, INCEPTION, PUBLISHED};

const NOTHING: &str = "–";

/// The table, and what it is worth.
pub fn markdown(results: &Results, scale: &Scale) -> String {
    let mut text = format!(
        "| | best top-1 | against `{INCEPTION}` | steps to the best of `{INCEPTION}` | times fewer \
         | steps to the best of `{BASELINE}` | the paper: best top-1 | the paper: steps to 72.2 % \
         | the paper: times fewer |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    let inception = PUBLISHED[0].steps;
    for row in &PUBLISHED {
        let recipe = row.recipe;
        let published_ratio = inception.zip(row.steps).map(|(inception, steps)| inception / steps);
        let cells = [
            format!("`{recipe}`"),
            best(results, recipe),
            difference(results, recipe),
            steps(results, recipe, INCEPTION),
            ratio(results.times_fewer(recipe, INCEPTION)),
            steps(results, recipe, BASELINE),
            format!("{:.1} %", 100.0 * row.best),
            row.steps.map_or("never".to_owned(), |steps| format!("{:.1} million", steps / 1e6)),
            ratio(published_ratio),
        ];
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text + "\n" + &notes(results, scale)
}

/// A number with commas between thousands.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.1}"))
}

fn best(results: &Results, recipe: &str) -> String {
    let mut parts = Vec::new();
    if let Some(Spread { mean, low, high }) = results.best(recipe) {
        let finished = results.of(recipe).filter(|run| run.course.diverged_after.is_none());
        let range = format!("{:.1} to {}", 100.0 * low, percent(high));
        parts.push(if finished.count() > 1 { format!("{} ({range})", percent(mean)) } else { percent(mean) });
    }
    for run in results.of(recipe) {
        if let Some(step) = run.course.diverged_after {
            parts.push(format!("seed {} diverged after {} steps", run.seed, grouped(step as f64)));
        }
    }
    if parts.is_empty() { NOTHING.to_owned() } else { parts.join("; ") }
}

fn difference(results: &Results, recipe: &str) -> String {
    let difference = results.difference(recipe, INCEPTION).filter(|_| recipe != INCEPTION);
    match difference.zip(results.noise()) {
        None => NOTHING.to_owned(),
        Some((difference, noise)) if difference.abs() < noise.threshold => "no difference".to_owned(),
        Some((difference, _)) => {
            let sign = if difference < 0.0 { "−" } else { "+" };
            format!("{sign}{:.1} points", 100.0 * difference.abs())
        }
    }
}

fn steps(results: &Results, recipe: &str, target: &str) -> String {
    let reaches = results.reaches(recipe, target);
    let each = reaches.iter().map(|(_, reach)| match reach {
        Reach::After(step) => grouped(*step as f64),
        Reach::Never => "never".to_owned(),
        Reach::Diverged(step) => format!("diverged after {}", grouped(*step as f64)),
    });
    let each: Vec<_> = each.collect();
    match (each.len(), results.steps(recipe, target)) {
        (0, _) => NOTHING.to_owned(),
        (2.., Some(mean)) => format!("{} ({})", grouped(mean), each.join("; ")),
        _ if each.iter().all(|reach| reach == "never") => "never".to_owned(),
        _ => each.join("; "),
    }
}

/// Conditions of the experiment, and the size of differences that mean nothing.
fn notes(results: &Results, scale: &Scale) -> String {
    let Scale { width, image_size, epochs, seeds } = scale;
    let mut lines = Vec::new();
    let missing: Vec<_> = missing(results, *seeds).iter().map(|planned| format!("`{planned}`")).collect();
    if !missing.is_empty() {
        lines.push(format!("The experiment is not finished. Missing: {}.", missing.join(", ")));
    }
    let all = PUBLISHED.iter().flat_map(|row| results.of(row.recipe));
    let ends = all.filter_map(|run| Some((run.course.points.first()?.step, run.course.points.last()?.step)));
    let seeds = if *seeds == 1 { "seed 0".to_owned() } else { format!("seeds 0 to {}", seeds - 1) };
    let setup = format!("Width {width}, {image_size} × {image_size} pixels, {seeds}, {epochs} epochs");
    lines.push(match ends.max_by_key(|(_, last)| *last) {
        Some((first, last)) => format!(
            "{setup}: {} steps. Validation is at the end of each epoch, so step counts are multiples of {}. *Never*: not \
             within the run. Several seeds: the mean, with the extremes or each of them in parentheses.",
            grouped(last as f64),
            grouped(first as f64),
        ),
        None => format!("{setup}."),
    });
    if let Some(noise) = results.noise() {
        let range = match noise.seed_range {
            Some(range) => format!("two seeds of a recipe differ by up to {:.1}", 100.0 * range),
            None => "how much two seeds differ is not known".to_owned(),
        };
        lines.push(format!(
            "The standard error of a best top-1 over {} images is up to {:.1} points; {range}. Differences under {:.1} \
             points are within the noise: *no difference*.",
            grouped(noise.images as f64),
            100.0 * noise.standard_error,
            100.0 * noise.threshold,
        ));
    }
    lines.join("\n\n") + "\n"
}
