use bn_inception::*;
use burn::tensor::{Tensor,Int,Device,Distribution};
use std::time::Instant;
fn main(){
    let d = Device::flex();
    println!("{}", Preset::Caffe.config().init(&d).unwrap().summary(224));
    let size: usize = std::env::args().nth(1).map_or(128,|s|s.parse().unwrap());
    let n: usize = std::env::args().nth(2).map_or(64,|s|s.parse().unwrap());
    let ad = d.clone().autodiff();
    let m = Preset::Caffe.config().with_width(0.5).with_classes(10).init(&ad).unwrap();
    for i in 0..4 {
        let x = Tensor::<4>::random([n,3,size,size], Distribution::Normal(0.,1.), &ad);
        let t = Instant::now();
        let y = m.forward(x);
        let tgt = Tensor::<1,Int>::zeros([n], &ad);
        let loss = burn::nn::loss::CrossEntropyLossConfig::new().init(&ad).forward(y, tgt);
        let f = t.elapsed();
        let t2 = Instant::now();
        let g = loss.backward();
        let b = t2.elapsed();
        println!("{i} loss {:?} fwd {:.1} bwd {:.1} ms/img {:.2}", loss.clone().into_data().iter::<f32>().next(), f.as_secs_f64()*1e3, b.as_secs_f64()*1e3, (f+b).as_secs_f64()*1e3/n as f64);
        drop(g);
    }
}
