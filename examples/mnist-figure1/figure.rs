//! The figure itself: (a) test accuracy, (b) and (c) the typical unit's input without and with batch normalisation.

use bn_inception_examples::Failure;
use bn_inception_examples::figure::Figure;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::training::Course;

/// Lower end of the axis of accuracies; the curves differ above it.
const LOWEST: f64 = 0.7;

/// Okabe and Ito's blue and vermilion, which the colour-blind can distinguish.
const WITH: RGBColor = RGBColor(0, 114, 178);
const WITHOUT: RGBColor = RGBColor(213, 94, 0);

/// Figure 1 of two courses, with and without batch normalisation.
pub struct Figure1<'a>(pub &'a [Course; 2]);

impl Figure for Figure1<'_> {
    const SIZE: (u32, u32) = (1200, 400);

    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let panels = area.split_evenly((1, 3));
        accuracy(&panels[0], self.0)?;
        let range = percentile_range(self.0);
        let [with, without] = self.0;
        percentiles(&panels[1], "(b) input without batch normalisation", without, WITHOUT, range)?;
        percentiles(&panels[2], "(c) input with batch normalisation", with, WITH, range)
    }
}

fn accuracy<B: DrawingBackend>(area: &DrawingArea<B, Shift>, courses: &[Course; 2]) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let mut chart = ChartBuilder::on(area)
        .caption("(a) test accuracy", ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..last_step(courses), LOWEST..1.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(6)
        .y_labels(7)
        .x_label_formatter(&|step| thousands(*step))
        .y_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
        .x_desc("steps")
        .label_style(("sans-serif", 14))
        .draw()?;
    for (course, name, colour) in [(&courses[0], "with batch normalisation", WITH), (&courses[1], "without", WITHOUT)] {
        let points = course.points.iter();
        let points = points.filter(|point| point.accuracy >= LOWEST);
        let points = points.map(|point| (point.step as f64, point.accuracy));
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
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

fn percentiles<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    caption: &str,
    course: &Course,
    colour: RGBColor,
    (low, high): (f64, f64),
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let last = course.points.last().map_or(1.0, |point| point.step as f64);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..last, low..high)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(6)
        .x_label_formatter(&|step| thousands(*step))
        .x_desc("steps; lines: 15th, 50th and 85th percentile")
        .label_style(("sans-serif", 14))
        .draw()?;
    for (number, width) in [(0, 1), (1, 2), (2, 1)] {
        let points = course.points.iter();
        let points = points.map(|point| (point.step as f64, f64::from(point.percentiles[number])));
        chart.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
    }
    Ok(())
}

/// One range for both networks, a little wider than necessary.
fn percentile_range(courses: &[Course; 2]) -> (f64, f64) {
    let all = courses.iter().flat_map(|course| &course.points);
    let values = all.flat_map(|point| point.percentiles).map(f64::from);
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let margin = 0.05 * (high - low).max(1e-3);
    (low - margin, high + margin)
}

fn last_step(courses: &[Course; 2]) -> f64 {
    let steps = courses.iter().flat_map(|course| course.points.last());
    steps.map(|point| point.step as f64).fold(1.0, f64::max)
}

fn thousands(step: f64) -> String {
    if step >= 1e3 { format!("{:.0}k", step / 1e3) } else { format!("{step:.0}") }
}
