//! The layers a configuration is made of, and the memory of which value came from where.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use config::{ConfigError, Map, Source, Value, ValueKind};
use serde::Deserialize;

use super::document::{self, Kind, Node, Position, SyntaxError};
use super::error::{Error, Place, snippet, suggest};
use super::sections::Invalid;
use super::typed::{self, Fault, Problem};
use super::{LOCAL_FILE, LoadOptions, PROJECT_FILE, USER_FILE};

/// More than this (1 MiB) is no configuration but a mistake or an attack.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Variables that begin so are settings. Others that begin with `KAPELLE_` are not ours to judge.
const VARIABLE_PREFIX: &str = "KAPELLE__";

/// Every layer hangs below one key, because the `config` crate reads the top-level keys of a
/// source as path expressions, and a file may hold any key.
const ROOT: &str = "root";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A file. Files of the project are named relative to its root.
    File {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u32,
        /// The column in characters, from 1.
        column: u32,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A command-line flag.
    Flag {
        /// The flag as the user knows it, e.g. `--concurrency`.
        flag: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Environment { variable } => f.write_str(variable),
            Self::Flag { flag } => f.write_str(flag),
        }
    }
}

/// One setting from a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key as a dotted path: `run.concurrency`.
    pub key: String,
    /// The value; a list or map in YAML's `[a, b]` or `{a: b}` form, anything else is text.
    pub value: String,
    /// The flag to name in errors and origins.
    pub flag: String,
}

/// What is known about one key of one layer.
#[derive(Debug)]
struct Mark {
    key: Position,
    value: Position,
}

/// Where the settings of a layer come from.
#[derive(Debug)]
enum Medium {
    File { file: PathBuf, text: String },
    Environment { variable: String },
    Flag { flag: String },
}

/// A file, a variable or a flag with what it says.
#[derive(Debug)]
struct Layer {
    medium: Medium,
    value: Value,
    /// Every key and list element of the layer by its path.
    marks: BTreeMap<Vec<String>, Mark>,
}

/// Layers from weak to strong.
#[derive(Debug)]
pub(super) struct Layers(Vec<Layer>);

impl Layers {
    pub(super) fn read(options: &LoadOptions) -> Result<Self, Error> {
        let mut layers = Vec::new();
        if let Some(directory) = &options.user_config_dir {
            let file = directory.join(USER_FILE);
            layers.extend(read_file(&file, &file)?);
        }
        if let Some(file) = &options.fleet_file {
            layers.extend(read_file(file, file)?);
        }
        for name in [PROJECT_FILE, LOCAL_FILE] {
            layers.extend(read_file(&options.project_root.join(name), Path::new(name))?);
        }
        for (name, value) in &options.environment {
            layers.extend(read_variable(name, value)?);
        }
        layers.extend(options.overrides.iter().map(|from_flag| {
            let path = from_flag.key.split('.').map(str::to_owned).collect();
            let medium = Medium::Flag { flag: from_flag.flag.clone() };
            Layer::of_one_setting(medium, path, &from_flag.value)
        }));
        Ok(Self(layers))
    }

    /// One tree, in which stronger layers have replaced what weaker ones said.
    pub(super) fn merge(&self) -> Value {
        let mut builder = config::Config::builder();
        for layer in &self.0 {
            builder = builder.add_source(Rooted(layer.value.clone()));
        }
        let empty = || Value::new(None, ValueKind::Table(Map::new()));
        // Our sources cannot fail, so there is always a tree; it has no root without layers.
        let merged = builder.build().and_then(|merged| merged.cache.into_table());
        merged.ok().and_then(|mut top| top.remove(ROOT)).unwrap_or_else(empty)
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let file = |layer: &Layer| match &layer.medium {
            Medium::File { file, .. } => Some(file.clone()),
            Medium::Environment { .. } | Medium::Flag { .. } => None,
        };
        self.0.iter().filter_map(file).collect()
    }

    /// Checks every layer by itself: a bad value is an error even where a stronger layer hides it.
    pub(super) fn check<'v, T: Deserialize<'v>>(&'v self) -> Result<(), Error> {
        for layer in &self.0 {
            let typed: Result<T, Fault> = typed::from_value(&layer.value);
            typed.map_err(|fault| locate(std::slice::from_ref(layer), fault))?;
        }
        Ok(())
    }

    /// The origin of the value at `path`: the strongest layer that has it.
    pub(super) fn origin(&self, path: &[String]) -> Origin {
        match find(&self.0, path) {
            Some((layer, mark)) => layer.origin(mark.value),
            None => Origin::Default,
        }
    }

    /// Turns a misfit of the merged tree into an error that says where it was written.
    pub(super) fn locate(&self, fault: Fault) -> Error {
        locate(&self.0, fault)
    }

    /// Turns a senseless value into an error that says where it was written.
    pub(super) fn locate_invalid(&self, invalid: Invalid) -> Error {
        let Invalid { path, reason, hint } = invalid;
        Error::Invalid { place: place(&self.0, &path, Part::Value, hint), reason }
    }
}

fn find<'l>(layers: &'l [Layer], path: &[String]) -> Option<(&'l Layer, &'l Mark)> {
    layers.iter().rev().find_map(|layer| Some((layer, layer.marks.get(path)?)))
}

/// The place of `path`, or of the nearest thing around it that somebody wrote.
fn place(layers: &[Layer], path: &[String], of: Part, hint: Option<String>) -> Box<Place> {
    let key = path.join(".");
    let written = (0..=path.len()).rev().find_map(|length| find(layers, &path[..length]));
    Box::new(match written {
        Some((layer, mark)) => {
            let position = match of {
                Part::Key => mark.key,
                Part::Value => mark.value,
            };
            layer.place(position, key, hint)
        }
        None => Place { origin: Origin::Default, key, snippet: None, hint },
    })
}

fn locate(layers: &[Layer], fault: Fault) -> Error {
    let Fault { mut path, problem } = fault;
    match problem {
        Problem::UnknownKey { name, known } => {
            let hint = suggest(&name, known);
            path.push(name);
            Error::UnknownKey { place: place(layers, &path, Part::Key, hint) }
        }
        Problem::UnknownValue { found, known } => {
            let hint = suggest(&found, known);
            Error::UnknownValue { place: place(layers, &path, Part::Value, hint), found }
        }
        Problem::WrongType { expected, found } => {
            Error::WrongType { place: place(layers, &path, Part::Value, None), expected, found }
        }
        Problem::MissingKey { name } => {
            path.push(name);
            Error::MissingKey { place: place(layers, &path, Part::Value, None) }
        }
        Problem::Unreadable { reason } => {
            Error::Invalid { place: place(layers, &path, Part::Value, None), reason }
        }
    }
}

/// Which end of `key: value` an error is about.
#[derive(Clone, Copy)]
enum Part {
    Key,
    Value,
}

impl Layer {
    fn new(medium: Medium, root: Node) -> Self {
        let mut marks = BTreeMap::new();
        let position = root.position;
        let value = record(root, &mut Vec::new(), &mut marks);
        marks.insert(Vec::new(), Mark { key: position, value: position });
        Self { medium, value, marks }
    }

    /// A layer that sets the one key at `path`.
    fn of_one_setting(medium: Medium, path: Vec<String>, value: &str) -> Self {
        let position = Position { line: 1, column: 1, length: 0 };
        let mut node = parse_setting(value);
        for segment in path.into_iter().rev() {
            let kind = Kind::Map(BTreeMap::from([(segment, (position, node))]));
            node = Node { kind, position };
        }
        Self::new(medium, node)
    }

    fn origin(&self, position: Position) -> Origin {
        match &self.medium {
            Medium::File { file, .. } => {
                Origin::File { file: file.clone(), line: position.line, column: position.column }
            }
            Medium::Environment { variable } => Origin::Environment { variable: variable.clone() },
            Medium::Flag { flag } => Origin::Flag { flag: flag.clone() },
        }
    }

    fn place(&self, position: Position, key: String, hint: Option<String>) -> Place {
        let snippet = match &self.medium {
            Medium::File { text, .. } => {
                snippet(text, position.line, position.column, position.length)
            }
            Medium::Environment { .. } | Medium::Flag { .. } => None,
        };
        Place { origin: self.origin(position), key, snippet, hint }
    }
}

/// The node as the merger wants it; its places go to `marks`. A key without a value is left out,
/// since it says nothing.
fn record(node: Node, path: &mut Vec<String>, marks: &mut BTreeMap<Vec<String>, Mark>) -> Value {
    let kind = match node.kind {
        Kind::Nothing => ValueKind::Nil,
        Kind::Text(text) => ValueKind::String(text),
        Kind::List(items) => {
            let mut list = Vec::new();
            for (index, item) in items.into_iter().enumerate() {
                path.push(index.to_string());
                marks.insert(path.clone(), Mark { key: item.position, value: item.position });
                list.push(record(item, path, marks));
                path.pop();
            }
            ValueKind::Array(list)
        }
        Kind::Map(entries) => {
            let mut table = Map::new();
            for (name, (key, value)) in entries {
                if value.kind == Kind::Nothing {
                    continue;
                }
                path.push(name.clone());
                marks.insert(path.clone(), Mark { key, value: value.position });
                table.insert(name, record(value, path, marks));
                path.pop();
            }
            ValueKind::Table(table)
        }
    };
    Value::new(None, kind)
}

/// A layer's tree as a source for the `config` crate.
#[derive(Clone, Debug)]
struct Rooted(Value);

impl Source for Rooted {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(Map::from([(ROOT.to_owned(), self.0.clone())]))
    }
}

/// Reads one file; `None` when there is none or it says nothing. `shown` is its name in errors.
fn read_file(path: &Path, shown: &Path) -> Result<Option<Layer>, Error> {
    let failed = |source| Error::Read { file: shown.to_owned(), source };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(Error::TooLarge { file: shown.to_owned(), limit: MAX_FILE_BYTES });
    }
    let (text, fault) = decode(&bytes);
    let parsed = match fault {
        Some(error) => Err(error),
        None => document::parse(&text),
    };
    let parsed = parsed.and_then(|root| match root.kind {
        Kind::Map(_) | Kind::Nothing => Ok(root),
        Kind::Text(_) | Kind::List(_) => Err(SyntaxError {
            reason: "the file must be a map of sections, such as `run:`".to_owned(),
            position: root.position,
        }),
    });
    let medium = Medium::File { file: shown.to_owned(), text };
    match parsed {
        Ok(root) if root.kind == Kind::Nothing => Ok(None),
        Ok(root) => Ok(Some(Layer::new(medium, root))),
        Err(SyntaxError { reason, position }) => {
            let nowhere = Node { kind: Kind::Nothing, position };
            let place = Layer::new(medium, nowhere).place(position, String::new(), None);
            Err(Error::Syntax { place: Box::new(place), reason })
        }
    }
}

/// The text without a byte order mark; the first byte that is not UTF-8 is reported.
fn decode(bytes: &[u8]) -> (String, Option<SyntaxError>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let fault = std::str::from_utf8(bytes).err().map(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
        SyntaxError {
            reason: "the file is not UTF-8 text".to_owned(),
            position: Position {
                line: number(before.matches('\n').count()),
                column: number(before[line_start..].chars().count()),
                length: 1,
            },
        }
    });
    (String::from_utf8_lossy(bytes).into_owned(), fault)
}

/// `KAPELLE__RUN__MODE=batch` as a layer; `None` for variables that are not settings or empty.
fn read_variable(name: &OsStr, value: &OsStr) -> Result<Option<Layer>, Error> {
    let Some(path) = name.to_str().and_then(|name| name.strip_prefix(VARIABLE_PREFIX)) else {
        return Ok(None);
    };
    if value.is_empty() {
        return Ok(None);
    }
    let path = variable_path(path);
    let variable = name.to_string_lossy().into_owned();
    let Some(value) = value.to_str() else {
        return Err(Error::Syntax {
            place: Box::new(Place {
                origin: Origin::Environment { variable },
                key: path.join("."),
                snippet: None,
                hint: None,
            }),
            reason: "the value is not UTF-8 text".to_owned(),
        });
    };
    Ok(Some(Layer::of_one_setting(Medium::Environment { variable }, path, value)))
}

/// `AGENTS__CLAUDE__TIMEOUT` as `agents.claude.timeout`. Variables handed to an agent
/// (`agents.<name>.env.<VARIABLE>`) keep their case.
fn variable_path(name: &str) -> Vec<String> {
    let mut path = Vec::new();
    for segment in name.split("__") {
        let within_env = path.len() == 3 && path[0] == "agents" && path[2] == "env";
        path.push(if within_env { segment.to_owned() } else { segment.to_lowercase() });
    }
    path
}

/// The value of a variable or flag: a YAML list or map in brackets, or else plain text.
fn parse_setting(value: &str) -> Node {
    let position = Position { line: 1, column: 1, length: 0 };
    let text = || Node { kind: Kind::Text(value.to_owned()), position };
    if !value.starts_with(['[', '{']) {
        return text();
    }
    // What only looks like a list is taken as text; the type it meets says what it wants.
    document::parse(value).unwrap_or_else(|_| text())
}
