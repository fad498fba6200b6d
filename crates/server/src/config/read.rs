//! Reads the sources and lays their values over a base.

use std::path::{Path, PathBuf};

use hub::limits::Limit;
use hub::tenancy::HubName;
use toml::de::{DeTable, DeValue};

use super::form::{self, Raw};
use super::nearest::nearest;
use super::problem::{ConfigError, Place, Problem};
use super::table::{HUB_KEYS, KEYS, environment_name};
use super::{Config, HubConfig};

/// Largest configuration file, in bytes: far above any that makes sense.
const FILE_BYTES_MAX: u64 = 1_024 * 1_024;

/// Sections whose environment variables must be known. Other variables that begin with `IRONHUB_` may belong to somebody
/// else: Kubernetes makes `IRONHUB_SERVICE_HOST` and its like for a service of that name.
const SECTIONS: [&str; 5] = ["LISTENERS", "TLS", "LOG", "LIMITS", "HUBS"];

/// Where values come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, if any.
    pub file: Option<PathBuf>,
    /// The environment: all variables, of which those of the configuration are taken.
    pub environment: Vec<(String, String)>,
    /// Flags, in their order; of two with one key the later one holds.
    pub flags: Vec<Flag>,
}

/// A value that was given as a flag.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as it was written, for messages: `--mqtt-port`.
    pub written: String,
    /// The key it sets.
    pub key: String,
    /// The value.
    pub value: String,
}

impl Flag {
    /// A flag of its own for a key.
    pub fn new(written: &str, key: &str, value: impl Into<String>) -> Self {
        Self {
            written: written.to_owned(),
            key: key.to_owned(),
            value: value.into(),
        }
    }

    /// The argument of the flag for any key, `--set KEY=VALUE`. None when it has no `=`.
    pub fn any(argument: &str) -> Option<Self> {
        let (key, value) = argument.split_once('=')?;
        Some(Self::new(
            &format!("--set {}", key.trim()),
            key.trim(),
            value.trim(),
        ))
    }
}

/// A value, its key and its place.
struct Entry {
    place: Place,
    key: String,
    // None for a table that is only opened, such as `[hubs.hub1]`.
    raw: Option<Raw>,
}

/// Lays the sources over a base. The result is complete in form but not checked: see [`check`](super::check).
pub fn overlay(base: Config, sources: &Sources) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let mut config = base;
    let mut folder = None;
    let mut entries = Vec::new();
    if let Some(path) = &sources.file {
        folder = path.parent();
        match file_entries(path) {
            Ok(found) => entries = found,
            Err(problem) => problems.push(problem),
        }
    }
    // Environment variables of a hub are found by the hubs there are, so the file goes first.
    apply(&mut config, entries, folder, &mut problems);
    apply(
        &mut config,
        environment_entries(&sources.environment, &mut problems),
        None,
        &mut problems,
    );
    let flags = sources.flags.iter().map(|flag| Entry {
        place: Place::Flag(flag.written.clone()),
        key: flag.key.clone(),
        raw: Some(Raw::Text(flag.value.clone())),
    });
    apply(&mut config, flags.collect(), None, &mut problems);
    ConfigError::unless_empty(problems)?;
    config.hubs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(config)
}

fn apply(config: &mut Config, entries: Vec<Entry>, folder: Option<&Path>, problems: &mut Vec<Problem>) {
    for Entry { place, key, raw } in entries {
        let result = match raw {
            Some(raw) => set(config, &key, &raw, folder),
            None => hub_of(config, &key).map(|_| ()),
        };
        if let Err(text) = result {
            problems.push(Problem { place, text });
        }
    }
}

fn set(config: &mut Config, key: &str, raw: &Raw, folder: Option<&Path>) -> Result<(), String> {
    let named = |text| format!("{key}: {text}");
    if let Some(row) = KEYS.iter().find(|row| row.key == key) {
        return (row.read)(config, raw, folder).map_err(named);
    }
    if let Some(limit) = key.strip_prefix("limits.").and_then(Limit::from_name) {
        let value = form::limit(raw, limit.definition().unit).map_err(named)?;
        config.limits.0.insert(limit, value);
        return Ok(());
    }
    let hub_row = || {
        let (name, rest) = key.strip_prefix("hubs.")?.split_once('.')?;
        Some((name, HUB_KEYS.iter().find(|row| row.key == rest)?))
    };
    match hub_row() {
        Some((name, row)) => {
            let hub = hub_of(config, name)?;
            (row.read)(hub, raw, folder).map_err(named)
        }
        None => Err(unknown(key)),
    }
}

/// The hub of a name, which is made when there is none.
fn hub_of<'a>(config: &'a mut Config, name: &str) -> Result<&'a mut HubConfig, String> {
    let name = HubName::parse(name).map_err(|error| format!("hubs: {error}"))?;
    let position = config.hubs.iter().position(|hub| hub.name == name.as_str());
    let index = position.unwrap_or_else(|| {
        config.hubs.push(HubConfig::new(name.as_str()));
        config.hubs.len() - 1
    });
    config
        .hubs
        .get_mut(index)
        .ok_or_else(|| format!("hubs: {name} cannot be kept"))
}

fn unknown(key: &str) -> String {
    if key == "hubs" {
        return "hubs is not a table; give each hub a table of its own, [hubs.NAME]".to_owned();
    }
    let hub = match key
        .strip_prefix("hubs.")
        .map(|rest| rest.split_once('.').unwrap_or((rest, "")))
    {
        Some((name, _)) if HubName::parse(name).is_ok() => name,
        _ => "NAME",
    };
    let known = known_keys(hub);
    let suggestion = nearest(key, known.iter().map(String::as_str)).unwrap_or_default();
    format!("unknown key {key}; the nearest known key is {suggestion}")
}

fn known_keys(hub: &str) -> Vec<String> {
    let server = KEYS.iter().map(|row| row.key.to_owned());
    let limits = Limit::ALL.iter().map(|limit| format!("limits.{}", limit.name()));
    let hubs = HUB_KEYS.iter().map(|row| format!("hubs.{hub}.{}", row.key));
    server.chain(limits).chain(hubs).collect()
}

// The file.

fn file_entries(path: &Path) -> Result<Vec<Entry>, Problem> {
    let place = |line| Place::File {
        path: path.to_owned(),
        line,
    };
    let problem = |line, text| Problem {
        place: place(line),
        text,
    };
    let unreadable = |error: std::io::Error| problem(0, format!("the file cannot be read: {error}"));
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(problem(
            0,
            format!("the file has {bytes} bytes; at most {FILE_BYTES_MAX} are read"),
        ));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let line_at = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    let document = DeTable::parse(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| line_at(span.start));
        problem(line, format!("not TOML: {}", error.message().replace('\n', ", ")))
    })?;
    let mut found = Vec::new();
    flatten(document.get_ref(), "", &mut |offset, key, raw| {
        found.push(Entry {
            place: place(line_at(offset)),
            key,
            raw,
        });
    });
    Ok(found)
}

/// Hands out every value with its whole key, and every hub that is opened. The depth is that of the document, which the TOML
/// parser bounds.
fn flatten(table: &DeTable<'_>, prefix: &str, found: &mut dyn FnMut(usize, String, Option<Raw>)) {
    for (name, value) in table {
        let key = match prefix {
            "" => segment(name.get_ref()),
            prefix => format!("{prefix}.{}", segment(name.get_ref())),
        };
        match value.get_ref() {
            DeValue::Table(inner) => {
                if prefix == "hubs" {
                    found(name.span().start, name.get_ref().to_string(), None);
                }
                flatten(inner, &key, found);
            }
            other => found(name.span().start, key, Some(raw(other))),
        }
    }
}

/// One part of a key, quoted when it must be: a quoted dot does not separate.
fn segment(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { form::quoted(name) }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(integer) => match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Raw::Integer(number),
            Err(_) => Raw::Other("a negative or very large number"),
        },
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("a fraction"),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

// The environment.

fn environment_entries(environment: &[(String, String)], problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (variable, value) in environment {
        let Some(rest) = variable.strip_prefix("IRONHUB_") else {
            continue;
        };
        let place = Place::Environment(variable.clone());
        if let Some(key) = key_of_variable(variable, rest) {
            entries.push(Entry {
                place,
                key,
                raw: Some(Raw::Text(value.clone())),
            });
        } else if SECTIONS
            .iter()
            .any(|section| rest.strip_prefix(section).is_some_and(|r| r.starts_with('_')))
        {
            let known: Vec<String> = known_keys("NAME")
                .iter()
                .map(|key| environment_name(key))
                .collect();
            let suggestion = nearest(variable, known.iter().map(String::as_str)).unwrap_or_default();
            let text = format!("unknown variable; the nearest known one is {suggestion}");
            problems.push(Problem { place, text });
        }
    }
    entries
}

/// The key of an environment variable, of which `rest` follows the prefix.
fn key_of_variable(variable: &str, rest: &str) -> Option<String> {
    if rest == "LOG" {
        return Some("log.level".to_owned());
    }
    if let Some(row) = KEYS.iter().find(|row| environment_name(row.key) == variable) {
        return Some(row.key.to_owned());
    }
    if let Some(limit) = rest.strip_prefix("LIMITS_") {
        let limit = Limit::from_name(&limit.to_ascii_lowercase())?;
        return Some(format!("limits.{}", limit.name()));
    }
    // A hub's name has dashes but no underscores, so nothing is lost on the way back.
    let hub = rest.strip_prefix("HUBS_")?;
    HUB_KEYS.iter().find_map(|row| {
        let name = hub
            .strip_suffix(&row.key.to_ascii_uppercase().replace('.', "_"))?
            .strip_suffix('_')?;
        let name = name.to_ascii_lowercase().replace('_', "-");
        HubName::parse(&name).ok()?;
        Some(format!("hubs.{name}.{}", row.key))
    })
}
