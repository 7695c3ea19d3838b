//! Devices by name. The one place that knows which backends there are.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// Opens the device with this index, or says why it does not come up. The name describes the hardware.
type Open = fn(index: usize) -> Result<OpenDevice, String>;

struct Backend {
    /// Its name on the command line, which is also the cargo feature that compiles it in.
    name: &'static str,
    open: Option<Open>,
    /// Whether there may be several, as in `cuda:1`.
    indexed: bool,
}

/// In the order in which `auto` tries them.
const BACKENDS: [Backend; 8] = [
    Backend {
        name: "cuda",
        open: CUDA,
        indexed: true,
    },
    Backend {
        name: "rocm",
        open: ROCM,
        indexed: true,
    },
    Backend {
        name: "metal",
        open: METAL,
        indexed: false,
    },
    Backend {
        name: "vulkan",
        open: VULKAN,
        indexed: false,
    },
    Backend {
        name: "wgpu",
        open: WGPU,
        indexed: false,
    },
    Backend {
        name: "webgpu",
        open: WEBGPU,
        indexed: false,
    },
    Backend {
        name: "flex",
        open: FLEX,
        indexed: false,
    },
    Backend {
        name: "ndarray",
        open: NDARRAY,
        indexed: false,
    },
];

/// Which device to use, as written on a command line: `auto`, `flex`, `ndarray`, `wgpu`, `vulkan`, `metal`,
/// `webgpu`, `cuda`, `cuda:1`, `rocm`, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSpec {
    /// The best device that is compiled in and comes up. A Vulkan driver that renders on the CPU counts as worse
    /// than the CPU backends.
    Auto,
    /// This backend and no other.
    Named {
        /// The backend's name.
        backend: &'static str,
        /// Which of its devices.
        index: usize,
    },
}

/// A device that has come up.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// The device; `.autodiff()` makes it a training device.
    pub device: Device,
    /// What it is, to show to a person: the backend's name and, where known, the hardware's.
    pub name: String,
    /// Whether it computes on the CPU.
    pub on_cpu: bool,
}

/// Why there is no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No backend has this name.
    #[error("unknown device `{found}`, expected auto, {expected}")]
    Unknown {
        /// What was asked for.
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
        /// The backend's own words.
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
            (Some(backend), Some(index)) if index == 0 || backend.indexed => Ok(Self::Named {
                backend: backend.name,
                index,
            }),
            _ => Err(DeviceError::Unknown {
                found: text.to_owned(),
                expected: names(),
            }),
        }
    }
}

fn names() -> String {
    let names = BACKENDS.iter().map(|backend| match backend.indexed {
        true => format!("{}[:INDEX]", backend.name),
        false => backend.name.to_owned(),
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
    /// Brings the device up. Opening the same device again gives the same one.
    ///
    /// # Errors
    /// [`DeviceError`] if it is not compiled in or does not come up; nothing panics on a missing adapter.
    pub fn open(&self) -> Result<OpenDevice, DeviceError> {
        match *self {
            Self::Auto => BACKENDS
                .iter()
                .filter_map(|backend| open(backend, 0).ok())
                .find(|found| !found.on_cpu || !found.is_gpu_backend())
                .ok_or(DeviceError::None),
            Self::Named { backend, index } => {
                let backend = BACKENDS.iter().find(|known| known.name == backend);
                open(backend.ok_or(DeviceError::None)?, index)
            }
        }
    }
}

impl OpenDevice {
    fn is_gpu_backend(&self) -> bool {
        !["flex", "ndarray"].contains(&self.name.as_str())
    }
}

/// A wgpu runtime can be initialised once per process, so what came up is kept.
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
    let result = entry
        .or_insert_with(|| open(index).map_err(|reason| DeviceError::Unavailable { name, reason }));
    result.clone()
}

/// Whether the device is one of the CPU backends, whose tensors lie in the process's own memory.
pub(crate) fn is_cpu(device: &Device) -> bool {
    match device.as_dispatch() {
        #[cfg(feature = "flex")]
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "ndarray")]
        DispatchDevice::NdArray(_) => true,
        _ => false,
    }
}

#[cfg(feature = "flex")]
const FLEX: Option<Open> = Some(|_| {
    Ok(OpenDevice {
        device: Device::flex(),
        name: "flex".to_owned(),
        on_cpu: true,
    })
});
#[cfg(not(feature = "flex"))]
const FLEX: Option<Open> = None;

#[cfg(feature = "ndarray")]
const NDARRAY: Option<Open> = Some(|_| {
    Ok(OpenDevice {
        // Deprecated upstream in favour of Flex, and still a feature here.
        #[allow(deprecated)]
        device: Device::ndarray(),
        name: "ndarray".to_owned(),
        on_cpu: true,
    })
});
#[cfg(not(feature = "ndarray"))]
const NDARRAY: Option<Open> = None;

#[cfg(feature = "wgpu")]
mod graphics {
    use burn::tensor::Device;
    use burn::tensor::wgpu::WgpuBackend;
    use burn::tensor::wgpu::wgpu::DeviceType;

    use super::OpenDevice;

    pub(super) fn open(label: &str, api: WgpuBackend) -> Result<OpenDevice, String> {
        let options = Device::wgpu_options().graphics_api(api);
        let (device, setup) = options
            .init_with_setup()
            .map_err(|error| error.to_string())?;
        let info = setup.adapter.get_info();
        Ok(OpenDevice {
            device,
            name: format!("{label} ({}, {:?})", info.name, info.backend),
            on_cpu: info.device_type == DeviceType::Cpu,
        })
    }
}

#[cfg(feature = "wgpu")]
const WGPU: Option<Open> = Some(|_| graphics::open("wgpu", burn::tensor::wgpu::WgpuBackend::Auto));
#[cfg(not(feature = "wgpu"))]
const WGPU: Option<Open> = None;

#[cfg(feature = "vulkan")]
const VULKAN: Option<Open> =
    Some(|_| graphics::open("vulkan", burn::tensor::wgpu::WgpuBackend::Vulkan));
#[cfg(not(feature = "vulkan"))]
const VULKAN: Option<Open> = None;

#[cfg(feature = "metal")]
const METAL: Option<Open> =
    Some(|_| graphics::open("metal", burn::tensor::wgpu::WgpuBackend::Metal));
#[cfg(not(feature = "metal"))]
const METAL: Option<Open> = None;

#[cfg(feature = "webgpu")]
const WEBGPU: Option<Open> =
    Some(|_| graphics::open("webgpu", burn::tensor::wgpu::WgpuBackend::WebGpu));
#[cfg(not(feature = "webgpu"))]
const WEBGPU: Option<Open> = None;

/// The CUDA and ROCm runtimes panic at first use where no driver is installed; the first use is made here.
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
    Ok(OpenDevice {
        device,
        name: format!("{label}:{index}"),
        on_cpu: false,
    })
}

#[cfg(feature = "cuda")]
const CUDA: Option<Open> = Some(|index| probe("cuda", index, Device::cuda(index)));
#[cfg(not(feature = "cuda"))]
const CUDA: Option<Open> = None;

#[cfg(feature = "rocm")]
const ROCM: Option<Open> = Some(|index| probe("rocm", index, Device::rocm(index)));
#[cfg(not(feature = "rocm"))]
const ROCM: Option<Open> = None;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_and_refused() {
        let parse = |text: &str| text.parse::<DeviceSpec>();
        assert_eq!(parse("auto"), Ok(DeviceSpec::Auto));
        assert_eq!(parse("cuda:1").unwrap().to_string(), "cuda:1");
        for wrong in ["gpu", "flex:1", "cuda:x", "", "flex:"] {
            assert!(
                matches!(parse(wrong), Err(DeviceError::Unknown { .. })),
                "{wrong}"
            );
        }
    }

    #[test]
    #[cfg(feature = "flex")]
    fn flex_opens_and_what_is_not_compiled_says_so() {
        assert_eq!(
            "flex".parse::<DeviceSpec>().unwrap().open().unwrap().name,
            "flex"
        );
        if cfg!(not(feature = "rocm")) {
            let error = "rocm".parse::<DeviceSpec>().unwrap().open().unwrap_err();
            assert!(error.to_string().contains("--features rocm"), "{error}");
        }
    }
}
