//! Exact nearest neighbours of vectors, by cosine.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use serde::Serialize;

use super::embedder::normalised;

/// Queries of one matrix product.
const QUERIES: usize = 256;

/// Vectors that they are compared with in one product: its result, 16 MB, is read while it is in the cache of a server.
const VECTORS: usize = 16_384;

/// A vector near to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Neighbour {
    /// Position of the vector.
    pub index: usize,
    /// Cosine of the angle between the two, −1 to 1; 0 if one of them is zero.
    pub cosine: f32,
}

/// Vectors to search for those nearest to others: by comparing with each, in blocks of a matrix product.
///
/// ```
/// use bn_inception::{NeighbourSearch, burn::tensor::Device};
///
/// let vectors = [1.0, 0.0, /* */ 0.0, 2.0, /* */ 3.0, 1.0];
/// let search = NeighbourSearch::new(&vectors, 2, &Device::flex());
/// let nearest = search.nearest(&[5.0, 1.0], 2);
/// assert_eq!([nearest[0][0].index, nearest[0][1].index], [2, 0]);
/// assert_eq!(search.nearest_others(1..2, 1)[0][0].index, 2);
/// ```
#[derive(Debug)]
pub struct NeighbourSearch {
    /// Blocks of vectors of length 1, `[n, dimension]`.
    blocks: Vec<Tensor<2>>,
    vectors: Vec<f32>,
    dimension: usize,
    device: Device,
}

impl NeighbourSearch {
    /// A search among `vectors`, one after the other, of `dimension` values each. Their lengths do not matter. Products
    /// are computed on `device`.
    ///
    /// # Panics
    /// If `dimension` is 0, or the number of values no multiple of it.
    pub fn new(vectors: &[f32], dimension: usize, device: &Device) -> Self {
        assert!(
            dimension > 0 && vectors.len().is_multiple_of(dimension),
            "{} values of {dimension} each",
            vectors.len()
        );
        let vectors: Vec<f32> = vectors.par_chunks(dimension).flat_map_iter(normalised_or_zero).collect();
        let device = device.clone().inner();
        let blocks = vectors.chunks(VECTORS * dimension).map(|block| matrix(block, dimension, &device)).collect();
        Self { blocks, vectors, dimension, device }
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.vectors.len() / self.dimension
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// The `count` vectors nearest to each of `queries`, nearest first; of equally near ones the first.
    ///
    /// # Panics
    /// If the number of values is no multiple of the dimension.
    pub fn nearest(&self, queries: &[f32], count: usize) -> Vec<Vec<Neighbour>> {
        assert!(queries.len().is_multiple_of(self.dimension), "{} values of {} each", queries.len(), self.dimension);
        let queries: Vec<f32> = queries.par_chunks(self.dimension).flat_map_iter(normalised_or_zero).collect();
        self.search(&queries, count, None)
    }

    /// The `count` other vectors nearest to each of those at the positions `queries`.
    ///
    /// # Panics
    /// If a position is not below [`Self::len`].
    pub fn nearest_others(&self, queries: Range<usize>, count: usize) -> Vec<Vec<Neighbour>> {
        let values = queries.start * self.dimension..queries.end * self.dimension;
        self.search(&self.vectors[values], count, Some(queries.start))
    }

    /// `own` is the position of the first query, where it is left out, as the next ones are at the next positions.
    fn search(&self, queries: &[f32], count: usize, own: Option<usize>) -> Vec<Vec<Neighbour>> {
        let mut found = Vec::with_capacity(queries.len() / self.dimension);
        for (number, block) in queries.chunks(QUERIES * self.dimension).enumerate() {
            let rows = block.len() / self.dimension;
            let matrix = matrix(block, self.dimension, &self.device);
            let mut best = vec![Vec::with_capacity(count + 1); rows];
            for (place, vectors) in self.blocks.iter().enumerate() {
                let columns = vectors.dims()[0];
                let cosines = matrix.clone().matmul(vectors.clone().transpose()).into_data().convert::<f32>();
                let cosines = cosines.as_slice::<f32>().expect("converted to f32");
                best.par_iter_mut().zip(cosines.par_chunks_exact(columns)).enumerate().for_each(
                    |(row, (best, cosines))| {
                        let own = own.map(|first| first + number * QUERIES + row);
                        keep_best(best, cosines, place * VECTORS, count, own);
                    },
                );
            }
            found.extend(best);
        }
        found
    }
}

fn normalised_or_zero(vector: &[f32]) -> Vec<f32> {
    let finite = vector.iter().all(|value| value.is_finite());
    if finite { normalised(vector) } else { vec![0.0; vector.len()] }
}

fn matrix(values: &[f32], dimension: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / dimension, dimension]), device)
}

/// Adds to `best`, `count` neighbours at most and sorted, those of the vectors from position `start` on that are nearer.
fn keep_best(best: &mut Vec<Neighbour>, cosines: &[f32], start: usize, count: usize, own: Option<usize>) {
    for (index, cosine) in (start..).zip(cosines.iter().copied()) {
        let is_near = best.len() < count || best.last().is_some_and(|last| cosine > last.cosine);
        if is_near && own != Some(index) {
            let place = best.partition_point(|neighbour| neighbour.cosine >= cosine);
            best.insert(place, Neighbour { index, cosine });
            best.truncate(count);
        }
    }
}
