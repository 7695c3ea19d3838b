//! The training engine: calls, cached plans and working memory of a network.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::plan::cache::{Cache, CachedPlan, WorkingMemory};
use crate::plan::context::Context;
use crate::plan::error::NetworkError;
use crate::plan::options::{select_kernels, threads};
use crate::plan::precision::Precision;
use crate::plan::team::{self, lock};
use crate::plan::time::{LayerTime, Stopwatch};
use crate::simd::kernels::Kernels;

use super::call::{Buffers, ConvBuffers, Gradients, GradientsOf, Parameters, Statistics, check_parameters};
use super::network::{Network, Operation};
use super::plan::Plan;
use super::step::Step;

/// Maximum number of cached plans.
const PLANS: usize = 8;

/// Options of a [`Trainer`]. Defaults are chosen automatically.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Number of threads of a call. Default: `RAYON_NUM_THREADS`, or the available parallelism.
    pub threads: Option<NonZeroUsize>,
    /// Instruction set: `avx512`, `avx2`, `neon` or `portable`. Default: the environment variable `BN_INCEPTION_ISA`,
    /// or the best one of the processor.
    pub instruction_set: Option<String>,
    /// Numbers to compute with.
    pub precision: Precision,
}

/// Identity of a [`Trainer`], for its tapes: one with the memory and the plan of another would corrupt memory.
type Identity = Arc<()>;

/// A network, or a part of one, ready to compute outputs and gradients for batches of any size.
pub struct Trainer {
    network: Network,
    kernels: &'static Kernels,
    threads: usize,
    identity: Identity,
    plans: Cache<([usize; 3], GradientsOf), Plan>,
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("instruction_set", &self.kernels.name)
            .field("threads", &self.threads)
            .field("layers", &self.network.layers.len())
            .finish_non_exhaustive()
    }
}

/// Results of a forward pass.
#[derive(Debug)]
pub struct Forward {
    /// The network's output.
    pub output: Vec<f32>,
    /// Its dimensions: `[N, C]` for a mean, `[N, C, H, W]` otherwise.
    pub shape: Vec<usize>,
    /// Statistics of the batch for each convolution, in order; of a variance 1 and a mean 0 where it did not normalise.
    pub statistics: Vec<Statistics>,
    /// The backward pass's needs, if it was asked for.
    pub tape: Option<Tape>,
}

/// The state of a forward pass that its backward pass needs: convolutions' outputs and the input, in working memory
/// that returns to the [`Trainer`] with the last use.
pub struct Tape {
    cached: Arc<CachedPlan<Plan>>,
    trainer: Identity,
    memory: Option<WorkingMemory>,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("output", &self.cached.plan.output).finish_non_exhaustive()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.cached.give_back(memory);
        }
    }
}

impl Trainer {
    /// Engine for a network.
    ///
    /// # Errors
    /// The errors of [`Network::validate`], and [`NetworkError::InstructionSet`] for an instruction set that is unknown
    /// or not available.
    pub fn new(network: Network, options: &Options) -> Result<Self, NetworkError> {
        network.validate()?;
        Ok(Self {
            network,
            kernels: select_kernels(options.instruction_set.as_deref(), options.precision)?,
            threads: threads(options.threads),
            identity: Identity::default(),
            plans: Cache::new(PLANS),
        })
    }

    /// The network given to [`Self::new`].
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// True if the network's source is images.
    pub fn images(&self) -> bool {
        self.network.layers.first().is_some_and(|source| source.operation == Operation::Images)
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

    /// Peak multiply-adds per second of one thread with this instruction set, without memory access. Each call measures
    /// it, in about 50 ms.
    pub fn peak(&self) -> f64 {
        self.kernels.peak()
    }

    /// Size in bytes of the working memory of all cached plans that is not in use.
    pub fn memory(&self) -> usize {
        self.plans.bytes()
    }

    /// The output for an input of `[N, C, H, W]` with `size` = `[N, H, W]`, and a [`Tape`] for [`Self::backward`] if
    /// `gradients` is set.
    ///
    /// # Errors
    /// [`NetworkError::Length`] for a slice of another length, [`NetworkError::TooSmall`] or [`NetworkError::TooLarge`]
    /// for unsupported sizes, [`NetworkError::Layer`] for no images or a concatenation of maps of several sizes.
    pub fn forward(
        &self,
        input: &[f32],
        size: [usize; 3],
        parameters: &[Parameters<'_>],
        gradients: GradientsOf,
    ) -> Result<Forward, NetworkError> {
        self.run_forward(input, size, parameters, gradients, &mut None)
    }

    fn run_forward(
        &self,
        input: &[f32],
        size: [usize; 3],
        parameters: &[Parameters<'_>],
        gradients: GradientsOf,
        times: &mut Option<Vec<LayerTime>>,
    ) -> Result<Forward, NetworkError> {
        check_parameters(&self.network, parameters)?;
        let [batch, height, width] = size;
        let extents = [batch, self.network.channels()[0], height, width];
        let expected = extents.into_iter().try_fold(1, usize::checked_mul);
        let expected = expected.ok_or(NetworkError::TooLarge { batch, height, width })?;
        if input.len() != expected {
            let layer = "forward".to_owned();
            return Err(NetworkError::Length { layer, what: "input", expected, found: input.len() });
        }
        let plan = || Plan::new(&self.network, size, gradients, self.kernels, self.threads);
        let cached = self.plans.get((size, gradients), plan)?;
        let plan = &cached.plan;
        let convs = self.network.convs().zip(&plan.counts);
        let mut statistics: Vec<Statistics> = convs.map(|(conv, &count)| Statistics::zeros(conv, count)).collect();
        let mut output = vec![0.0; plan.output.iter().product()];
        let convs: Vec<ConvBuffers> = parameters
            .iter()
            .zip(&mut statistics)
            .map(|(parameters, to)| ConvBuffers {
                mean: to.mean.as_mut_ptr(),
                variance: to.variance.as_mut_ptr(),
                ..ConvBuffers::reading(parameters)
            })
            .collect();
        let memory = cached.take(plan.arena, plan.scratch, self.threads);
        let mut tape = Tape { cached: cached.clone(), trainer: self.identity.clone(), memory: Some(memory) };
        let buffers = Buffers { convs: &convs, output_gradient: std::ptr::null() };
        self.run(&mut tape, 0..plan.forward, (input, &mut output), &buffers, times);
        let tape = (gradients != GradientsOf::Nothing).then_some(tape);
        Ok(Forward { output, shape: plan.output.clone(), statistics, tape })
    }

    /// Gradients of the parameters, in order, and of the input if the forward pass was asked for it, from the gradient
    /// of the output. `parameters` are those of the forward pass.
    ///
    /// # Errors
    /// [`NetworkError::Length`] for a slice of another length.
    ///
    /// # Panics
    /// If another trainer has recorded the tape.
    pub fn backward(
        &self,
        tape: Tape,
        parameters: &[Parameters<'_>],
        output_gradient: &[f32],
    ) -> Result<(Vec<Gradients>, Option<Vec<f32>>), NetworkError> {
        self.run_backward(tape, parameters, output_gradient, &mut None)
    }

    fn run_backward(
        &self,
        mut tape: Tape,
        parameters: &[Parameters<'_>],
        output_gradient: &[f32],
        times: &mut Option<Vec<LayerTime>>,
    ) -> Result<(Vec<Gradients>, Option<Vec<f32>>), NetworkError> {
        check_parameters(&self.network, parameters)?;
        let cached = tape.cached.clone();
        assert!(Arc::ptr_eq(&tape.trainer, &self.identity), "the tape of another trainer");
        let plan = &cached.plan;
        let expected: usize = plan.output.iter().product();
        if output_gradient.len() != expected {
            let (layer, what) = ("backward".to_owned(), "gradient of the output");
            return Err(NetworkError::Length { layer, what, expected, found: output_gradient.len() });
        }
        let mut gradients: Vec<Gradients> = self.network.convs().map(Gradients::zeros).collect();
        let mut input_gradient = plan.input_gradient.map(|dims| vec![0.0; dims.iter().product()]);
        let convs: Vec<ConvBuffers> = parameters
            .iter()
            .zip(&mut gradients)
            .map(|(parameters, to)| ConvBuffers {
                d_weight: to.weight.as_mut_ptr(),
                d_scale: to.scale.as_mut_ptr(),
                d_shift: to.shift.as_mut_ptr(),
                ..ConvBuffers::reading(parameters)
            })
            .collect();
        let output = input_gradient.as_deref_mut().unwrap_or_default();
        let buffers = Buffers { convs: &convs, output_gradient: output_gradient.as_ptr() };
        self.run(&mut tape, plan.forward..plan.phases.len(), (&[], output), &buffers, times);
        Ok((gradients, input_gradient))
    }

    /// [`Self::forward`] and [`Self::backward`] with an output gradient of ones, and the total time of each step on the
    /// calling thread in order of their start; waiting for other threads has entries of its own, called `wait`.
    ///
    /// # Errors
    /// The errors of both.
    pub fn profile(
        &self,
        input: &[f32],
        size: [usize; 3],
        parameters: &[Parameters<'_>],
    ) -> Result<Vec<LayerTime>, NetworkError> {
        let mut times = Some(Vec::new());
        let forward = self.run_forward(input, size, parameters, GradientsOf::Parameters, &mut times)?;
        if let Some(tape) = forward.tape {
            self.run_backward(tape, parameters, &vec![1.0; forward.output.len()], &mut times)?;
        }
        Ok(LayerTime::merge(times.unwrap_or_default()))
    }

    /// Runs a range of phases. Input, output and buffers have been checked.
    fn run(
        &self,
        tape: &mut Tape,
        phases: std::ops::Range<usize>,
        (input, output): (&[f32], &mut [f32]),
        buffers: &Buffers<'_>,
        times: &mut Option<Vec<LayerTime>>,
    ) {
        let cached = tape.cached.clone();
        let Some(memory) = &mut tape.memory else { return };
        let phases = &cached.plan.phases[phases];
        let steps: usize = phases.iter().map(Vec::len).sum();
        let (arena, scratch) = memory.pointers();
        let call = Call {
            trainer: self,
            plan: &cached.plan,
            arena,
            scratch,
            input: input.as_ptr(),
            output: output.as_mut_ptr(),
            buffers,
            taken: (0..steps).map(|_| AtomicUsize::new(0)).collect(),
        };
        let record = times.is_some();
        let found = Mutex::new(Vec::new());
        team::run(self.threads, |thread, barrier| {
            let times = call.work(phases, thread, barrier, record && thread == 0);
            if thread == 0 {
                *lock(&found) = times;
            }
        });
        if let Some(times) = times {
            times.append(&mut lock(&found));
        }
    }
}

/// The state of one call that its threads share.
struct Call<'a> {
    trainer: &'a Trainer,
    plan: &'a Plan,
    arena: *mut f32,
    scratch: Vec<*mut f32>,
    input: *const f32,
    output: *mut f32,
    buffers: &'a Buffers<'a>,
    /// Number of shares of each step that threads have taken.
    taken: Vec<AtomicUsize>,
}

// SAFETY: the pointers refer to memory that the call owns or borrows until all its threads have ended. Through them a
// thread writes only the shares it has taken, which no other thread reads or writes before the next barrier.
unsafe impl Sync for Call<'_> {}

impl Call<'_> {
    fn work(&self, phases: &[Vec<Step>], thread: usize, barrier: &team::Barrier, record: bool) -> Vec<LayerTime> {
        let mut stopwatch = Stopwatch::new(record);
        let mut taken = self.taken.iter();
        for phase in phases {
            for (step, taken) in phase.iter().zip(&mut taken) {
                stopwatch.time(&step.name, step.macs, || self.step(step, taken, thread));
            }
            stopwatch.time("wait", 0, || barrier.wait());
        }
        stopwatch.times()
    }

    /// Takes shares of a step until there is none left. Whoever is free takes the next: a thread that lost its core for
    /// a while holds up no other. The results do not depend on who computes a share.
    fn step(&self, step: &Step, taken: &AtomicUsize, thread: usize) {
        loop {
            let share = taken.fetch_add(1, Ordering::Relaxed);
            if share >= step.shares {
                return;
            }
            let context = Context {
                kernels: self.trainer.kernels,
                threads: step.shares,
                thread: share,
                arena: self.arena,
                offsets: &self.plan.offsets,
                scratch: self.scratch[thread],
                input: self.input,
                output: self.output,
            };
            // SAFETY: `Plan::new` has checked the step; arena and scratch memory have the lengths in the plan, input,
            // output and buffers were compared with the network; a barrier separates phases.
            unsafe { step.op.run(&context, self.buffers) };
        }
    }
}
