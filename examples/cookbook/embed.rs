//! The recipe `embed`: finds the image that is most like another.

use std::env;
use std::error::Error;

use bn_inception::burn::tensor::Device;
use bn_inception::data::{DrawnConfig, FileList, draw_dataset};
use bn_inception::{ImageEmbedder, NeighbourSearch, Pooling};

fn main() -> Result<(), Box<dyn Error>> {
    // A folder of images; without one, a few are drawn.
    let folder = match env::args_os().nth(1) {
        Some(folder) => folder.into(),
        None => {
            let config = DrawnConfig { train_per_class: 8, val_per_class: 1, ..DrawnConfig::default() };
            draw_dataset(&env::temp_dir().join("few-drawn"), &config)?.root
        }
    };
    let files = FileList::below(&folder)?.images;

    // A vector for each image: the means of the last feature map's channels, of length 1.
    let embedder = ImageEmbedder::open("imagenette", Pooling::Average)?.normalised(true);
    let vectors = embedder.embed(&files)?.concat();

    let search = NeighbourSearch::new(&vectors, embedder.dimension(), &Device::flex());
    for neighbour in &search.nearest_others(0..1, 3)[0] {
        println!("{:.3}  {} is like {}", neighbour.cosine, files[neighbour.index].display(), files[0].display());
    }
    Ok(())
}
