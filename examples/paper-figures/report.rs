//! The files of the experiment: figure, table, and all numbers.

use std::path::Path;

use bn_inception_examples::figure::Figure as _;
use bn_inception_examples::{Failure, write_file};
use serde_json::{Value, json};

use crate::experiment::{Planned, Scale, missing};
use crate::figure::Figure2;
use crate::outcome::{Reach, Results, Run, Spread};
use crate::paper::{BASELINE, INCEPTION, PUBLISHED};
use crate::table;

/// Writes the files of all runs that have ended to the folder `out`.
pub fn write(out: &Path, results: &Results, scale: &Scale) -> Result<(), Failure> {
    let write = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        write_file(&path, bytes).map_err(|error| format!("cannot write {error}"))
    };
    let figure = Figure2 { results, seeds: scale.seeds };
    write("figure2.svg", figure.svg()?.as_bytes())?;
    write("figure2.png", &figure.png()?)?;
    write("figure3.md", table::markdown(results, scale).as_bytes())?;
    write("figures.json", &serde_json::to_vec_pretty(&numbers(results, scale))?)?;
    Ok(())
}

/// Everything, for programs to read. Accuracies are fractions.
fn numbers(results: &Results, scale: &Scale) -> Value {
    let noise = results.noise().map(|noise| {
        json!({
            "val_images": noise.images,
            "standard_error": noise.standard_error,
            "seed_range": noise.seed_range,
            "threshold": noise.threshold,
        })
    });
    let recipes = PUBLISHED.iter().map(|row| {
        let recipe = row.recipe;
        json!({
            "recipe": recipe,
            "best_top1": results.best(recipe).map(spread),
            "difference_from_inception": results.difference(recipe, INCEPTION),
            "steps_to_inception": results.steps(recipe, INCEPTION),
            "times_fewer": results.times_fewer(recipe, INCEPTION),
            "steps_to_bn_baseline": results.steps(recipe, BASELINE),
            "paper": { "best_top1": row.best, "steps_to_inception": row.steps },
            "runs": results.of(recipe).map(|run| of_run(results, run)).collect::<Vec<_>>(),
        })
    });
    json!({
        "width": scale.width,
        "image_size": scale.image_size,
        "epochs": scale.epochs,
        "seeds": scale.seeds,
        "missing": missing(results, scale.seeds).iter().map(Planned::to_string).collect::<Vec<_>>(),
        "noise": noise,
        "recipes": recipes.collect::<Vec<_>>(),
    })
}

fn of_run(results: &Results, run: &Run) -> Value {
    let reached = |target: &str| {
        let reaches = results.reaches(run.recipe, target);
        reaches.into_iter().find(|(seed, _)| *seed == run.seed).and_then(|(_, reach)| match reach {
            Reach::After(step) => Some(step),
            Reach::Never | Reach::Diverged(_) => None,
        })
    };
    let course = &run.course;
    json!({
        "seed": run.seed,
        "diverged_after": course.diverged_after,
        "best_top1": course.best().map(|best| best.top1),
        "best_step": course.best().map(|best| best.step),
        "steps_to_inception": reached(INCEPTION),
        "steps_to_bn_baseline": reached(BASELINE),
        "top1": course.points.iter().map(|point| json!([point.step, point.top1])).collect::<Vec<_>>(),
    })
}

fn spread(Spread { mean, low, high }: Spread) -> Value {
    json!({ "mean": mean, "low": low, "high": high })
}
