//! Devices by name. [`BACKENDS`] is the one list of backends; a new one is a row there and a cargo feature.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

#[cfg(any(feature = "flex", feature = "ndarray"))]
use bn_inception_kernels::infer::Engine;
use burn::backend::DispatchDevice;
use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::wgpu::{WgpuBackend, wgpu::DeviceType};

/// Opens the device with this index. The error is the reason why it is not available.
type Open = fn(index: usize) -> Result<OpenDevice, String>;

struct Backend {
    /// Name on the command line, and of the cargo feature that compiles the backend in.
    name: &'static str,
    /// `None` if the feature is off.
    open: Option<Open>,
    /// True if there may be several devices, as in `cuda:1`.
    indexed: bool,
    /// True if the backend is made for CPUs. A GPU backend may run on one too, through a driver that renders in
    /// software.
    cpu: bool,
}

/// A row of the table of backends. Its name is also the feature's.
macro_rules! backend {
    ($name:literal, $open:expr) => {
        Backend {
            name: $name,
            open: {
                #[cfg(feature = $name)]
                {
                    Some($open)
                }
                #[cfg(not(feature = $name))]
                {
                    None
                }
            },
            indexed: false,
            cpu: false,
        }
    };
}

/// All backends, in the order in which `auto` tries them.
static BACKENDS: [Backend; 8] = [
    Backend { indexed: true, ..backend!("cuda", |index| probe("cuda", index, Device::cuda(index))) },
    Backend { indexed: true, ..backend!("rocm", |index| probe("rocm", index, Device::rocm(index))) },
    backend!("metal", |_| graphics("metal", WgpuBackend::Metal)),
    backend!("vulkan", |_| graphics("vulkan", WgpuBackend::Vulkan)),
    backend!("wgpu", |_| graphics("wgpu", WgpuBackend::Auto)),
    backend!("webgpu", |_| graphics("webgpu", WgpuBackend::WebGpu)),
    Backend { cpu: true, ..backend!("flex", |_| OpenDevice::cpu("flex", Device::flex())) },
    Backend {
        cpu: true,
        ..backend!("ndarray", |_| {
            // Deprecated upstream in favour of Flex, but still a feature here.
            #[allow(deprecated)]
            let device = Device::ndarray();
            OpenDevice::cpu("ndarray", device)
        })
    },
];

/// A device as written on a command line: `auto`, `flex`, `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda`,
/// `cuda:1`, `rocm`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSpec {
    /// The best device that is compiled in and available. A Vulkan driver that renders on the CPU ranks below the CPU
    /// backends.
    Auto,
    /// This backend and no other.
    Named {
        /// The backend's name.
        backend: &'static str,
        /// Index among its devices.
        index: usize,
    },
}

/// An open device.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// The device; `.autodiff()` makes it a training device.
    pub device: Device,
    /// Name to show to a person: the backend's and, if known, the hardware's.
    pub name: String,
    /// True if it computes on the CPU.
    pub on_cpu: bool,
}

/// Failure to open a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No backend has this name.
    #[error("unknown device `{found}`, expected auto, {expected}")]
    Unknown {
        /// The text given.
        found: String,
        /// Every known name.
        expected: String,
    },
    /// The backend is not in this build.
    #[error("device `{name}` is not in this build: rebuild with `--features {name}`")]
    NotCompiled {
        /// The backend's name and feature.
        name: &'static str,
    },
    /// The backend is in this build, but has no such device here.
    #[error("device `{name}` is not available: {reason}")]
    Unavailable {
        /// The backend's name.
        name: &'static str,
        /// The backend's own message.
        reason: String,
    },
    /// No backend is in this build.
    #[error("no device: this build has no backend feature (flex, ndarray, wgpu, cuda, …)")]
    None,
}

impl FromStr for DeviceSpec {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, index.parse().ok()),
            None => (text, Some(0)),
        };
        let backend = BACKENDS.iter().find(|backend| backend.name == name);
        match (backend, index) {
            (Some(backend), Some(index)) if index == 0 || backend.indexed => {
                Ok(Self::Named { backend: backend.name, index })
            }
            _ => Err(DeviceError::Unknown { found: text.to_owned(), expected: names() }),
        }
    }
}

fn names() -> String {
    let names = BACKENDS.iter().map(|backend| {
        let index = if backend.indexed { "[:INDEX]" } else { "" };
        format!("{}{index}", backend.name)
    });
    names.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named { backend, index: 0 } => f.write_str(backend),
            Self::Named { backend, index } => write!(f, "{backend}:{index}"),
        }
    }
}

impl DeviceSpec {
    /// Opens the device. Opening it again gives the same one.
    ///
    /// # Errors
    /// [`DeviceError`] if it is not compiled in or not available; a missing adapter causes no panic.
    pub fn open(&self) -> Result<OpenDevice, DeviceError> {
        match *self {
            Self::Auto => {
                // Where nothing comes up, the last one that is compiled in says why.
                let mut reason = DeviceError::None;
                for backend in &BACKENDS {
                    match open(backend, 0) {
                        Ok(found) if backend.cpu || !found.on_cpu => return Ok(found),
                        Err(error @ DeviceError::Unavailable { .. }) => reason = error,
                        Ok(_) | Err(_) => {}
                    }
                }
                Err(reason)
            }
            Self::Named { backend, index } => {
                let backend = BACKENDS.iter().find(|known| known.name == backend);
                open(backend.ok_or(DeviceError::None)?, index)
            }
        }
    }
}

impl OpenDevice {
    #[cfg(any(feature = "flex", feature = "ndarray"))]
    fn cpu(name: &str, device: Device) -> Result<Self, String> {
        // The engine would find out in the middle of a forward pass.
        Engine::default_instruction_set().map_err(|error| error.to_string())?;
        Ok(Self { device, name: name.to_owned(), on_cpu: true })
    }
}

/// A wgpu runtime can be initialised only once per process, so results are kept.
fn open(backend: &'static Backend, index: usize) -> Result<OpenDevice, DeviceError> {
    type Opened = HashMap<(&'static str, usize), Result<OpenDevice, DeviceError>>;
    static OPENED: OnceLock<Mutex<Opened>> = OnceLock::new();
    let name = backend.name;
    let Some(open) = backend.open else {
        return Err(DeviceError::NotCompiled { name });
    };
    let opened = OPENED.get_or_init(Mutex::default);
    let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = opened.entry((name, index));
    let result = entry.or_insert_with(|| open(index).map_err(|reason| DeviceError::Unavailable { name, reason }));
    result.clone()
}

/// True for a device of a CPU backend, whose tensors are in the process's own memory.
pub fn is_cpu(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        _ => false,
    }
}

#[cfg(feature = "wgpu")]
fn graphics(label: &str, api: WgpuBackend) -> Result<OpenDevice, String> {
    let options = Device::wgpu_options().graphics_api(api);
    let (device, setup) = options.init_with_setup().map_err(|error| error.to_string())?;
    let info = setup.adapter.get_info();
    Ok(OpenDevice {
        device,
        name: format!("{label} ({}, {:?})", info.name, info.backend),
        on_cpu: info.device_type == DeviceType::Cpu,
    })
}

/// The CUDA and ROCm runtimes panic on first use if no driver is installed, so the first use is made here.
#[cfg(any(feature = "cuda", feature = "rocm"))]
fn probe(label: &str, index: usize, device: Device) -> Result<OpenDevice, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let used = std::panic::catch_unwind(|| {
        burn::tensor::Tensor::<1>::zeros([1], &device).into_data();
        device.clone()
    });
    std::panic::set_hook(hook);
    let device = used.map_err(|_| format!("no {label} driver or no device {index}"))?;
    Ok(OpenDevice { device, name: format!("{label}:{index}"), on_cpu: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_refused() {
        let parse = |text: &str| text.parse::<DeviceSpec>();
        assert_eq!(parse("auto"), Ok(DeviceSpec::Auto));
        assert_eq!(parse("cuda:1").unwrap().to_string(), "cuda:1");
        for wrong in ["gpu", "flex:1", "cuda:x", "", "flex:"] {
            assert!(matches!(parse(wrong), Err(DeviceError::Unknown { .. })), "{wrong}");
        }
    }

    #[test]
    #[cfg(feature = "flex")]
    fn flex_opens_and_what_is_not_compiled_says_so() {
        assert_eq!("flex".parse::<DeviceSpec>().unwrap().open().unwrap().name, "flex");
        if cfg!(not(feature = "rocm")) {
            let error = "rocm".parse::<DeviceSpec>().unwrap().open().unwrap_err();
            assert!(error.to_string().contains("--features rocm"), "{error}");
        }
    }
}
