//! The inference engine: calls, packed filters and cached plans of a network.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::build::{Algorithm, PlanConfig};
use super::network::{Network, NetworkError};
use super::pack::FilterCache;
use super::plan::{MAX_IMAGES, Plan};
use crate::plan::context::Context;
use crate::plan::memory::{Aligned, BumpAllocator};
use crate::plan::team;
use crate::simd::kernels::Kernels;

/// Environment variable that selects an instruction set: `avx512`, `avx2`, `neon` or `portable`.
const INSTRUCTION_SET: &str = "BN_INCEPTION_ISA";
/// Maximum number of cached plans.
const PLANS: usize = 16;

/// Options of an [`Engine`]. Defaults are chosen automatically.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Number of threads of a call. Default: `RAYON_NUM_THREADS`, or the available parallelism.
    pub threads: Option<NonZeroUsize>,
    /// Instruction set: `avx512`, `avx2`, `neon` or `portable`. Default: the environment variable `BN_INCEPTION_ISA`,
    /// or the best one of the processor.
    pub instruction_set: Option<String>,
    /// One algorithm for all 3×3 convolutions of stride 1, for tests and comparisons. Default: the best for each layer.
    pub algorithm: Option<Algorithm>,
}

/// Time of one layer in a call, on the calling thread.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTime {
    /// Name of the layer and its algorithm.
    pub name: String,
    /// Number of multiply-adds of a direct convolution.
    pub macs: u64,
    /// Computation time; waiting for other threads has entries of its own, called `wait`.
    pub time: Duration,
}

/// A plan with the idle working memory of earlier calls.
struct CachedPlan {
    plan: Plan,
    idle: Mutex<Vec<WorkingMemory>>,
}

struct WorkingMemory {
    arena: Aligned,
    scratch: Vec<Aligned>,
}

/// A network ready to run on batches of any size, from several threads at once.
pub struct Engine {
    network: Network,
    kernels: &'static Kernels,
    threads: usize,
    algorithm: Option<Algorithm>,
    filters: FilterCache,
    plans: Mutex<HashMap<[usize; 3], Arc<CachedPlan>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("instruction_set", &self.kernels.name)
            .field("threads", &self.threads)
            .field("algorithm", &self.algorithm)
            .field("layers", &self.network.layers.len())
            .field("classes", &self.network.classes())
            .finish_non_exhaustive()
    }
}

/// Locks a mutex, poisoned or not: a panic elsewhere leaves the caches intact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Number of threads of a call, unless options say otherwise.
pub(crate) fn default_threads() -> usize {
    let requested = std::env::var("RAYON_NUM_THREADS").ok();
    let requested = requested.and_then(|n| n.parse().ok()).filter(|&n| n > 0);
    requested.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

/// The loops of an instruction set: the one of this name, that in [`INSTRUCTION_SET`], or the best.
///
/// # Errors
/// [`NetworkError::InstructionSet`] if it is unknown or not available.
pub(crate) fn select_kernels(name: Option<&str>) -> Result<&'static Kernels, NetworkError> {
    let name = name.map(str::to_owned).or_else(|| std::env::var(INSTRUCTION_SET).ok().filter(|n| !n.is_empty()));
    let mut available = Kernels::available();
    let found = match &name {
        Some(name) => available.find(|k| k.name == name),
        None => available.next(),
    };
    found.ok_or_else(|| NetworkError::InstructionSet {
        name: name.unwrap_or_default(),
        available: Kernels::available().map(|k| k.name).collect(),
    })
}

impl LayerTime {
    /// The total time of each layer, in order of first appearance: a layer may have several steps.
    pub(crate) fn merge(steps: Vec<Self>) -> Vec<Self> {
        let mut layers: Vec<Self> = Vec::new();
        for step in steps {
            match layers.iter_mut().find(|layer| layer.name == step.name) {
                Some(layer) => {
                    layer.macs += step.macs;
                    layer.time += step.time;
                }
                None => layers.push(step),
            }
        }
        layers
    }
}

impl Engine {
    /// Engine for a network.
    ///
    /// # Errors
    /// The errors of [`Network::validate`], and [`NetworkError::InstructionSet`] for an instruction set that is unknown
    /// or not available.
    pub fn new(network: Network, options: &Options) -> Result<Self, NetworkError> {
        network.validate()?;
        let kernels = select_kernels(options.instruction_set.as_deref())?;
        Ok(Self {
            network,
            kernels,
            threads: options.threads.map_or_else(default_threads, NonZeroUsize::get).min(256),
            algorithm: options.algorithm,
            filters: FilterCache::new(),
            plans: Mutex::default(),
        })
    }

    /// Names of the available instruction sets, best first.
    pub fn instruction_sets() -> Vec<&'static str> {
        Kernels::available().map(|k| k.name).collect()
    }

    /// Peak multiply-adds per second of one thread with this instruction set, without memory access: the upper bound
    /// for [`LayerTime`]s. Each call measures it, in about 50 ms.
    pub fn peak(&self) -> f64 {
        self.kernels.peak()
    }

    /// The instruction set in use.
    pub fn instruction_set(&self) -> &'static str {
        self.kernels.name
    }

    /// Number of threads of a call.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The network given to [`Engine::new`].
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Size in bytes of the packed filters and of the working memory of all cached plans, without the network itself.
    pub fn memory(&self) -> usize {
        let plans = lock(&self.plans);
        let working: usize = plans
            .values()
            .map(|p| {
                let idle = lock(&p.idle);
                let scratch = |m: &WorkingMemory| m.scratch.iter().map(Aligned::len).sum::<usize>();
                idle.iter().map(|m| 4 * (m.arena.len() + scratch(m))).sum::<usize>()
            })
            .sum();
        working + self.filters.bytes()
    }

    /// Computes the logits `[batch, classes]` of `images`, `[batch, 3, height, width]`.
    ///
    /// # Errors
    /// [`NetworkError::Length`] for a slice of another length, [`NetworkError::TooSmall`] or [`NetworkError::TooLarge`]
    /// for unsupported image sizes.
    pub fn forward(&self, images: &[f32], size: [usize; 3], logits: &mut [f32]) -> Result<(), NetworkError> {
        self.chunks(images, size, logits, &mut None)
    }

    /// [`Self::forward`], and the total time of each layer, in order of their start.
    ///
    /// # Errors
    /// The errors of [`Self::forward`].
    pub fn profile(
        &self,
        images: &[f32],
        size: [usize; 3],
        logits: &mut [f32],
    ) -> Result<Vec<LayerTime>, NetworkError> {
        let mut times = Some(Vec::new());
        self.chunks(images, size, logits, &mut times)?;
        Ok(LayerTime::merge(times.unwrap_or_default()))
    }

    fn chunks(
        &self,
        images: &[f32],
        [batch, height, width]: [usize; 3],
        logits: &mut [f32],
        times: &mut Option<Vec<LayerTime>>,
    ) -> Result<(), NetworkError> {
        let classes = self.network.classes();
        let image = height.checked_mul(width).and_then(|n| n.checked_mul(3));
        let (Some(image), Some(all_logits)) = (image, batch.checked_mul(classes)) else {
            return Err(NetworkError::TooLarge { batch, height, width });
        };
        for (what, each, total, found) in [
            ("images", image, image.saturating_mul(batch), images.len()),
            ("logits", classes, all_logits, logits.len()),
        ] {
            if total != found || each == 0 {
                return Err(NetworkError::Length { layer: "forward".to_owned(), what, expected: total, found });
            }
        }
        // Chunks of equal size share one plan.
        let chunk = batch.div_ceil(batch.div_ceil(MAX_IMAGES).max(1)).max(1);
        for (images, logits) in images.chunks(image * chunk).zip(logits.chunks_mut(classes * chunk)) {
            let cached = self.cached_plan([images.len() / image, height, width])?;
            self.run(&cached, images, logits, times);
        }
        Ok(())
    }

    fn cached_plan(&self, size: [usize; 3]) -> Result<Arc<CachedPlan>, NetworkError> {
        if let Some(cached) = lock(&self.plans).get(&size) {
            return Ok(cached.clone());
        }
        let config = PlanConfig {
            kernels: self.kernels,
            threads: self.threads,
            algorithm: self.algorithm,
            filters: &self.filters,
        };
        let plan = Plan::new(&self.network, size, &config)?;
        let cached = Arc::new(CachedPlan { plan, idle: Mutex::default() });
        let mut plans = lock(&self.plans);
        if plans.len() >= PLANS {
            plans.clear();
        }
        Ok(plans.entry(size).or_insert(cached).clone())
    }

    fn run(&self, cached: &CachedPlan, images: &[f32], logits: &mut [f32], times: &mut Option<Vec<LayerTime>>) {
        let plan = &cached.plan;
        assert!(images.len() == plan.input && logits.len() == plan.output);
        let idle = lock(&cached.idle).pop();
        let mut memory = idle.unwrap_or_else(|| {
            let line = |len: usize| len.next_multiple_of(16);
            let total = line(plan.arena) + self.threads * line(plan.scratch);
            let mut allocator = BumpAllocator::with_capacity(total);
            WorkingMemory {
                arena: allocator.zeroed(plan.arena),
                scratch: (0..self.threads).map(|_| allocator.zeroed(plan.scratch)).collect(),
            }
        });
        let job = Call {
            engine: self,
            plan,
            arena: memory.arena.as_mut_ptr(),
            scratch: memory.scratch.iter_mut().map(Aligned::as_mut_ptr).collect(),
            input: images.as_ptr(),
            output: logits.as_mut_ptr(),
        };
        let record = times.is_some();
        let found = Mutex::new(Vec::new());
        team::run(self.threads, |thread, barrier| {
            let times = job.work(thread, barrier, record && thread == 0);
            if thread == 0 {
                *lock(&found) = times;
            }
        });
        if let Some(times) = times {
            times.append(&mut lock(&found));
        }
        lock(&cached.idle).push(memory);
    }
}

/// The state of one call that its threads share.
struct Call<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    arena: *mut f32,
    scratch: Vec<*mut f32>,
    input: *const f32,
    output: *mut f32,
}

// SAFETY: the pointers refer to memory that the call owns or borrows until all its threads have ended. Through them a
// thread writes only its own share of each phase, which no other thread reads or writes before the next barrier.
unsafe impl Sync for Call<'_> {}

impl Call<'_> {
    fn work(&self, thread: usize, barrier: &team::Barrier, record: bool) -> Vec<LayerTime> {
        let context = Context {
            kernels: self.engine.kernels,
            threads: self.engine.threads,
            thread,
            arena: self.arena,
            offsets: &self.plan.offsets,
            scratch: self.scratch[thread],
            input: self.input,
            output: self.output,
        };
        let mut times = Vec::new();
        let mut record_time = |start: Option<Instant>, name: &str, macs| {
            if let Some(start) = start {
                times.push(LayerTime { name: name.to_owned(), macs, time: start.elapsed() });
            }
        };
        for phase in &self.plan.phases {
            for step in phase {
                let start = record.then(Instant::now);
                // SAFETY: `Plan::new` has checked the step; arena and scratch memory have the lengths in the plan,
                // input and output were compared with them; the barrier below separates phases.
                unsafe { step.op.run(&context) };
                record_time(start, &step.name, step.macs);
            }
            let start = record.then(Instant::now);
            barrier.wait();
            record_time(start, "wait", 0);
        }
        times
    }
}
