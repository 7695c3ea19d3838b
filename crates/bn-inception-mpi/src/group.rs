//! The group over MPI's collective operations.

use std::sync::Arc;

use bn_inception_train::group::{Group, sum_in_tree};
use mpi::request;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use crate::watch::Watch;

/// Numbers summed at a time, 4 MiB: while one bucket is summed, the next is on its way.
const BUCKET: usize = 1 << 20;

/// Bytes that a rank sends at a time. MPI counts in 32 bits.
const CHUNK: usize = 1 << 20;

/// The processes of `MPI_COMM_WORLD`.
pub(crate) struct MpiGroup {
    rank: usize,
    size: usize,
    watch: Arc<Watch>,
}

impl MpiGroup {
    pub(crate) fn new(rank: usize, size: usize, watch: Arc<Watch>) -> Self {
        Self { rank, size, watch }
    }
}

impl Group for MpiGroup {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    /// Of each bucket, every rank sums one piece, which it gets from all ranks and sends to all.
    fn reduce(&self, values: &mut [f32], ranks: usize) {
        let _call = self.watch.call();
        let world = SimpleCommunicator::world();
        // Buckets of equal size, with zeros at the end of the last.
        let piece = values.len().min(BUCKET).div_ceil(self.size);
        let bucket = piece * self.size;
        let pack = |bucket: &[f32], send: &mut [f32]| {
            send[..bucket.len()].copy_from_slice(bucket);
            send[bucket.len()..].fill(0.0);
        };
        let [mut send, mut next, mut now, mut sums] = [(); 4].map(|()| vec![0.0_f32; bucket]);
        let starts: Vec<_> = (0..values.len()).step_by(bucket.max(1)).collect();
        if !values.is_empty() {
            pack(&values[..bucket.min(values.len())], &mut send);
            world.all_to_all_into(&send[..], &mut now[..]);
        }
        for start in starts {
            let end = values.len().min(start + bucket);
            let following = &values[end..values.len().min(end + bucket)];
            pack(following, &mut send);
            request::scope(|scope| {
                let request =
                    (!following.is_empty()).then(|| world.immediate_all_to_all_into(scope, &send[..], &mut next[..]));
                let mut pieces: Vec<_> = now.chunks_exact_mut(piece).take(ranks).collect();
                sum_in_tree(&mut pieces);
                world.all_gather_into(&now[..piece], &mut sums[..]);
                if let Some(request) = request {
                    request.wait();
                }
            });
            values[start..end].copy_from_slice(&sums[..end - start]);
            std::mem::swap(&mut now, &mut next);
        }
    }

    fn gather(&self, record: &[u8]) -> Vec<Vec<u8>> {
        let _call = self.watch.call();
        let world = SimpleCommunicator::world();
        let mut lengths = vec![0_u64; self.size];
        world.all_gather_into(&(record.len() as u64), &mut lengths[..]);
        let mut records: Vec<_> = lengths.iter().map(|length| Vec::with_capacity(*length as usize)).collect();
        let longest = lengths.iter().max().map_or(0, |length| *length as usize);
        let chunk = longest.min(CHUNK);
        let (mut own, mut all) = (vec![0_u8; chunk], vec![0_u8; chunk * self.size]);
        for start in (0..longest).step_by(chunk.max(1)) {
            let part = &record[record.len().min(start)..record.len().min(start + chunk)];
            own[..part.len()].copy_from_slice(part);
            world.all_gather_into(&own[..], &mut all[..]);
            for ((record, length), part) in records.iter_mut().zip(&lengths).zip(all.chunks_exact(chunk)) {
                let missing = (*length as usize - record.len()).min(chunk);
                record.extend_from_slice(&part[..missing]);
            }
        }
        records
    }

    fn broadcast(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let _call = self.watch.call();
        let first = SimpleCommunicator::world();
        let first = first.process_at_rank(0);
        let mut length = bytes.len() as u64;
        first.broadcast_into(&mut length);
        bytes.resize(length as usize, 0);
        for chunk in bytes.chunks_mut(CHUNK) {
            first.broadcast_into(chunk);
        }
        bytes
    }

    fn abort(&self) -> ! {
        SimpleCommunicator::world().abort(1)
    }
}
