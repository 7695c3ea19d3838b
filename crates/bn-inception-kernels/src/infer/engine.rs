//! A network ready to run.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::kernel::Kernels;
use super::memory::{Aligned, Shelf};
use super::network::{Network, NetworkError};
use super::plan::{Algorithm, Filters, MOST_IMAGES, Plan, Setting};
use super::step::Context;
use super::team;

/// The environment variable that forces an instruction set: `avx512`, `avx2`, `neon` or `portable`.
const INSTRUCTION_SET: &str = "BN_INCEPTION_ISA";
/// Plans an engine keeps.
const PLANS: usize = 16;

/// How an [`Engine`] runs. The defaults choose by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Threads of one call. By default `RAYON_NUM_THREADS`, or as many as the machine runs at once.
    pub threads: Option<NonZeroUsize>,
    /// Instruction set: `avx512`, `avx2`, `neon` or `portable`. By default the environment variable `BN_INCEPTION_ISA`, or the
    /// best one the processor has.
    pub instruction_set: Option<String>,
    /// One algorithm for all 3×3 convolutions of stride 1, for tests and comparisons. By default each layer's best.
    pub algorithm: Option<Algorithm>,
}

/// What one call took in one layer, on the calling thread.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerTime {
    /// Block, layer and algorithm.
    pub name: String,
    /// Multiply-adds of the direct method.
    pub macs: u64,
    /// Time working; waiting for other threads has lines of its own, called `wait`.
    pub time: Duration,
}

/// A plan with working memory for the calls that run it.
struct Planned {
    plan: Plan,
    idle: Mutex<Vec<Memory>>,
}

struct Memory {
    arena: Aligned,
    scratch: Vec<Aligned>,
}

/// A network ready to run on batches of any size, from several threads at once.
pub struct Engine {
    network: Network,
    kernels: &'static Kernels,
    threads: usize,
    algorithm: Option<Algorithm>,
    filters: Filters,
    plans: Mutex<HashMap<[usize; 3], Arc<Planned>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("instruction_set", &self.kernels.name)
            .field("threads", &self.threads)
            .field("algorithm", &self.algorithm)
            .field("blocks", &self.network.blocks.len())
            .field("classes", &self.network.classes())
            .finish_non_exhaustive()
    }
}

/// A panic elsewhere leaves caches as they were: no reason to fail too.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn default_threads() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS").ok();
    let asked = asked.and_then(|n| n.parse().ok()).filter(|&n| n > 0);
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

impl Engine {
    /// Takes a network.
    ///
    /// # Errors
    /// Those of [`Network::validate`], and [`NetworkError::InstructionSet`] for a name the processor does not know.
    pub fn new(network: Network, options: &Options) -> Result<Self, NetworkError> {
        network.validate()?;
        let name = options.instruction_set.clone();
        let name = name.or_else(|| {
            std::env::var(INSTRUCTION_SET)
                .ok()
                .filter(|n| !n.is_empty())
        });
        let mut available = Kernels::available();
        let found = match &name {
            Some(name) => available.find(|k| k.name == name),
            None => available.next(),
        };
        let kernels = found.ok_or_else(|| NetworkError::InstructionSet {
            name: name.unwrap_or_default(),
            available: Self::instruction_sets(),
        })?;
        Ok(Self {
            network,
            kernels,
            threads: options
                .threads
                .map_or_else(default_threads, NonZeroUsize::get)
                .min(256),
            algorithm: options.algorithm,
            filters: Filters::new(),
            plans: Mutex::default(),
        })
    }

    /// Names of the instruction sets this processor can run, best first.
    pub fn instruction_sets() -> Vec<&'static str> {
        Kernels::available().map(|k| k.name).collect()
    }

    /// Multiply-adds per second that one thread reaches with this instruction set on registers alone, measured now in
    /// about 50 ms: what [`LayerTime`]s compare with.
    pub fn peak(&self) -> f64 {
        self.kernels.peak()
    }

    /// The instruction set in use.
    pub fn instruction_set(&self) -> &'static str {
        self.kernels.name
    }

    /// Threads of one call.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The network given to [`Engine::new`].
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Bytes of packed filters and of the working memory of all plans so far. The network's own weights come on top.
    pub fn memory(&self) -> usize {
        let plans = lock(&self.plans);
        let working: usize = plans
            .values()
            .map(|p| {
                let idle = lock(&p.idle);
                let scratch = |m: &Memory| m.scratch.iter().map(Aligned::len).sum::<usize>();
                idle.iter()
                    .map(|m| 4 * (m.arena.len() + scratch(m)))
                    .sum::<usize>()
            })
            .sum();
        working + self.filters.bytes()
    }

    /// Logits of `images`, `[batch, 3, height, width]`, into `logits`, `[batch, classes]`.
    ///
    /// # Errors
    /// [`NetworkError::Length`] if a slice does not have that length, [`NetworkError::TooSmall`] or
    /// [`NetworkError::TooLarge`] for image sizes the network cannot have.
    pub fn forward(
        &self,
        images: &[f32],
        size: [usize; 3],
        logits: &mut [f32],
    ) -> Result<(), NetworkError> {
        self.chunks(images, size, logits, &mut None)
    }

    /// [`Self::forward`], and how long each layer took in all, in the order in which they begin.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn profile(
        &self,
        images: &[f32],
        size: [usize; 3],
        logits: &mut [f32],
    ) -> Result<Vec<LayerTime>, NetworkError> {
        let mut times = Some(Vec::new());
        self.chunks(images, size, logits, &mut times)?;
        // A layer of the early stages has a step for every few images.
        let mut layers: Vec<LayerTime> = Vec::new();
        for step in times.unwrap_or_default() {
            match layers.iter_mut().find(|layer| layer.name == step.name) {
                Some(layer) => {
                    layer.macs += step.macs;
                    layer.time += step.time;
                }
                None => layers.push(step),
            }
        }
        Ok(layers)
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
            return Err(NetworkError::TooLarge {
                batch,
                height,
                width,
            });
        };
        for (what, each, total, found) in [
            ("images", image, image.saturating_mul(batch), images.len()),
            ("logits", classes, all_logits, logits.len()),
        ] {
            if total != found || each == 0 {
                return Err(NetworkError::Length {
                    layer: "forward".to_owned(),
                    what,
                    expected: total,
                    found,
                });
            }
        }
        // Equal chunks need one plan.
        let chunk = batch.div_ceil(batch.div_ceil(MOST_IMAGES).max(1)).max(1);
        for (images, logits) in images
            .chunks(image * chunk)
            .zip(logits.chunks_mut(classes * chunk))
        {
            let planned = self.planned([images.len() / image, height, width])?;
            self.run(&planned, images, logits, times);
        }
        Ok(())
    }

    fn planned(&self, size: [usize; 3]) -> Result<Arc<Planned>, NetworkError> {
        if let Some(planned) = lock(&self.plans).get(&size) {
            return Ok(planned.clone());
        }
        let setting = Setting {
            kernels: self.kernels,
            threads: self.threads,
            algorithm: self.algorithm,
            filters: &self.filters,
        };
        let plan = Plan::new(&self.network, size, &setting)?;
        let planned = Arc::new(Planned {
            plan,
            idle: Mutex::default(),
        });
        let mut plans = lock(&self.plans);
        if plans.len() >= PLANS {
            plans.clear();
        }
        Ok(plans.entry(size).or_insert(planned).clone())
    }

    fn run(
        &self,
        planned: &Planned,
        images: &[f32],
        logits: &mut [f32],
        times: &mut Option<Vec<LayerTime>>,
    ) {
        let plan = &planned.plan;
        assert!(images.len() == plan.input && logits.len() == plan.output);
        let idle = lock(&planned.idle).pop();
        let mut memory = idle.unwrap_or_else(|| {
            let line = |len: usize| len.next_multiple_of(16);
            let total = line(plan.arena) + self.threads * line(plan.scratch);
            let mut shelf = Shelf::with_room(total);
            Memory {
                arena: shelf.zeroed(plan.arena),
                scratch: (0..self.threads)
                    .map(|_| shelf.zeroed(plan.scratch))
                    .collect(),
            }
        });
        let job = Job {
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
        lock(&planned.idle).push(memory);
    }
}

/// One call, as its threads share it.
struct Job<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    arena: *mut f32,
    scratch: Vec<*mut f32>,
    input: *const f32,
    output: *mut f32,
}

// SAFETY: the pointers are to memory that the call owns or borrows until all its threads have ended. Through them a
// thread writes only its own share of each phase: places that no other thread reads or writes before the next barrier.
unsafe impl Sync for Job<'_> {}

impl Job<'_> {
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
        let mut note = |start: Option<Instant>, name: &str, macs| {
            if let Some(start) = start {
                times.push(LayerTime {
                    name: name.to_owned(),
                    macs,
                    time: start.elapsed(),
                });
            }
        };
        for phase in &self.plan.phases {
            for step in phase {
                let start = record.then(Instant::now);
                // SAFETY: `Plan::new` has checked the step; arena and scratch have the plan's lengths, input and output
                // were compared with it; the barrier below separates phases.
                unsafe { step.op.run(&context) };
                note(start, &step.name, step.macs);
            }
            let start = record.then(Instant::now);
            barrier.wait();
            note(start, "wait", 0);
        }
        times
    }
}
