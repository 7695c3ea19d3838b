//! Figures as SVG and PNG.

use std::sync::Once;

use image::{ExtendedColorType, ImageEncoder as _, codecs::png::PngEncoder};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::Failure;

/// A figure that draws itself.
pub trait Figure {
    /// Width and height in pixels.
    const SIZE: (u32, u32);

    /// Draws the figure on an empty area of [`Self::SIZE`].
    ///
    /// # Errors
    /// [`Failure`] of the drawing backend.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static;

    /// The figure as SVG, with text as text.
    ///
    /// # Errors
    /// [`Failure`] of the drawing backend.
    fn svg(&self) -> Result<String, Failure> {
        let mut text = String::new();
        paint(self, SVGBackend::with_string(&mut text, Self::SIZE))?;
        Ok(text)
    }

    /// The figure as PNG.
    ///
    /// # Errors
    /// [`Failure`] of the drawing backend or the encoder.
    fn png(&self) -> Result<Vec<u8>, Failure> {
        let (width, height) = Self::SIZE;
        let mut pixels = vec![0; (3 * width * height) as usize];
        paint(self, BitMapBackend::with_buffer(&mut pixels, Self::SIZE))?;
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes).write_image(&pixels, width, height, ExtendedColorType::Rgb8)?;
        Ok(bytes)
    }
}

fn paint<F: Figure + ?Sized, B: DrawingBackend>(figure: &F, backend: B) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    register();
    let area = backend.into_drawing_area();
    area.fill(&WHITE)?;
    figure.draw(&area)?;
    area.present()?;
    Ok(())
}

/// Both backends measure text with this font; the bitmap is drawn with it.
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        // It fails for a damaged font only, which drawing then reports.
        let _ = register_font("sans-serif", FontStyle::Normal, font);
    });
}
