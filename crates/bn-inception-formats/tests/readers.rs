//! Every reader on real files, and the files that readers refuse.

#![allow(clippy::unwrap_used)] // a failed setup step is a failed test

use std::path::Path;

use bn_inception_formats::{Array, Format, ReadError, Values, read, read_beside};

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

fn refused(bytes: &[u8], parts: &[&str]) {
    let error = read(bytes).unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "`{error}` does not say `{part}`");
    }
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn the_format_is_told_by_content() {
    for (name, format) in [
        ("zip.pth", Format::PyTorchZip),
        ("legacy.pth", Format::PyTorchLegacy),
        ("nested.pth", Format::PyTorchZip),
        ("folded.onnx", Format::Onnx),
        ("structure.onnx", Format::Onnx),
        ("mxnet.params", Format::MxNet),
        ("scale.caffemodel", Format::Caffe),
        ("bn.caffemodel", Format::Caffe),
        ("cadene.safetensors", Format::Safetensors),
    ] {
        let archive = read(&fixture(name)).unwrap();
        assert_eq!(archive.format, format, "{name}");
        assert!(archive.tensors.len() > 100, "{name}: {}", archive.tensors.len());
    }
}

#[test]
fn formats_agree_on_the_values() {
    let zip = read(&fixture("zip.pth")).unwrap().tensors;
    assert_eq!(read(&fixture("legacy.pth")).unwrap().tensors, zip);
    assert_eq!(read(&fixture("cadene.safetensors")).unwrap().tensors, zip);
    let nested = read(&fixture("nested.pth")).unwrap().tensors;
    assert_eq!(nested.len(), zip.len());
    for (name, array) in zip {
        let half = nested[&format!("module.{name}")].clone();
        assert_eq!(half.shape, array.shape);
        for (half, value) in half.into_values().iter().zip(array.into_values()) {
            assert!((half - value).abs() <= 1e-3 * value.abs() + 1e-6, "{name}");
        }
    }
}

/// A model and its values in `external.onnx.data`, in a folder of their own.
fn model_with_data() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("inside")).unwrap();
    std::fs::write(folder.path().join("inside/external.onnx.data"), fixture("external.onnx.data")).unwrap();
    (folder, fixture("external.onnx"))
}

#[test]
fn onnx_values_may_be_in_a_file_beside_the_model() {
    let folded = read(&fixture("folded.onnx")).unwrap().tensors;
    let (folder, model) = model_with_data();
    assert_eq!(read_beside(&model, &folder.path().join("inside")).unwrap().tensors, folded);
    refused(&model, &["tensor `", "its values are in `external.onnx.data`", "read from memory"]);
}

#[test]
fn no_other_files_are_read() {
    const NAME: &str = "external.onnx.data";
    let (folder, model) = model_with_data();
    let inside = folder.path().join("inside");
    let refused = |model: &[u8], part: &str| {
        let error = read_beside(model, &inside).unwrap_err().to_string();
        assert!(error.contains("its values are in `") && error.contains(part), "{error}");
        assert!(!error.contains('\n'), "{error}");
    };
    // Names of the same length, so that the lengths in the model stay true.
    let renamed = |name: &str| {
        assert_eq!(name.len(), NAME.len());
        let mut model = model.clone();
        for at in 0..model.len() - NAME.len() {
            if model[at..].starts_with(NAME.as_bytes()) {
                model[at..at + NAME.len()].copy_from_slice(name.as_bytes());
            }
        }
        model
    };
    std::fs::copy(inside.join(NAME), folder.path().join("ernal.onnx.data")).unwrap();
    for outside in ["../ernal.onnx.data", "/etc/../etc/passwd", "./../l.onnx.data  ", "a/../../.onnx.data"] {
        refused(&renamed(outside), "no path inside the folder of the model");
    }
    refused(&renamed("external.onnx.else"), "No such file");
    std::fs::create_dir(inside.join("a.directory.is.bad")).unwrap();
    refused(&renamed("a.directory.is.bad"), "no file");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("ernal.onnx.data"), inside.join("linked_v.onnx.data")).unwrap();
        refused(&renamed("linked_v.onnx.data"), "a link out of the folder");
    }
    let whole = fixture(NAME);
    std::fs::write(inside.join(NAME), &whole[..whole.len() / 2]).unwrap();
    refused(&model, &format!("of {} in the file", whole.len() / 2));
}

#[test]
fn constants_are_not_spelled_out() {
    let archive = read(&fixture("structure.onnx")).unwrap();
    let weight = &archive.tensors["loss3/classifier_w_0"];
    assert_eq!(weight.shape, [1000, 1024]);
    assert_eq!(weight.values, Values::Constant(0.02));
}

#[test]
fn strangers_are_named() {
    for (bytes, part) in [
        (&b"\xff\xd8\xff\xe0 JFIF"[..], "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\n <!doctype HTML>", "HTML"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"hello", "68, 65, 6c, 6c, 6f"),
    ] {
        refused(bytes, &["not a weight file", part]);
    }
    assert_eq!(read(b""), Err(ReadError::Empty));
}

#[test]
fn files_cut_short_are_refused() {
    for name in [
        "zip.pth",
        "legacy.pth",
        "folded.onnx",
        "mxnet.params",
        "scale.caffemodel",
        "bn.caffemodel",
        "cadene.safetensors",
    ] {
        let whole = fixture(name);
        for end in [whole.len() - 1, whole.len() / 2, 40, 9] {
            assert!(read(&whole[..end]).is_err(), "{name} cut to {end}");
        }
    }
    let zip = fixture("zip.pth");
    refused(&zip[..zip.len() / 2], &["PyTorch file (zip)", "cut short"]);
}

/// An MXNet list of one array, from `magic` to its values, called `name`.
fn mxnet(name: &str, array: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0x112u64, 0, 1] {
        file.extend(word.to_le_bytes());
    }
    file.extend(array);
    file.extend(1u64.to_le_bytes());
    file.extend((name.len() as u64).to_le_bytes());
    file.extend(name.as_bytes());
    file
}

fn words(words: &[i32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn mxnet_arrays_of_every_version() {
    let values = [1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let legacy = [words(&[2, 1, 2]), words(&[1, 0, 0]), values.clone()].concat();
    let (one, two, three) = (0xF993_FAC8u32 as i32, 0xF993_FAC9u32 as i32, 0xF993_FACAu32 as i32);
    let version_1 = [words(&[one, 2, 1, 0, 2, 0]), words(&[1, 0, 0]), values.clone()].concat();
    let version_2 = [words(&[two, 0, 2, 1, 0, 2, 0]), words(&[1, 0, 0]), values.clone()].concat();
    let version_3 = [words(&[three, 0, 2, 1, 0, 2, 0]), words(&[1, 0, 0]), values].concat();
    for array in [legacy, version_1, version_2, version_3] {
        let archive = read(&mxnet("arg:a", &array)).unwrap();
        assert_eq!(archive.tensors["arg:a"], Array::new(vec![1, 2], vec![1.5, -2.0]));
    }
    refused(&mxnet("a", &words(&[two, 1, 0])), &["MXNet", "sparse"]);
    refused(&mxnet("a", &words(&[two, 0, 1, -1, -1, 1, 0, 0])), &["MXNet", "too"]);
}

/// A legacy PyTorch file whose object is the pickle `object`.
fn legacy(object: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    file.extend(object);
    file
}

#[test]
fn pickles_run_no_code() {
    for (module, name) in [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("models.bn", "BNInception")] {
        let call = format!("\u{0}c{module}\n{name}\n(X\u{4}\0\0\0trueetR.");
        let mut object = b"\x80\x02".to_vec();
        object.extend(&call.as_bytes()[1..]);
        refused(&legacy(&object), &["refers to", &format!("{module}.{name}")]);
    }
}

/// Beside the state dict: tensors, the state of an optimizer, numpy's numbers, the arguments of a program.
#[test]
fn a_checkpoints_state_dict_is_found() {
    let half = read(&fixture("nested.pth")).unwrap().tensors;
    for name in ["imagenet.pth", "imagenet_legacy.pth"] {
        let tensors = read(&fixture(name)).unwrap().tensors;
        assert!(tensors.len() > 400, "{name}: {}", tensors.len());
        for (key, array) in &tensors {
            assert_eq!(Some(array), half.get(key), "{name}: {key}");
        }
    }
}

#[test]
fn models_saved_whole_are_refused() {
    for (name, parts) in [
        ("module.pth", ["`__main__.Tiny`", "save `model.state_dict()`"]),
        ("module_legacy.pth", ["`__main__.Tiny`", "save `model.state_dict()`"]),
        ("script.pt", ["TorchScript", "save `model.state_dict()`"]),
    ] {
        refused(&fixture(name), &parts);
    }
}

#[test]
fn a_dictionary_of_tensors_is_not_lost() {
    let mut file = tensor(6, 0, [2, 3], [3, 1]);
    let pickled = file.windows(7).rposition(|part| part == b"\x89N\x74Rs.\x80").unwrap();
    // `{"w": …, "x": {"w": …}}`: the tensor is noted, and recalled in a dictionary of its own.
    file.splice(pickled + 4..pickled + 5, b"q\0sX\x01\0\0\0x}X\x01\0\0\0wh\0ss".iter().copied());
    refused(&file, &["`x` is a dictionary of tensors beside tensors"]);
}

#[test]
fn pickles_cannot_take_much() {
    // 1,000 dictionaries from one list of 1,000 pairs.
    let mut object = b"\x80\x02ccollections\nOrderedDict\nq\0](".to_vec();
    object.extend(b"K\x01K\x01\x86".repeat(1000));
    object.extend(b"eq\x01".iter());
    object.extend(b"h\0h\x01\x85R".repeat(1000));
    refused(&legacy(&object), &["number of objects"]);
    // A list that contains itself.
    refused(&legacy(b"\x80\x02]q\0h\0a."), &["cut short"]);
    // A hundred thousand nested tuples.
    let mut object = b"\x80\x02)".to_vec();
    object.extend(b"\x85".repeat(100_000));
    object.push(b'.');
    refused(&legacy(&object), &["number of objects"]);
}

/// A pickled state dict with one tensor `w` in a storage of `length` numbers.
fn tensor(length: u8, offset: u8, shape: [u8; 2], strides: [u8; 2]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage".to_vec();
    pickle.extend(b"ctorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK".iter());
    pickle.extend([length, b't', b'Q', b'K', offset]);
    for pair in [shape, strides] {
        pickle.extend([b'K', pair[0], b'K', pair[1], 0x86]);
    }
    pickle.extend(b"\x89N\x74Rs.");
    let mut file = legacy(&pickle);
    file.extend(b"\x80\x02](X\x01\0\0\x000e.");
    file.extend(u64::from(length).to_le_bytes());
    file.extend((0..length).flat_map(|v| f32::from(v).to_le_bytes()));
    file
}

#[test]
fn strides_and_offsets_are_honoured_and_checked() {
    let values = |file: &[u8]| read(file).unwrap().tensors["w"].clone().into_values();
    assert_eq!(values(&tensor(6, 0, [2, 3], [3, 1])), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(&tensor(6, 0, [3, 2], [1, 3])), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(values(&tensor(6, 2, [2, 2], [2, 1])), [2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values(&tensor(6, 5, [2, 1], [0, 1])), [5.0, 5.0]);
    refused(&tensor(6, 3, [2, 2], [2, 1]), &["`w`", "reach out of a storage of 6"]);
    refused(&tensor(6, 0, [255, 255], [0, 0]), &["`w`", "too many"]);
}

#[test]
fn foreign_archives_are_refused() {
    use std::io::{Cursor, Write as _};
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    let zip = |name: &str, content: &[u8]| {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file(name, options).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap().into_inner()
    };
    refused(&zip("word/document.xml", b"<xml/>"), &["without `data.pkl`"]);
    refused(&zip("a/data.pkl", &vec![b'N'; 10_000_000]), &["unpacks to more than"]);
    refused(&zip("../../a/data.pkl", b"\x80\x02}."), &["no state dict"]);
}
