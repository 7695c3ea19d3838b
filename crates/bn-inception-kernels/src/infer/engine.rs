//! The inference engine: calls, packed filters and cached plans of a network.

use std::num::NonZeroUsize;
use std::sync::Mutex;

use super::build::{Algorithm, PlanConfig};
use super::network::Network;
use super::pack::FilterCache;
use super::plan::{MAX_IMAGES, Plan};
use super::prefix::End;
use crate::plan::cache::{Cache, CachedPlan};
use crate::plan::context::Context;
use crate::plan::error::NetworkError;
use crate::plan::options::{select_kernels, threads};
use crate::plan::precision::Precision;
use crate::plan::team::{self, lock};
use crate::plan::time::{LayerTime, Stopwatch};
use crate::simd::kernels::Kernels;

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
    /// Numbers to compute with.
    pub precision: Precision,
    /// One algorithm for all 3×3 convolutions of stride 1, for tests and comparisons. Default: the best for each layer.
    pub algorithm: Option<Algorithm>,
}

/// A network ready to run on batches of any size, from several threads at once.
pub struct Engine {
    network: Network,
    kernels: &'static Kernels,
    threads: usize,
    algorithm: Option<Algorithm>,
    filters: FilterCache,
    plans: Cache<(End, [usize; 3]), Plan>,
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

impl Engine {
    /// Engine for a network.
    ///
    /// # Errors
    /// The errors of [`Network::validate`], and [`NetworkError::InstructionSet`] for an instruction set that is unknown
    /// or not available.
    pub fn new(network: Network, options: &Options) -> Result<Self, NetworkError> {
        network.validate()?;
        let kernels = select_kernels(options.instruction_set.as_deref(), options.precision)?;
        Ok(Self {
            network,
            kernels,
            threads: threads(options.threads),
            algorithm: options.algorithm,
            filters: FilterCache::new(),
            plans: Cache::new(PLANS),
        })
    }

    /// Name of the instruction set that both engines use without options: that in the environment variable
    /// `BN_INCEPTION_ISA`, or the best one of the processor.
    ///
    /// # Errors
    /// [`NetworkError::InstructionSet`] if the variable names one that is unknown or not available.
    pub fn default_instruction_set() -> Result<&'static str, NetworkError> {
        Ok(select_kernels(None, Precision::default())?.name)
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

    /// Numbers that plans compute with.
    pub fn precision(&self) -> Precision {
        self.kernels.precision
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
        self.plans.bytes() + self.filters.bytes()
    }

    /// Computes the output of the network, of [`Self::output_shape`], for `images`, `[batch, 3, height, width]`.
    ///
    /// # Errors
    /// [`NetworkError::Length`] for a slice of another length, [`NetworkError::TooSmall`] or [`NetworkError::TooLarge`]
    /// for unsupported image sizes.
    pub fn forward(&self, images: &[f32], size: [usize; 3], output: &mut [f32]) -> Result<(), NetworkError> {
        self.chunks(self.end(), images, size, output, &mut None)
    }

    /// Computes the output at `end`, of [`Self::output_shape_at`], for `images`, `[batch, 3, height, width]`, and no layer
    /// after it. Calls with different ends share all filters.
    ///
    /// # Errors
    /// The errors of [`Self::forward`]; [`NetworkError::Layer`] if the network has no such layer, if the layers up to it
    /// are not a network that [`Network::validate`] accepts, or for the means of logits.
    pub fn forward_to(
        &self,
        end: End,
        images: &[f32],
        size: [usize; 3],
        output: &mut [f32],
    ) -> Result<(), NetworkError> {
        self.chunks(end, images, size, output, &mut None)
    }

    /// Dimensions of the network's output for `[batch, height, width]` of images: `[batch, classes]` with a classifier,
    /// `[batch, channels, height, width]` without.
    ///
    /// # Errors
    /// [`NetworkError::TooSmall`] or [`NetworkError::TooLarge`].
    pub fn output_shape(&self, size: [usize; 3]) -> Result<Vec<usize>, NetworkError> {
        self.output_shape_at(self.end(), size)
    }

    /// Dimensions of the output at `end` for `[batch, height, width]` of images.
    ///
    /// # Errors
    /// [`NetworkError::TooSmall`] or [`NetworkError::TooLarge`], and [`NetworkError::Layer`] as in
    /// [`Self::forward_to`].
    pub fn output_shape_at(&self, end: End, size: [usize; 3]) -> Result<Vec<usize>, NetworkError> {
        self.network.prefix(end)?.output_shape(size)
    }

    /// [`Self::forward`], and the total time of each layer, in order of their start.
    ///
    /// # Errors
    /// The errors of [`Self::forward`].
    pub fn profile(
        &self,
        images: &[f32],
        size: [usize; 3],
        output: &mut [f32],
    ) -> Result<Vec<LayerTime>, NetworkError> {
        let mut times = Some(Vec::new());
        self.chunks(self.end(), images, size, output, &mut times)?;
        Ok(LayerTime::merge(times.unwrap_or_default()))
    }

    /// The end of a call that computes the whole network.
    pub fn end(&self) -> End {
        End::Layer(self.network.layers.len() - 1)
    }

    fn chunks(
        &self,
        end: End,
        images: &[f32],
        [batch, height, width]: [usize; 3],
        output: &mut [f32],
        times: &mut Option<Vec<LayerTime>>,
    ) -> Result<(), NetworkError> {
        let wrong = |what, expected: usize, found| {
            let layer = "forward".to_owned();
            Err(NetworkError::Length { layer, what, expected, found })
        };
        let image = height.checked_mul(width).and_then(|n| n.checked_mul(3));
        let image = image.ok_or(NetworkError::TooLarge { batch, height, width })?;
        let expected = image.saturating_mul(batch);
        if expected != images.len() || image == 0 {
            return wrong("images", expected, images.len());
        }
        if batch == 0 {
            self.network.prefix(end)?;
            return if output.is_empty() { Ok(()) } else { wrong("output", 0, output.len()) };
        }
        // Chunks of equal size share one plan.
        let chunk = batch.div_ceil(batch.div_ceil(MAX_IMAGES));
        let plan = |batch: usize| {
            let size = [batch, height, width];
            self.plans.get((end, size), || self.plan(end, size))
        };
        let each: usize = plan(chunk)?.plan.output[1..].iter().product();
        let expected = each.saturating_mul(batch);
        if expected != output.len() {
            return wrong("output", expected, output.len());
        }
        for (images, output) in images.chunks(image * chunk).zip(output.chunks_mut(each * chunk)) {
            self.run(&*plan(images.len() / image)?, images, output, times);
        }
        Ok(())
    }

    fn plan(&self, end: End, size: [usize; 3]) -> Result<Plan, NetworkError> {
        let config = PlanConfig {
            kernels: self.kernels,
            threads: self.threads,
            algorithm: self.algorithm,
            filters: &self.filters,
        };
        Plan::new(&self.network.prefix(end)?, size, &config)
    }

    fn run(&self, cached: &CachedPlan<Plan>, images: &[f32], output: &mut [f32], times: &mut Option<Vec<LayerTime>>) {
        let plan = &cached.plan;
        assert!(images.len() == plan.input && output.len() == plan.output.iter().product::<usize>());
        let mut memory = cached.take(plan.arena, plan.scratch, self.threads);
        let (arena, scratch) = memory.pointers();
        let job = Call { engine: self, plan, arena, scratch, input: images.as_ptr(), output: output.as_mut_ptr() };
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
        cached.give_back(memory);
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
        let mut stopwatch = Stopwatch::new(record);
        for phase in &self.plan.phases {
            for step in phase {
                // SAFETY: `Plan::new` has checked the step; arena and scratch memory have the lengths in the plan,
                // input and output were compared with them; the barrier below separates phases.
                stopwatch.time(&step.name, step.macs, || unsafe { step.op.run(&context) });
            }
            stopwatch.time("wait", 0, || barrier.wait());
        }
        stopwatch.times()
    }
}
