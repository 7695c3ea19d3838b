//! Cached plans with the working memory of earlier calls.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use super::memory::{Aligned, BumpAllocator};
use super::team::lock;

/// Maximum number of idle working memories of a plan. More are in use only while as many calls overlap, or while as many
/// forward passes wait for their backward pass.
const IDLE: usize = 2;

/// Working memory of a call: the arena of all threads, and the scratch memory of each.
pub(crate) struct WorkingMemory {
    arena: Aligned,
    scratch: Vec<Aligned>,
}

impl WorkingMemory {
    fn new(arena: usize, scratch: usize, threads: usize) -> Self {
        let line = |len: usize| len.next_multiple_of(16);
        let mut allocator = BumpAllocator::with_capacity(line(arena) + threads * line(scratch));
        Self { arena: allocator.zeroed(arena), scratch: (0..threads).map(|_| allocator.zeroed(scratch)).collect() }
    }

    /// Start of the arena, and of the scratch memory of each thread.
    pub(crate) fn pointers(&mut self) -> (*mut f32, Vec<*mut f32>) {
        (self.arena.as_mut_ptr(), self.scratch.iter_mut().map(Aligned::as_mut_ptr).collect())
    }

    fn bytes(&self) -> usize {
        4 * (self.arena.len() + self.scratch.iter().map(Aligned::len).sum::<usize>())
    }
}

/// A plan with the idle working memory of earlier calls.
pub(crate) struct CachedPlan<P> {
    pub(crate) plan: P,
    idle: Mutex<Vec<WorkingMemory>>,
}

impl<P> CachedPlan<P> {
    /// Idle memory, or new memory of `arena` floats and of `scratch` floats for each of `threads` threads.
    pub(crate) fn take(&self, arena: usize, scratch: usize, threads: usize) -> WorkingMemory {
        let idle = lock(&self.idle).pop();
        idle.unwrap_or_else(|| WorkingMemory::new(arena, scratch, threads))
    }

    /// Keeps memory from [`Self::take`] for another call, unless there is enough of it.
    pub(crate) fn give_back(&self, memory: WorkingMemory) {
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE {
            idle.push(memory);
        }
    }
}

/// Plans by the extents that they are for, a limited number of them.
pub(crate) struct Cache<K, P> {
    limit: usize,
    plans: Mutex<HashMap<K, Arc<CachedPlan<P>>>>,
}

impl<K: Eq + Hash, P> Cache<K, P> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, plans: Mutex::default() }
    }

    /// The plan for `key`, made by `plan` if there is none.
    ///
    /// # Errors
    /// Those of `plan`.
    pub(crate) fn get<E>(&self, key: K, plan: impl FnOnce() -> Result<P, E>) -> Result<Arc<CachedPlan<P>>, E> {
        if let Some(cached) = lock(&self.plans).get(&key) {
            return Ok(cached.clone());
        }
        // Other calls go on meanwhile.
        let cached = Arc::new(CachedPlan { plan: plan()?, idle: Mutex::default() });
        let mut plans = lock(&self.plans);
        if plans.len() >= self.limit {
            plans.clear();
        }
        Ok(plans.entry(key).or_insert(cached).clone())
    }

    /// Size in bytes of the idle memory of all plans.
    pub(crate) fn bytes(&self) -> usize {
        let plans = lock(&self.plans);
        plans.values().map(|plan| lock(&plan.idle).iter().map(WorkingMemory::bytes).sum::<usize>()).sum()
    }
}
