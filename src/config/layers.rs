//! Lays file, environment and flags over the defaults, and remembers where each value is from.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeValue;
use toml::{Table, Value};

use super::error::{ConfigError, ConfigErrors, Origin, hint};

/// What starts the name of an environment variable that sets a key.
const ENV_PREFIX: &str = "POSTWORKS__";
/// An environment variable of this ending names a file that holds the value.
const FILE_SUFFIX: &str = "_FILE";
/// Sections whose tables carry names of the program, not of this file.
const NAMED: [&str; 2] = ["kinds", "platforms"];

/// Where a configuration is read from, besides the defaults. Later ones win.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    file: Option<(String, String)>,
    env: Vec<(String, String)>,
    flags: Vec<(String, String)>,
    kinds: Vec<String>,
    platforms: Vec<String>,
}

impl Sources {
    /// The text of a file, and its name for messages.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.file = Some((name.into(), text.into()));
        self
    }

    /// A file's path.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_file(self, path: &Path) -> Result<Self, ConfigErrors> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(self.file(name, text)),
            Err(error) => {
                let origin = Origin::File { name, line: None };
                let message = format!("cannot be read: {error}");
                Err(ConfigErrors(vec![ConfigError::new("", origin, message)]))
            }
        }
    }

    /// The environment; what does not start with `POSTWORKS__` is ignored.
    #[must_use]
    pub fn env(mut self, vars: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(vars.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)));
        self.env.sort();
        self
    }

    /// A flag's value, if it was given, for the key at `path` (as in `worker.grace`).
    #[must_use]
    pub fn flag(mut self, path: &str, value: Option<impl ToString>) -> Self {
        self.flags.extend(value.map(|value| (path.to_owned(), value.to_string())));
        self
    }

    /// Names that `[kinds.NAME]` may carry besides the built-in ones.
    #[must_use]
    pub fn kinds(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.kinds.extend(names);
        self
    }

    /// Names that `[platforms.NAME]` may carry besides the built-in ones.
    #[must_use]
    pub fn platforms(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.platforms.extend(names);
        self
    }
}

/// The values in effect.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers {
    pub(super) values: Table,
    /// Where the values that are no defaults come from, by key.
    pub(super) origins: BTreeMap<String, Origin>,
    pub(super) faults: Vec<ConfigError>,
    defaults: Table,
    extra: BTreeMap<&'static str, Vec<String>>,
}

impl Layers {
    pub(super) fn new(defaults: Table, sources: &Sources) -> Self {
        let extra = NAMED.into_iter().zip([sources.kinds.clone(), sources.platforms.clone()]);
        let mut layers =
            Self { values: defaults.clone(), defaults, extra: extra.collect(), ..Self::default() };
        if let Some((name, text)) = &sources.file {
            layers.lay_file(name, text);
        }
        for (name, value) in &sources.env {
            layers.lay_env(name, value);
        }
        for (path, value) in &sources.flags {
            let last = path.rsplit('.').next().unwrap_or(path);
            let origin = Origin::Flag(format!("--{}", last.replace('_', "-")));
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            layers.lay_text(&path, value, &origin);
        }
        layers
    }

    /// Where the value of `key` comes from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Puts the default back where a value at `path` (or inside it) does not fit; answers its
    /// key, or `None` if the fault lies in a default.
    pub(super) fn reset(&mut self, path: &str) -> Option<(String, Origin)> {
        let inside = |key: &str| {
            path.strip_prefix(key)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let key = self.origins.keys().find(|key| inside(key))?.clone();
        let origin = self.origins.remove(&key)?;
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let default = at(&self.defaults, &path).cloned();
        let (last, parents) = path.split_last()?;
        let table = table_at(&mut self.values, parents)?;
        match default {
            Some(value) => table.insert(last.clone(), value),
            None => table.remove(last),
        };
        Some((key, origin))
    }

    fn lay_file(&mut self, name: &str, text: &str) {
        let origin = |line| Origin::File { name: name.to_owned(), line };
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map(|span| line_of(text, span.start));
                let message = format!("is no TOML: {}", error.message());
                return self.faults.push(ConfigError::new("", origin(line), message));
            }
        };
        let lines = lines(text);
        self.lay_table(&mut Vec::new(), table, &|key| origin(lines.get(key).copied()));
    }

    /// Walks a table of the file along the defaults, which say what is a section and what a key.
    fn lay_table(
        &mut self,
        path: &mut Vec<String>,
        table: Table,
        origin: &impl Fn(&str) -> Origin,
    ) {
        for (name, value) in table {
            path.push(name);
            let origin_here = origin(&path.join("."));
            match (self.template(path), value) {
                (Err(message), _) => self.fault(path, origin_here, message),
                (Ok(Value::Table(_)), Value::Table(inner)) => self.lay_table(path, inner, origin),
                (Ok(Value::Table(_)), _) => {
                    self.fault(path, origin_here, "is a section, not a value".to_owned());
                }
                (Ok(_), value) => self.set(path, value, origin_here),
            }
            path.pop();
        }
    }

    fn lay_env(&mut self, name: &str, value: &str) {
        let origin = Origin::Env(name.to_owned());
        let path_of = |name: &str| -> Vec<String> {
            let keys = name.strip_prefix(ENV_PREFIX).unwrap_or(name).to_ascii_lowercase();
            keys.split("__").map(str::to_owned).collect()
        };
        // A key may end so itself: its value is the file's name.
        let is_key = self.template(&path_of(name)).is_ok();
        let (keys, value) = match name.strip_suffix(FILE_SUFFIX).filter(|_| !is_key) {
            None => (name, value.to_owned()),
            Some(keys) => match std::fs::read_to_string(value) {
                Ok(text) => (keys, text.trim().to_owned()),
                Err(error) => {
                    let message = format!("the file {value:?} cannot be read: {error}");
                    return self.faults.push(ConfigError::new("", origin, message));
                }
            },
        };
        self.lay_text(&path_of(keys), &value, &origin);
    }

    /// Sets a value that came as text, reading it as the default's type.
    fn lay_text(&mut self, path: &[String], text: &str, origin: &Origin) {
        let value = match self.template(path) {
            Err(message) => return self.fault(path, origin.clone(), message),
            Ok(Value::Table(_)) => {
                let message = "is a section: name one of its keys too".to_owned();
                return self.fault(path, origin.clone(), message);
            }
            Ok(Value::Integer(_)) => text.trim().parse().map(Value::Integer).ok(),
            Ok(Value::Boolean(_)) => text.trim().parse().map(Value::Boolean).ok(),
            Ok(Value::Array(_)) => Some(Value::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::String(item.to_owned()))
                    .collect(),
            )),
            Ok(_) => None,
        };
        // What does not read as the type is left as text: the fault is found where every other
        // wrong type is.
        let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
        self.set(path, value, origin.clone());
    }

    /// The default at `path`, or why there is none.
    fn template(&self, path: &[String]) -> Result<&Value, String> {
        let mut here = &self.defaults;
        let mut found = None;
        for (depth, name) in path.iter().enumerate() {
            let extra = named(&path[..depth]).and_then(|what| self.extra.get(what));
            let known = here
                .get(name)
                .or_else(|| extra?.contains(name).then(|| here.values().next()).flatten())
                .or_else(|| self.of_another_platform(&path[..depth], name));
            let Some(value) = known else {
                let names = here.keys().chain(extra.into_iter().flatten()).map(String::as_str);
                return Err(format!("unknown key{}", hint(name, names)));
            };
            found = Some(value);
            match value {
                Value::Table(table) => here = table,
                _ if depth + 1 < path.len() => return Err("is a value, not a section".to_owned()),
                _ => {}
            }
        }
        found.ok_or_else(|| "unknown key".to_owned())
    }

    /// A section that any platform may have, where one of the defaults has it.
    fn of_another_platform(&self, path: &[String], name: &str) -> Option<&Value> {
        let ["platforms", _] = path.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
            return None;
        };
        let platforms = self.defaults.get("platforms")?.as_table()?;
        platforms.values().find_map(|platform| platform.get(name))
    }

    fn set(&mut self, path: &[String], value: Value, origin: Origin) {
        let Some((last, parents)) = path.split_last() else { return };
        if let Some(table) = table_at(&mut self.values, parents) {
            table.insert(last.clone(), value);
            self.origins.insert(path.join("."), origin);
        }
    }

    fn fault(&mut self, path: &[String], origin: Origin, message: String) {
        self.faults.push(ConfigError::new(path.join("."), origin, message));
    }
}

/// Of what the keys of the table at `path` are names, if they are none of this file's.
fn named(path: &[String]) -> Option<&'static str> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        [section] => NAMED.into_iter().find(|name| *name == section),
        ["platforms", _, "quotas", "endpoints"] => Some("kinds"),
        _ => None,
    }
}

fn at<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = table.get(first)?;
    if rest.is_empty() { Some(value) } else { at(value.as_table()?, rest) }
}

/// The table at `path`, made if it is not there.
fn table_at<'a>(mut table: &'a mut Table, path: &[String]) -> Option<&'a mut Table> {
    for name in path {
        let next = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
        table = next.as_table_mut()?;
    }
    Some(table)
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The line of every key in a text that is known to be TOML.
fn lines(text: &str) -> BTreeMap<String, usize> {
    fn walk(
        table: &toml::de::DeTable<'_>,
        path: &mut Vec<String>,
        text: &str,
        into: &mut BTreeMap<String, usize>,
    ) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            into.insert(path.join("."), line_of(text, key.span().start));
            if let DeValue::Table(inner) = value.get_ref() {
                walk(inner, path, text, into);
            }
            path.pop();
        }
    }
    let mut lines = BTreeMap::new();
    if let Ok(table) = toml::de::DeTable::parse(text) {
        walk(table.get_ref(), &mut Vec::new(), text, &mut lines);
    }
    lines
}
