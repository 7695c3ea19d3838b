//! Archives that are damaged, cut short, changed or gone: one clear error or a counted broken image, never a shorter
//! epoch, never a panic.

use std::fs::{self, OpenOptions};

use bn_inception_data::{ImageDataset, ImageLoader, LoaderOptions, Preprocess, Split};
use burn::tensor::Device;

use crate::layouts::{Layouts, archive, error};
use crate::loader::{OPTIONS, SIZE};

#[test]
fn a_damaged_archive_is_an_error_or_the_same_images() {
    let layouts = Layouts::new();
    let dir = layouts.shards();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("three-train-0000.tar") && !path.ends_with("classes.txt") {
            fs::remove_file(path).unwrap();
        }
    }
    let shard = dir.join("three-train-0000.tar");
    let whole = fs::read(&shard).unwrap();
    let names = |dataset: &ImageDataset| (0..dataset.len()).map(|at| dataset.name(at).into_owned()).collect::<Vec<_>>();
    let expected = names(&ImageDataset::open_split(&dir, Split::Train).unwrap());
    for length in (0..whole.len()).step_by(331) {
        fs::write(&shard, &whole[..length]).unwrap();
        match ImageDataset::open_split(&dir, Split::Train) {
            // The padding after the end mark.
            Ok(found) => assert_eq!(names(&found), expected, "cut to {length}"),
            Err(error) => assert!(error.to_string().contains("three-train-0000.tar"), "{error}"),
        }
    }
    let (mut refused, mut accepted) = (0, 0);
    for at in (0..whole.len()).step_by(61) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        fs::write(&shard, &damaged).unwrap();
        match ImageDataset::open_split(&dir, Split::Train) {
            Ok(found) => {
                accepted += 1;
                assert_eq!(found.len(), expected.len(), "byte {at}");
                for index in 0..found.len() {
                    let _ = found.decode(index);
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 10 && accepted > 10, "{refused} refused, {accepted} accepted");
}

#[test]
fn each_wrong_archive_has_its_own_line() {
    let layouts = Layouts::new();
    let tree = layouts.tree();
    let whole = fs::read(&tree).unwrap();
    let line = |bytes: &[u8]| {
        fs::write(&tree, bytes).unwrap();
        error(ImageDataset::open_split(&tree, Split::Train))
    };
    let name = tree.display().to_string();
    let cut = line(&whole[..600]);
    assert!(cut.starts_with(&format!("archive {name}: cut short: ")), "{cut}");
    assert!(cut.contains("three/train/class0/class0_0.JPEG ends at byte "), "{cut}");
    assert!(line(&whole[..whole.len() - 1024]).contains("cut short: no end mark after byte"));
    assert!(line(&[whole.as_slice(), &whole].concat()).contains("there is data after its end mark"));
    assert!(line(b"\x1f\x8b\x08\x00 compressed").contains("it is compressed; decompress it first"));
    assert!(line(&[7; 4096]).contains("damaged header after byte 0"));
    assert!(line(b"").contains("no end mark"));
    // A tar within a tar is cut at its own end.
    let dir = layouts.ilsvrc();
    let class = archive(&[("a.JPEG".to_owned(), vec![1; 2000])]);
    let files = [("n1.tar".to_owned(), class[..1024].to_vec()), ("n2.tar".to_owned(), class)];
    fs::write(dir.join("ILSVRC2012_img_train.tar"), archive(&files)).unwrap();
    let line = error(ImageDataset::open_split(&dir, Split::Train));
    assert!(line.contains("ILSVRC2012_img_train.tar/n1.tar: cut short: a.JPEG ends at byte"), "{line}");
}

#[test]
fn a_damaged_index_is_made_anew() {
    let layouts = Layouts::new();
    let dir = layouts.shards();
    let index = dir.join("bn-inception.train.index");
    assert!(!index.exists());
    let open = || ImageDataset::open_split(&dir, Split::Train).unwrap();
    let expected = bn_inception_data::fingerprint([&open()]);
    let whole = fs::read(&index).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        for bytes in [damaged, whole[..at].to_vec()] {
            fs::write(&index, bytes).unwrap();
            assert_eq!(bn_inception_data::fingerprint([&open()]), expected);
            assert!(fs::read(&index).unwrap() == whole, "byte {at}");
        }
    }
}

#[test]
fn an_index_is_of_the_archives_size_and_time() {
    let layouts = Layouts::new();
    let dir = layouts.shards();
    let shard = dir.join("three-train-0000.tar");
    let open = || ImageDataset::open_split(&dir, Split::Train).unwrap();
    assert_eq!(open().len(), 45);
    let written = || fs::read(dir.join("bn-inception.train.index")).unwrap();
    let before = written();
    open();
    assert!(written() == before);
    let file = OpenOptions::new().write(true).open(&shard).unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    file.set_modified(time + std::time::Duration::from_secs(2)).unwrap();
    open();
    assert!(written() != before, "another time");
    let one = [("class0/x.jpg".to_owned(), vec![0; 10]), ("class0/x.cls".to_owned(), b"0".to_vec())];
    fs::write(&shard, archive(&one)).unwrap();
    assert_eq!(open().len(), 45 - 8 + 1);
    // A shard that is gone or new is noticed as well.
    fs::remove_file(&shard).unwrap();
    assert_eq!(open().len(), 45 - 8);
}

/// What a run finds whose shard `damage` changed after it was opened: batches, and broken images or the last error.
fn after(damage: impl Fn(&std::path::Path)) -> (usize, Result<usize, String>) {
    let layouts = Layouts::new();
    let dir = layouts.shards();
    let dataset = ImageDataset::open_split(&dir, Split::Train).unwrap();
    let options = LoaderOptions { workers: 2, strict: false, ..OPTIONS };
    let loader = ImageLoader::eval(dataset, Preprocess::imagenet(SIZE), options, &Device::flex()).unwrap();
    damage(&dir.join("three-train-0002.tar"));
    let mut batches = 0;
    for batch in loader.iter_from(0, 0) {
        match batch {
            Ok(_) => batches += 1,
            Err(error) => return (batches, Err(error.to_string())),
        }
    }
    (batches, Ok(loader.broken().count()))
}

#[test]
fn a_shard_that_is_gone_or_cut_stops_the_run_with_its_name() {
    // More than one percent of the images.
    let expected = "images are broken, more than 1 %; the last is ";
    let (_, gone) = after(|shard| fs::remove_file(shard).unwrap());
    let gone = gone.unwrap_err();
    assert!(gone.contains(expected) && gone.contains("three-train-0002.tar/class"), "{gone}");
    assert!(gone.contains("cannot be read"), "{gone}");
    let (_, changed) = after(|shard| OpenOptions::new().write(true).open(shard).unwrap().set_len(100).unwrap());
    let changed = changed.unwrap_err();
    assert!(changed.contains("the archive has changed since the run began"), "{changed}");
    let (batches, intact) = after(|_| ());
    assert_eq!((batches, intact), (6, Ok(0)));
}

#[test]
fn a_shard_that_is_cut_while_it_is_read_breaks_its_images_only() {
    let layouts = Layouts::new();
    let dir = layouts.shards();
    let dataset = ImageDataset::open_split(&dir, Split::Train).unwrap();
    let first = dataset.bytes(0).unwrap();
    let shard = dataset.path(0);
    let shard = shard.ancestors().find(|path| path.extension().is_some_and(|ending| ending == "tar")).unwrap();
    let length = fs::metadata(shard).unwrap().len();
    OpenOptions::new().write(true).open(shard).unwrap().set_len(length / 2).unwrap();
    let results: Vec<_> = (0..dataset.len()).map(|index| dataset.decode(index)).collect();
    let broken: Vec<_> = results.iter().filter_map(|result| Some(result.as_ref().err()?.to_string())).collect();
    assert!(!broken.is_empty() && broken.len() < 8, "{broken:?}");
    assert!(broken.iter().all(|error| error.contains("the archive ends after")), "{broken:?}");
    // Read before the cut or not, its bytes are the same or an error.
    assert!(dataset.bytes(0).is_ok_and(|bytes| bytes == first) || results[0].is_err());
}

#[cfg(unix)]
#[test]
fn an_index_goes_to_the_cache_where_the_data_is_read_only() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;
    const TEST: &str = "archives::an_index_goes_to_the_cache_where_the_data_is_read_only";
    if let Some(dir) = std::env::var_os("DATA_UNDER_TEST") {
        ImageDataset::open_split(dir, Split::Train).unwrap();
        return;
    }
    let layouts = Layouts::new();
    let dir = layouts.shards();
    // A folder in place of the index stops even the superuser from writing it.
    fs::create_dir(dir.join("bn-inception.train.index")).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args([TEST, "--exact"]).env("DATA_UNDER_TEST", &dir).env("BN_INCEPTION_HOME", home.path());
    assert!(test.output().unwrap().status.success());
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let kept: Vec<_> = fs::read_dir(home.path().join("indexes")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read_dir(&dir).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 1);
}
