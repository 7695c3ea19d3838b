//! The embedded dataset: labelled pictures drawn from a seed, for training without any other data.
//!
//! Five silhouettes meet five textures in ten classes. Each silhouette and each texture occurs in exactly two of them,
//! so a network has to see both. Colour, pose, backdrop, clutter, light and camera are random and say nothing about the
//! class. The result is an ordinary tree of JPEG files in ImageNet's layout, read like any other.
//!
//! ```no_run
//! use bn_inception_data::drawn::{DrawnConfig, draw_dataset};
//!
//! let dataset = draw_dataset("drawn".as_ref(), &DrawnConfig::default())?;
//! println!("{} images under {}", dataset.images, dataset.root.display());
//! # Ok::<(), bn_inception_data::drawn::DrawnError>(())
//! ```

mod camera;
mod classes;
mod colour;
mod config;
mod dataset;
mod error;
mod scene;
mod shapes;
mod texture;

pub use classes::class_names;
pub use config::DrawnConfig;
pub use dataset::{DrawnDataset, draw_dataset};
pub use error::DrawnError;
