//! The paper's Figure 2: validation accuracy of the five networks over training steps.

use bn_inception_examples::Failure;
use bn_inception_examples::figure::Figure;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::experiment::{missing, plan};
use crate::outcome::{Results, Run, Spread};
use crate::paper::{INCEPTION, PUBLISHED};
use crate::table::grouped;

/// Okabe and Ito's colours, which the colour-blind can distinguish, in the order of the recipes.
const COLOURS: [RGBColor; 5] =
    [RGBColor(0, 0, 0), RGBColor(230, 159, 0), RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Figure 2 of all runs that have ended.
pub struct Figure2<'a> {
    pub results: &'a Results,
    /// Number of runs that each recipe is to have.
    pub seeds: u16,
}

impl Figure for Figure2<'_> {
    const SIZE: (u32, u32) = (900, 560);

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let (last, highest) = self.extent();
        let mut caption = "Validation top-1 over training steps".to_owned();
        // The table says which.
        let (all, missing) = (plan(self.seeds).len(), missing(self.results, self.seeds).len());
        if missing > 0 {
            caption += &format!(" ({missing} of {all} runs are missing)");
        }
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..last, 0.0..highest)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(9)
            .y_labels(9)
            .x_label_formatter(&|step| grouped(*step))
            .y_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
            .x_desc("steps")
            .label_style(("sans-serif", 14))
            .draw()?;
        self.goal(&mut chart, last)?;
        for (row, colour) in PUBLISHED.iter().zip(COLOURS) {
            self.recipe(&mut chart, row.recipe, row.name, colour)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .border_style(BLACK.mix(0.3))
            .background_style(WHITE.mix(0.9))
            .label_font(("sans-serif", 14))
            .draw()?;
        Ok(())
    }
}

impl Figure2<'_> {
    /// The last step and the upper end of the axis of accuracies.
    fn extent(&self) -> (f64, f64) {
        let runs = PUBLISHED.iter().flat_map(|row| self.results.of(row.recipe));
        let points = runs.flat_map(|run| &run.course.points);
        let (last, best) =
            points.fold((1, 0.0_f64), |(last, best), point| (last.max(point.step), best.max(point.top1)));
        (last as f64, ((10.0 * best).floor() / 10.0 + 0.1).min(1.0))
    }

    /// The accuracy that the others have to reach.
    fn goal<B: DrawingBackend>(&self, chart: &mut Chart<'_, B>, last: f64) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        if let Some(best) = self.results.best(INCEPTION) {
            let style = BLACK.mix(0.4);
            chart
                .draw_series(LineSeries::new([(0.0, best.mean), (last, best.mean)], style))?
                .label("best of Inception")
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        Ok(())
    }

    /// Mean and extremes of the finished runs of a recipe, and a thin line that ends in a cross for each that diverged.
    fn recipe<B: DrawingBackend>(
        &self,
        chart: &mut Chart<'_, B>,
        recipe: &str,
        name: &str,
        colour: RGBColor,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let runs: Vec<&Run> = self.results.of(recipe).collect();
        let diverged: Vec<&Run> = runs.iter().copied().filter(|run| run.course.diverged_after.is_some()).collect();
        if runs.is_empty() {
            return Ok(());
        }
        let curve = self.results.curve(recipe);
        if runs.len() > diverged.len() + 1 {
            let point = |value: fn(&Spread) -> f64| move |(step, spread): &(u64, Spread)| (*step as f64, value(spread));
            let low = curve.iter().map(point(|spread| spread.low));
            let high = curve.iter().rev().map(point(|spread| spread.high));
            let band: Vec<_> = low.chain(high).collect();
            chart.draw_series([Polygon::new(band, colour.mix(0.2))])?;
        }
        let label = match (diverged.len(), runs.len()) {
            (0, _) => name.to_owned(),
            (count, all) => format!("{name}: {count} of {all} diverged"),
        };
        let line = curve.iter().map(|(step, spread)| (*step as f64, spread.mean));
        let style = colour.filled().stroke_width(2);
        chart
            .draw_series(LineSeries::new(line, style).point_size(2))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        for run in diverged {
            let points: Vec<_> = run.course.points.iter().map(|point| (point.step as f64, point.top1)).collect();
            let end = points.last().map(|point| Cross::new(*point, 5, colour.stroke_width(2)));
            chart.draw_series(LineSeries::new(points, colour.stroke_width(1)))?;
            chart.draw_series(end)?;
        }
        Ok(())
    }
}
