//! From images to named classes, to vectors, and to the images that are like them.

mod classifier;
mod embedder;
mod embeddings;
mod ensemble;
mod image_source;
mod neighbours;
mod prediction;
mod retrieval;

pub use classifier::ImageClassifier;
pub use embedder::{EmbedError, ImageEmbedder};
pub use embeddings::{Embeddings, EmbeddingsError, EmbeddingsInfo, EmbeddingsProblem, LeftOut};
pub use ensemble::{Ensemble, EnsembleError, Views};
pub use image_source::{ImageSource, PredictError};
pub use neighbours::{Neighbour, NeighbourSearch};
pub use prediction::Prediction;
pub use retrieval::RetrievalScores;
