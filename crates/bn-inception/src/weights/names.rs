//! Names of the network's tensors in published files: one table for each source.

use crate::plan::ChannelPlan;
use crate::preset::Preset;

/// The naming of one source. Layers are the stem's convolutions, seven in each block, and the classifier; `{}` in
/// a template stands for the layer's name in the source.
pub(crate) struct Naming {
    /// Source of the names, for messages.
    pub(crate) source: &'static str,
    /// Names of the stem's layers: (ours, theirs).
    stem: &'static [(&'static str, &'static str)],
    /// Template of a layer in a block: `{block}` or `{index}`, and `{layer}`.
    block: &'static str,
    /// Layers of a block: (ours, theirs).
    layers: &'static [(&'static str, &'static str)],
    /// Tensors of a layer: (ours, template).
    tensors: &'static [(&'static str, &'static str)],
    /// Possible names of the last layer.
    classifiers: &'static [&'static str],
    /// Tensors of the last layer: (ours, template).
    classifier_tensors: &'static [(&'static str, &'static str)],
    /// Template of tensors that carry no weights.
    counters: Option<&'static str>,
    /// Presets of the networks with these names, the usual one first; empty if the names tell nothing.
    pub(crate) presets: &'static [Preset],
    /// Name of the preprocessing that they were published with.
    pub(crate) preprocess: Option<&'static str>,
}

/// Tensors of a layer in this project's own names.
const OWN_TENSORS: &[(&str, &str)] = &[
    ("weight", "{}.weight"),
    ("bias", "{}.bias"),
    ("norm.gamma", "{}.norm.gamma"),
    ("norm.beta", "{}.norm.beta"),
    ("norm.running_mean", "{}.norm.running_mean"),
    ("norm.running_var", "{}.norm.running_var"),
];

const OWN_STEM: &[(&str, &str)] = &[
    ("stem.depthwise", "stem.depthwise"),
    ("stem.conv1", "stem.conv1"),
    ("stem.conv2_reduce", "stem.conv2_reduce"),
    ("stem.conv2", "stem.conv2"),
];

const OWN_LAYERS: &[(&str, &str)] = &[
    ("conv_1x1", "conv_1x1"),
    ("reduce_3x3", "reduce_3x3"),
    ("conv_3x3", "conv_3x3"),
    ("reduce_double", "reduce_double"),
    ("conv_double_1", "conv_double_1"),
    ("conv_double_2", "conv_double_2"),
    ("pool_projection", "pool_projection"),
];

const OWN: Naming = Naming {
    source: "our own names",
    stem: OWN_STEM,
    block: "{block}.{layer}",
    layers: OWN_LAYERS,
    tensors: OWN_TENSORS,
    classifiers: &["classifier"],
    classifier_tensors: WEIGHT_AND_BIAS,
    counters: None,
    presets: &[],
    preprocess: None,
};

/// ONNX files, whose tensors get our names from the graph.
pub(crate) const GRAPH: Naming = Naming { source: "its graph", ..OWN };

/// Names that Burn's own recorders give the fields of our module.
const BURN: Naming = Naming { source: "Burn's names", block: "blocks.{index}.{layer}", ..OWN };

const WEIGHT_AND_BIAS: &[(&str, &str)] = &[("weight", "{}.weight"), ("bias", "{}.bias")];

/// `pretrained-models.pytorch` and what descends from it; the names are the Caffe layers' with `_` for `/`.
const CADENE: Naming = Naming {
    source: "Cadene's names",
    stem: &[("stem.conv1", "conv1_7x7_s2"), ("stem.conv2_reduce", "conv2_3x3_reduce"), ("stem.conv2", "conv2_3x3")],
    block: "inception_{block}_{layer}",
    layers: &[
        ("conv_1x1", "1x1"),
        ("reduce_3x3", "3x3_reduce"),
        ("conv_3x3", "3x3"),
        ("reduce_double", "double_3x3_reduce"),
        ("conv_double_1", "double_3x3_1"),
        ("conv_double_2", "double_3x3_2"),
        ("pool_projection", "pool_proj"),
    ],
    tensors: &[
        ("weight", "{}.weight"),
        ("bias", "{}.bias"),
        ("norm.gamma", "{}_bn.weight"),
        ("norm.beta", "{}_bn.bias"),
        ("norm.running_mean", "{}_bn.running_mean"),
        ("norm.running_var", "{}_bn.running_var"),
    ],
    classifiers: &["last_linear", "fc", "new_fc", "classifier"],
    classifier_tensors: WEIGHT_AND_BIAS,
    counters: Some("{}_bn.num_batches_tracked"),
    presets: &[Preset::Caffe],
    preprocess: Some("cadene"),
};

/// The layout of torchvision's GoogLeNet, for this network's layers.
const TORCHVISION: Naming = Naming {
    source: "torchvision's names",
    stem: &[("stem.conv1", "conv1"), ("stem.conv2_reduce", "conv2"), ("stem.conv2", "conv3")],
    block: "inception{block}.{layer}",
    layers: &[
        ("conv_1x1", "branch1"),
        ("reduce_3x3", "branch2.0"),
        ("conv_3x3", "branch2.1"),
        ("reduce_double", "branch3.0"),
        ("conv_double_1", "branch3.1"),
        ("conv_double_2", "branch3.2"),
        ("pool_projection", "branch4.1"),
    ],
    tensors: &[
        ("weight", "{}.conv.weight"),
        ("bias", "{}.conv.bias"),
        ("norm.gamma", "{}.bn.weight"),
        ("norm.beta", "{}.bn.bias"),
        ("norm.running_mean", "{}.bn.running_mean"),
        ("norm.running_var", "{}.bn.running_var"),
    ],
    classifiers: &["fc", "classifier"],
    classifier_tensors: WEIGHT_AND_BIAS,
    counters: Some("{}.bn.num_batches_tracked"),
    presets: &[],
    preprocess: None,
};

const MXNET_LAYERS: &[(&str, &str)] = &[
    ("conv_1x1", "1x1"),
    ("reduce_3x3", "3x3_reduce"),
    ("conv_3x3", "3x3"),
    ("reduce_double", "double_3x3_reduce"),
    ("conv_double_1", "double_3x3_0"),
    ("conv_double_2", "double_3x3_1"),
    ("pool_projection", "proj"),
];

/// MXNet's `example/image-classification/symbols/inception-bn.py`.
const MXNET: Naming = Naming {
    source: "MXNet's names",
    stem: &[("stem.conv1", "1"), ("stem.conv2_reduce", "2_red"), ("stem.conv2", "2")],
    block: "{block}_{layer}",
    layers: MXNET_LAYERS,
    tensors: &[
        ("weight", "arg:conv_{}_weight"),
        ("bias", "arg:conv_{}_bias"),
        ("norm.gamma", "arg:bn_{}_gamma"),
        ("norm.beta", "arg:bn_{}_beta"),
        ("norm.running_mean", "aux:bn_{}_moving_mean"),
        ("norm.running_var", "aux:bn_{}_moving_var"),
    ],
    classifiers: &["fc1", "fc"],
    classifier_tensors: &[("weight", "arg:{}_weight"), ("bias", "arg:{}_bias")],
    counters: None,
    presets: &[Preset::MxNet, Preset::Small],
    preprocess: Some("mxnet"),
};

/// The model gallery's older symbols.
const MXNET_GALLERY: Naming = Naming {
    source: "the MXNet gallery's names",
    stem: &[("stem.conv1", "conv1"), ("stem.conv2_reduce", "conv2red"), ("stem.conv2", "conv2")],
    presets: &[],
    ..MXNET
};

/// Caffe's convolution, `BatchNorm` and `Scale` layers as `lim0606/caffe-googlenet-bn` names them.
const CAFFE_SCALE: Naming = Naming {
    source: "names of layers with BatchNorm and Scale",
    stem: &[("stem.conv1", "conv1/7x7_s2"), ("stem.conv2_reduce", "conv2/3x3_reduce"), ("stem.conv2", "conv2/3x3")],
    block: "inception_{block}/{layer}",
    layers: &[
        ("conv_1x1", "1x1"),
        ("reduce_3x3", "3x3_reduce"),
        ("conv_3x3", "3x3"),
        ("reduce_double", "double3x3_reduce"),
        ("conv_double_1", "double3x3a"),
        ("conv_double_2", "double3x3b"),
        ("pool_projection", "pool_proj"),
    ],
    tensors: &[
        ("weight", "{}.weight"),
        ("bias", "{}.bias"),
        ("norm.gamma", "{}/bn/sc.scale"),
        ("norm.beta", "{}/bn/sc.shift"),
        ("norm.running_mean", "{}/bn.mean"),
        ("norm.running_var", "{}/bn.variance"),
    ],
    classifiers: &["loss3/classifier"],
    classifier_tensors: WEIGHT_AND_BIAS,
    counters: None,
    presets: &[Preset::Onnx],
    preprocess: Some("caffe"),
};

/// Caffe with the `BN` layer of `yjxiong/caffe`, which holds scale, shift, mean and variance.
const CAFFE_BN: Naming = Naming {
    source: "names of layers with BN",
    layers: CADENE.layers,
    tensors: &[
        ("weight", "{}.weight"),
        ("bias", "{}.bias"),
        ("norm.gamma", "{}_bn.scale"),
        ("norm.beta", "{}_bn.shift"),
        ("norm.running_mean", "{}_bn.mean"),
        ("norm.running_var", "{}_bn.variance"),
    ],
    classifiers: &["fc", "fc-action", "fc_action", "loss3/classifier"],
    presets: &[Preset::Caffe],
    ..CAFFE_SCALE
};

/// Naming of the tensors in a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// This project's: paths through the network, such as `3a.conv_3x3.weight`.
    Own,
    /// Those of `pretrained-models.pytorch`, for PyTorch's `load_state_dict`.
    Cadene,
}

impl Names {
    fn naming(self) -> &'static Naming {
        match self {
            Names::Own => &OWN,
            Names::Cadene => &CADENE,
        }
    }

    /// The name of the tensor that we call `name`, if there is one.
    pub(crate) fn of(self, plan: ChannelPlan, name: &str) -> Option<String> {
        self.naming().of(plan, name).into_iter().next()
    }

    /// Source of the names, for messages.
    pub(crate) fn source(self) -> &'static str {
        self.naming().source
    }
}

/// Every naming known here.
pub(crate) const NAMINGS: [&Naming; 8] =
    [&OWN, &BURN, &CADENE, &TORCHVISION, &MXNET, &MXNET_GALLERY, &CAFFE_SCALE, &CAFFE_BN];

impl Naming {
    /// Possible names here of the tensor that we call `name`; several only for the classifier.
    pub(crate) fn of(&self, plan: ChannelPlan, name: &str) -> Vec<String> {
        if let Some(tensor) = name.strip_prefix("classifier.") {
            let template = lookup(self.classifier_tensors, tensor);
            let layers = self.classifiers.iter();
            return layers.flat_map(|layer| template.map(|template| template.replace("{}", layer))).collect();
        }
        let template = self.tensors.iter().find_map(|(ours, template)| {
            let layer = name.strip_suffix(ours)?.strip_suffix('.')?;
            Some(template.replace("{}", &self.layer(plan, layer)?))
        });
        template.into_iter().collect()
    }

    /// Name of a last layer's `weight` or `bias`, where the layer is called `layer`.
    pub(crate) fn of_last(&self, layer: &str, tensor: &str) -> Option<String> {
        lookup(self.classifier_tensors, tensor).map(|template| template.replace("{}", layer))
    }

    /// True if the tensor that this source calls `key` counts batches and carries no weights.
    pub(crate) fn is_counter(&self, key: &str) -> bool {
        let suffix = self.counters.and_then(|template| template.strip_prefix("{}"));
        suffix.is_some_and(|suffix| key.ends_with(suffix))
    }

    fn layer(&self, plan: ChannelPlan, ours: &str) -> Option<String> {
        if let Some(theirs) = lookup(self.stem, ours) {
            return Some(theirs.to_owned());
        }
        let (block, layer) = ours.split_once('.')?;
        let index = plan.blocks().iter().position(|row| row.name == block)?;
        let layer = lookup(self.layers, layer)?;
        let name = self.block.replace("{block}", block);
        Some(name.replace("{index}", &index.to_string()).replace("{layer}", layer))
    }
}

fn lookup(table: &[(&str, &'static str)], ours: &str) -> Option<&'static str> {
    table.iter().find(|(name, _)| *name == ours).map(|(_, theirs)| *theirs)
}
