//! Examples that a program was given as files, folders and lists.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bn_inception::data::{Content, DecodeError, FileList, Input};
use bn_inception::{ImageEmbedder, decode_file};

use crate::Failure;

/// The argument that stands for a list on standard input.
const STDIN: &str = "-";

/// One example: the files whose channels it is made of, usually one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// At least one file.
    pub files: Vec<PathBuf>,
}

/// Examples in the order of the arguments, and the files of folders that are none.
#[derive(Debug, Default)]
pub struct Examples {
    /// The examples.
    pub list: Vec<Example>,
    /// Files below the folders that are of another kind.
    pub others: Vec<PathBuf>,
}

/// Kind of examples that folders are searched for; files and lists may name both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Images, for networks of three channels.
    Images,
    /// Arrays of NumPy, for networks of other inputs.
    Arrays,
}

impl Examples {
    /// The examples that `arguments` name: images and arrays, folders of either `kind`, and lists, text files with a path
    /// in each line, or several with tabs between them. `-` is a list on standard input.
    ///
    /// # Errors
    /// [`Failure`] naming an argument that does not exist or is none of these, such as a list of no file that exists.
    pub fn find(arguments: &[PathBuf], kind: Kind) -> Result<Self, Failure> {
        let mut examples = Self::default();
        for argument in arguments {
            let named = |error: io::Error| format!("{}: {error}", argument.display());
            if argument.as_os_str() == STDIN {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).map_err(named)?;
                examples.list.extend(listed(&text));
            } else if fs::metadata(argument).map_err(named)?.is_dir() {
                let FileList { images, arrays, mut others } = FileList::below(argument)?;
                let (files, rest) = match kind {
                    Kind::Images => (images, arrays),
                    Kind::Arrays => (arrays, images),
                };
                examples.list.extend(files.into_iter().map(|file| Example { files: vec![file] }));
                others.extend(rest);
                others.sort();
                examples.others.extend(others);
            } else if Content::of_file(argument).map_err(named)? != Content::Other {
                examples.list.push(Example { files: vec![argument.clone()] });
            } else {
                let text = String::from_utf8(fs::read(argument).map_err(named)?).unwrap_or_default();
                let listed: Vec<Example> = listed(&text).collect();
                // Any other text, or none.
                if !listed.iter().flat_map(|example| &example.files).any(|file| file.exists()) {
                    return Err(format!("{}: neither an image nor a list of files", argument.display()).into());
                }
                examples.list.extend(listed);
            }
        }
        Ok(examples)
    }
}

/// The examples in the lines of a list.
fn listed(text: &str) -> impl Iterator<Item = Example> {
    let lines = text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.trim().is_empty());
    lines.map(|line| Example { files: line.split('\t').map(PathBuf::from).collect() })
}

impl Example {
    /// The paths, with blanks between them.
    pub fn name(&self) -> String {
        let names: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        names.join(" ")
    }

    /// The inputs that the example's files hold for the network of `embedder`, each with its name: one, unless the file is
    /// an array of several. Several files are the channels of one input, in order, and each image among them is one.
    ///
    /// # Errors
    /// The reason why there are none, with the file if there are several.
    pub fn read(&self, embedder: &ImageEmbedder) -> Result<Vec<(String, Input)>, String> {
        let name = self.name();
        if name.contains(['\n', '\r']) {
            return Err("its name has more than one line".to_owned());
        }
        let inputs = match self.files.as_slice() {
            [file] => read_whole(file, embedder)?,
            several => {
                let parts = several.iter().map(|file| {
                    read_channels(file, embedder).map_err(|reason| format!("{}: {reason}", file.display()))
                });
                let stacked = Input::stack(parts.collect::<Result<Vec<_>, _>>()?);
                vec![stacked.map_err(|error| error.to_string())?]
            }
        };
        for input in &inputs {
            embedder.check(input.shape).map_err(|error| error.to_string())?;
        }
        let single = inputs.len() == 1;
        let names = inputs.into_iter().enumerate().map(|(index, input)| {
            let name = if single { name.clone() } else { format!("{name}#{index}") };
            (name, input)
        });
        Ok(names.collect())
    }
}

/// The inputs in one file: a colour image, or the examples of an array. In a network of one channel images are grey.
fn read_whole(file: &Path, embedder: &ImageEmbedder) -> Result<Vec<Input>, String> {
    if is_array(file)? {
        return Input::read(file).map_err(|error| error.to_string());
    }
    if embedder.metadata().config.image_channels() == 1 {
        return read_channels(file, embedder).map(|input| vec![input]);
    }
    let image = decode_file(file).map_err(|error| error.to_string())?;
    let input = embedder.prepare(&image).map_err(|error| error.to_string())?;
    Ok(vec![input])
}

/// The channels in one of several files: one of a grey image, or those of an array.
fn read_channels(file: &Path, embedder: &ImageEmbedder) -> Result<Input, String> {
    if is_array(file)? {
        let mut examples = Input::read(file).map_err(|error| error.to_string())?;
        return match (examples.pop(), examples.len()) {
            (Some(example), 0) => Ok(example),
            (_, others) => Err(format!("an array of {} examples beside other files, expected one", others + 1)),
        };
    }
    let image = decode_file(file).map_err(|error: DecodeError| error.to_string())?;
    let preprocess = &embedder.metadata().preprocess;
    Input::grey(&image, preprocess, embedder.view()).map_err(|error| error.to_string())
}

fn is_array(file: &Path) -> Result<bool, String> {
    let content = Content::of_file(file).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(content == Content::Array)
}
