//! Colours, as sRGB values in 0..1.

/// Red, green, blue.
pub(super) type Rgb = [f32; 3];

/// A colour of exactly the brightness `luma`: dark ones are deep, light ones pale. `hue` is in turns.
pub(super) fn tint(hue: f32, saturation: f32, luma: f32) -> Rgb {
    const WEIGHTS: Rgb = [0.299, 0.587, 0.114];
    let pure = each(|c| {
        let turn = (hue + c as f32 / 3.0).rem_euclid(1.0);
        (6.0 * (turn - 0.5).abs() - 1.0).clamp(0.0, 1.0)
    });
    let colour = pure.map(|c| 1.0 + saturation * (c - 1.0));
    let found: f32 = (0..3).map(|c| WEIGHTS[c] * colour[c]).sum();
    if found > luma {
        colour.map(|c| c * luma / found)
    } else {
        mix(colour, [1.0; 3], (luma - found) / (1.0 - found).max(1e-6))
    }
}

/// `a` at share 0, `b` at share 1.
pub(super) fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    each(|c| a[c] + share * (b[c] - a[c]))
}

/// A colour from a function of the channel.
pub(super) fn each(channel: impl FnMut(usize) -> f32) -> Rgb {
    [0, 1, 2].map(channel)
}
