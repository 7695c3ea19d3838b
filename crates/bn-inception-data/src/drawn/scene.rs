//! One picture: a textured shape before a cluttered backdrop, under one light, seen by an imperfect camera.
//!
//! Coordinates are fractions of the picture's side, y pointing down.

use std::f32::consts::TAU;
use std::ops::Range;

use image::RgbImage;
use rand::{Rng, RngExt};

use super::camera::Camera;
use super::colour::{Rgb, each, mix, tint};
use super::shapes::{self, Shape, length};
use super::texture::{self, Placed, Texture};

type Point = [f32; 2];

/// Samples along each side of a pixel.
const OVERSAMPLING: u32 = 2;
/// Width of the lit rim of a shape, in radii.
const RIM: f32 = 0.16;
/// Largest distance that a posed shape and its shadow reach from its centre, in radii.
const REACH: f32 = 2.8;

/// Everything visible, drawn at random except the subject's shape and texture.
pub(super) struct Scene {
    backdrop: Backdrop,
    clutter: Vec<Sprite>,
    subject: Sprite,
    light: Light,
    camera: Camera,
}

impl Scene {
    pub(super) fn random(shape: Shape, texture: &Texture, rng: &mut impl Rng) -> Self {
        let light = Light::random(rng);
        let backdrop = Backdrop::random(rng);
        let clutter = (0..rng.random_range(1..6)).map(|_| Sprite::clutter(rng)).collect();
        let subject = Sprite::subject(shape, texture, rng);
        Self { backdrop, clutter, subject, light, camera: Camera::random(rng) }
    }

    /// Quality of the JPEG file, in percent.
    pub(super) fn quality(&self) -> u8 {
        self.camera.quality
    }

    /// Draws the picture at `side` × `side` pixels; `rng` makes the sensor's noise.
    pub(super) fn render(&self, side: u32, rng: &mut impl Rng) -> RgbImage {
        let pixel = 1.0 / side as f32;
        let mut light: Vec<Rgb> = Vec::with_capacity((side * side) as usize);
        for row in 0..side {
            for column in 0..side {
                let corner = [column as f32 * pixel, row as f32 * pixel];
                light.push(self.pixel(corner, pixel));
            }
        }
        self.camera.develop(light, side, rng)
    }

    /// Mean colour over one pixel. The backdrop is smooth enough for a single sample.
    fn pixel(&self, corner: Point, pixel: f32) -> Rgb {
        let middle = [corner[0] + 0.5 * pixel, corner[1] + 0.5 * pixel];
        let backdrop = self.backdrop.colour(middle);
        let sprites = self.clutter.iter().chain([&self.subject]);
        let near: Vec<&Sprite> = sprites.filter(|sprite| sprite.pose.is_near(middle)).collect();
        if near.is_empty() {
            return backdrop;
        }
        let step = pixel / OVERSAMPLING as f32;
        let mut sum = [0.0; 3];
        for sample in 0..OVERSAMPLING * OVERSAMPLING {
            let (dx, dy) = (sample % OVERSAMPLING, sample / OVERSAMPLING);
            let point = [corner[0] + (dx as f32 + 0.5) * step, corner[1] + (dy as f32 + 0.5) * step];
            let seen = |below, sprite: &&Sprite| sprite.over(below, point, &self.light);
            let colour = near.iter().fold(backdrop, seen);
            sum = each(|c| sum[c] + colour[c]);
        }
        let samples = (OVERSAMPLING * OVERSAMPLING) as f32;
        each(|c| sum[c] / samples)
    }
}

/// Direction and strength of the light.
struct Light {
    toward: Point,
    relief: f32,
    shadow: f32,
    softness: f32,
}

impl Light {
    fn random(rng: &mut impl Rng) -> Self {
        let angle = rng.random_range(0.0..TAU);
        Self {
            toward: [angle.cos(), angle.sin()],
            relief: rng.random_range(0.1..0.45),
            shadow: rng.random_range(0.2..0.7),
            softness: rng.random_range(0.05..0.35),
        }
    }
}

/// Two colours blended by a gradient and by noise, and sometimes a faint pattern.
struct Backdrop {
    colours: [Rgb; 2],
    slope: Point,
    /// Share of the noise in the blend; the gradient has the rest.
    roughness: f32,
    /// Noise features per side, across and down: unequal numbers make grain, like wood or water.
    grain: Point,
    pattern: Option<(Placed, f32)>,
    seed: u32,
}

impl Backdrop {
    fn random(rng: &mut impl Rng) -> Self {
        let hue = rng.random_range(0.0..1.0);
        let luma = rng.random_range(0.15..0.8);
        let other = [hue + rng.random_range(-0.15..0.15), (luma + rng.random_range(-0.25..0.25f32)).clamp(0.08, 0.9)];
        let slope = rng.random_range(0.0..TAU);
        let pattern = rng.random_bool(0.3).then(|| {
            let texture = &texture::BACKDROP[rng.random_range(0..texture::BACKDROP.len())];
            (texture.place(rng), rng.random_range(0.1..0.25))
        });
        Self {
            colours: [
                tint(hue, rng.random_range(0.05..0.5), luma),
                tint(other[0], rng.random_range(0.05..0.5), other[1]),
            ],
            slope: [slope.cos(), slope.sin()],
            roughness: rng.random_range(0.15..0.95),
            grain: [rng.random_range(2.0..9.0), rng.random_range(2.0..9.0)],
            pattern,
            seed: rng.random(),
        }
    }

    fn colour(&self, [x, y]: Point) -> Rgb {
        let ramp = 0.5 + 0.7 * ((x - 0.5) * self.slope[0] + (y - 0.5) * self.slope[1]);
        let cloud = texture::noise([x * self.grain[0], y * self.grain[1]], 4, self.seed);
        // Octave noise crowds around one half; spread it before use.
        let cloud = 0.5 + 1.6 * (cloud - 0.5);
        let mut blend = ramp + self.roughness * (cloud - ramp);
        if let Some((pattern, strength)) = &self.pattern {
            // The pattern's unit is made for a shape's radius: about a quarter of the picture.
            blend += strength * (pattern.tone([(x - 0.5) * 3.5, (y - 0.5) * 3.5]) - 0.5);
        }
        mix(self.colours[0], self.colours[1], blend.clamp(0.0, 1.0))
    }
}

/// A shape somewhere in the picture, plain or textured.
struct Sprite {
    pose: Pose,
    shape: Shape,
    colours: [Rgb; 2],
    pattern: Option<Placed>,
    /// Height above the backdrop in radii, which sets the length of the shadow.
    height: f32,
    seed: u32,
}

impl Sprite {
    /// The labelled object: large, wholly in view, its two colours well apart in brightness.
    fn subject(shape: Shape, texture: &Texture, rng: &mut impl Rng) -> Self {
        let pose = Pose::random(rng, 0.33..0.45, 0.95, 0.45);
        let gap = rng.random_range(0.36..0.6);
        let dark = rng.random_range(0.1..0.9 - gap);
        let mut colours =
            [dark, dark + gap].map(|luma| tint(rng.random_range(0.0..1.0), rng.random_range(0.3..1.0), luma));
        if rng.random_bool(0.5) {
            colours.swap(0, 1);
        }
        let pattern = Some(texture.place(rng));
        Self { pose, shape, colours, pattern, height: rng.random_range(0.05..0.3), seed: rng.random() }
    }

    /// A small plain thing of any shape, anywhere.
    fn clutter(rng: &mut impl Rng) -> Self {
        let pose = Pose::random(rng, 0.04..0.12, 0.0, TAU / 2.0);
        let colour = tint(rng.random_range(0.0..1.0), rng.random_range(0.1..0.9), rng.random_range(0.12..0.88));
        Self {
            pose,
            shape: shapes::CLUTTER[rng.random_range(0..shapes::CLUTTER.len())],
            colours: [colour; 2],
            pattern: None,
            height: rng.random_range(0.05..0.4),
            seed: rng.random(),
        }
    }

    /// Colour at `point` with this sprite, or its shadow, over `below`.
    fn over(&self, below: Rgb, point: Point, light: &Light) -> Rgb {
        let inside = self.pose.to_shape(point);
        let distance = (self.shape)(inside);
        if distance > light.softness + 1.5 * self.height {
            return below;
        }
        if distance > 0.0 {
            let reach = self.height * self.pose.radius;
            let caster = [point[0] + reach * light.toward[0], point[1] + reach * light.toward[1]];
            let distance = (self.shape)(self.pose.to_shape(caster));
            let covered = (0.5 - 0.5 * distance / light.softness).clamp(0.0, 1.0);
            return below.map(|c| c * (1.0 - light.shadow * covered));
        }
        let tone = self.pattern.as_ref().map_or(0.0, |pattern| pattern.tone(inside));
        let colour = mix(self.colours[0], self.colours[1], tone);
        let across = length(inside).min(1.5);
        let grain = texture::noise([inside[0] * 5.0, inside[1] * 5.0], 2, self.seed) - 0.5;
        let lit = self.lit(point, distance, light) + 0.25 * grain - 0.08 * across;
        colour.map(|c| c * (1.0 + lit))
    }

    /// Brightening, positive or negative, by the light: a slope over the whole shape, and the rounded rim.
    fn lit(&self, point: Point, distance: f32, light: &Light) -> f32 {
        let toward = |v: Point| v[0] * light.toward[0] + v[1] * light.toward[1];
        let offset = [point[0] - self.pose.centre[0], point[1] - self.pose.centre[1]];
        let slope = 0.35 * light.relief * toward(offset) / self.pose.radius;
        if distance < -RIM {
            return slope;
        }
        let nudge = 0.02 * self.pose.radius;
        let beside = |dx, dy| (self.shape)(self.pose.to_shape([point[0] + dx, point[1] + dy])) - distance;
        let normal = [beside(nudge, 0.0), beside(0.0, nudge)];
        let norm = length(normal).max(1e-6);
        slope + light.relief * (1.0 + distance / RIM) * toward(normal) / norm
    }
}

/// Position, size, rotation, stretch, shear and perspective of a sprite.
struct Pose {
    centre: Point,
    radius: f32,
    /// Matrix from picture offsets to shape coordinates, before perspective.
    inverse: [Point; 2],
    /// Perspective: change of depth across the picture.
    tilt: Point,
}

impl Pose {
    /// `margin` is the share of the radius that stays in the picture on every side; `turn` bounds the rotation, in
    /// radians.
    fn random(rng: &mut impl Rng, radius: Range<f32>, margin: f32, turn: f32) -> Self {
        let radius = rng.random_range(radius);
        let edge = radius * margin;
        let centre = [rng.random_range(edge..1.0 - edge), rng.random_range(edge..1.0 - edge)];
        let (sin, cos) = rng.random_range(-turn..turn).sin_cos();
        let stretch: f32 = rng.random_range(0.86..1.16);
        let shear = rng.random_range(-0.18..0.18);
        let tilt = 0.3 / radius;
        // Inverse of rotation × shear × stretch, by radius.
        let (wide, high) = (1.0 / (radius * stretch), stretch / radius);
        Self {
            centre,
            radius,
            inverse: [[wide * (cos + shear * sin), wide * (sin - shear * cos)], [-high * sin, high * cos]],
            tilt: [rng.random_range(-tilt..tilt) * 0.5, rng.random_range(-tilt..tilt) * 0.5],
        }
    }

    /// `true` if the shape or its shadow can reach `point`.
    fn is_near(&self, point: Point) -> bool {
        length([point[0] - self.centre[0], point[1] - self.centre[1]]) < REACH * self.radius
    }

    fn to_shape(&self, point: Point) -> Point {
        let offset = [point[0] - self.centre[0], point[1] - self.centre[1]];
        // Far from the shape the plane would fold over the horizon; there, stop short of it.
        let depth = (1.0 + self.tilt[0] * offset[0] + self.tilt[1] * offset[1]).max(0.3);
        self.inverse.map(|row| (row[0] * offset[0] + row[1] * offset[1]) / depth)
    }
}
