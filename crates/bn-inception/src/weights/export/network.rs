//! The network, node by node. Each step is its counterpart's in `stem`, `inception` and `classifier`.

use super::graph::{Attribute, Graph, Value, pads, square};
use crate::config::{Activation, BnInceptionConfig, Normalization};
use crate::padding::{Padding, windows};
use crate::plan::{BlockPlan, PoolBranch, StemPlan};
use crate::stem::local_response;

/// Adds the network of `config`, whose tensors `graph` was made with.
pub(super) fn build(graph: &mut Graph, config: &BnInceptionConfig) {
    let mut builder = Builder { graph, config };
    let images = builder.graph.input(config.input_size);
    let mut x = builder.stem(images);
    for plan in config.blocks() {
        x = builder.block(&plan, &x);
    }
    builder.classifier(&x);
}

struct Builder<'a> {
    graph: &'a mut Graph,
    config: &'a BnInceptionConfig,
}

impl Builder<'_> {
    fn stem(&mut self, mut x: Value) -> Value {
        let strides = match self.config.plan.stem() {
            StemPlan::Small(_) => return self.unit("stem.conv1", &x, 1),
            StemPlan::ImageNet(_) => 2,
        };
        let depthwise = "stem.depthwise";
        let separable = self.graph.shape("stem.depthwise.weight").is_some();
        if separable {
            x = self.convolution(depthwise, &x, strides, 3);
        }
        x = self.unit("stem.conv1", &x, if separable { 1 } else { strides });
        x = self.stem_pool("stem.pool1", &x);
        x = self.respond("stem.lrn1", x);
        x = self.unit("stem.conv2_reduce", &x, 1);
        x = self.unit("stem.conv2", &x, 1);
        x = self.respond("stem.lrn2", x);
        self.stem_pool("stem.pool2", &x)
    }

    fn stem_pool(&mut self, name: &str, x: &Value) -> Value {
        let padding = self.config.stem_pooling.of_stem(x.size);
        self.max_pool(name, x, 2, padding)
    }

    /// Local response normalisation, in networks that have it.
    fn respond(&mut self, name: &str, x: Value) -> Value {
        if self.config.normalization != Normalization::LocalResponse {
            return x;
        }
        let lrn = local_response();
        let attributes = [
            ("size", Attribute::Int(lrn.size as i64)),
            ("alpha", Attribute::Float(lrn.alpha)),
            ("beta", Attribute::Float(lrn.beta)),
            ("bias", Attribute::Float(lrn.k)),
        ];
        Value {
            name: self.graph.node("LRN", name, vec![x.name], attributes),
            size: x.size,
        }
    }

    fn block(&mut self, plan: &BlockPlan, x: &Value) -> Value {
        let name = |part: &str| format!("{}.{part}", plan.name);
        let mut branches = Vec::with_capacity(4);
        if plan.conv_1x1 > 0 {
            branches.push(self.unit(&name("conv_1x1"), x, 1));
        }
        let reduced = match plan.reduce_3x3 {
            0 => x.clone(),
            _ => self.unit(&name("reduce_3x3"), x, 1),
        };
        branches.push(self.unit(&name("conv_3x3"), &reduced, plan.stride));
        if plan.conv_double > 0 {
            let reduced = match plan.reduce_double {
                0 => x.clone(),
                _ => self.unit(&name("reduce_double"), x, 1),
            };
            let first = self.unit(&name("conv_double_1"), &reduced, 1);
            branches.push(self.unit(&name("conv_double_2"), &first, plan.stride));
        }
        match plan.pool {
            PoolBranch::Average(_) => {
                let pooled = self.average_pool(&name("pool"), x);
                branches.push(self.unit(&name("pool_projection"), &pooled, 1));
            }
            PoolBranch::Max(_) => {
                let pooled = self.block_pool(&name("pool"), x, plan.stride);
                branches.push(self.unit(&name("pool_projection"), &pooled, 1));
            }
            PoolBranch::MaxPassThrough => {
                branches.push(self.block_pool(&name("pool"), x, plan.stride));
            }
            PoolBranch::Absent => {}
        }
        let size = branches[0].size;
        let inputs = branches.into_iter().map(|branch| branch.name).collect();
        let axis = [("axis", Attribute::Int(1))];
        Value {
            name: self.graph.node("Concat", plan.name, inputs, axis),
            size,
        }
    }

    fn block_pool(&mut self, name: &str, x: &Value, stride: usize) -> Value {
        let padding = self.config.block_pooling.of_block(x.size, stride);
        self.max_pool(name, x, stride, padding)
    }

    fn max_pool(&mut self, name: &str, x: &Value, stride: usize, padding: Padding) -> Value {
        let attributes = [
            ("kernel_shape", square(3)),
            ("strides", square(stride)),
            ("pads", pads(padding)),
        ];
        let inputs = vec![x.name.clone()];
        Value {
            name: self.graph.node("MaxPool", name, inputs, attributes),
            size: windows(x.size, 3, stride, padding),
        }
    }

    fn average_pool(&mut self, name: &str, x: &Value) -> Value {
        let counted = i64::from(self.config.average_includes_padding);
        let attributes = [
            ("kernel_shape", square(3)),
            ("strides", square(1)),
            ("pads", pads((1, 1))),
            ("count_include_pad", Attribute::Int(counted)),
        ];
        let inputs = vec![x.name.clone()];
        Value {
            name: self.graph.node("AveragePool", name, inputs, attributes),
            size: x.size,
        }
    }

    /// Convolution, normalisation if its tensors are there, non-linearity.
    fn unit(&mut self, name: &str, x: &Value, stride: usize) -> Value {
        let mut x = self.convolution(name, x, stride, 1);
        if let Normalization::Batch { epsilon, .. } = self.config.normalization {
            x = self.batch_norm(name, x, epsilon);
        }
        let (operator, suffix) = match self.config.activation {
            Activation::Relu => ("Relu", "relu"),
            Activation::Sigmoid => ("Sigmoid", "sigmoid"),
        };
        let name = format!("{name}.{suffix}");
        Value {
            name: self.graph.node(operator, &name, vec![x.name], []),
            size: x.size,
        }
    }

    fn convolution(&mut self, name: &str, x: &Value, stride: usize, groups: usize) -> Value {
        let weight = format!("{name}.weight");
        let shape = self.graph.shape(&weight).unwrap_or_default();
        let kernel = shape.last().copied().unwrap_or(1);
        let padding = self.config.strided_padding.of_conv(x.size, kernel, stride);
        let tensors = [weight, format!("{name}.bias")];
        let tensors = tensors.map(|tensor| self.graph.parameter(&tensor));
        let inputs = std::iter::once(x.name.clone()).chain(tensors.into_iter().flatten());
        let attributes = [
            ("kernel_shape", square(kernel)),
            ("strides", square(stride)),
            ("pads", pads(padding)),
            ("group", Attribute::Int(groups as i64)),
        ];
        Value {
            name: self.graph.node("Conv", name, inputs.collect(), attributes),
            size: windows(x.size, kernel, stride, padding),
        }
    }

    fn batch_norm(&mut self, unit: &str, x: Value, epsilon: f64) -> Value {
        let name = format!("{unit}.norm");
        // TF-slim's first convolution has none.
        let Some(shape) = self.graph.shape(&format!("{name}.beta")) else {
            return x;
        };
        let mut inputs = vec![x.name];
        inputs.push(self.graph.scale(&format!("{name}.gamma"), shape[0]));
        for tensor in ["beta", "running_mean", "running_var"] {
            inputs.extend(self.graph.parameter(&format!("{name}.{tensor}")));
        }
        let epsilon = [("epsilon", Attribute::Float(epsilon))];
        Value {
            name: self
                .graph
                .node("BatchNormalization", &name, inputs, epsilon),
            size: x.size,
        }
    }

    fn classifier(&mut self, x: &Value) {
        let graph = &mut *self.graph;
        let pooled = graph.node("GlobalAveragePool", "pool", vec![x.name.clone()], []);
        let mut inputs = vec![graph.node("Flatten", "flatten", vec![pooled], [])];
        for tensor in ["classifier.weight", "classifier.bias"] {
            inputs.extend(graph.parameter(tensor));
        }
        let transposed = [("transB", Attribute::Int(1))];
        graph.node("Gemm", "classifier", inputs, transposed);
    }
}
