//! The list of contexts: `contexts.json` in the configuration folder of the user.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Context, Entries, write_json};
use crate::failure::{Failure, Status};

/// The list, with the context in use.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    contexts: Entries,
}

/// A context in the list.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Listed {
    /// In a file of its own.
    File {
        /// The file.
        file: PathBuf,
    },
    /// Here.
    Here(Box<Context>),
}

impl Contexts {
    /// Reads the list of the user; an empty one when there is none.
    pub(crate) fn read() -> Result<Self, Failure> {
        match path() {
            Some(path) => Self::read_from(&path),
            None => Ok(Self::default()),
        }
    }

    /// Writes the list of the user.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let path = path().ok_or_else(|| {
            Failure::failed("there is no place for the list of contexts: set HOME or XDG_CONFIG_HOME")
        })?;
        self.write_to(&path)
    }

    fn read_from(path: &Path) -> Result<Self, Failure> {
        let unusable = |reason: String| {
            Failure::usage(format!(
                "the list of contexts {} cannot be used: {reason}. Correct or remove it",
                path.display()
            ))
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unusable(error.to_string())),
        };
        serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))
    }

    fn write_to(&self, path: &Path) -> Result<(), Failure> {
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| {
                    Failure::failed(format!("the folder {} cannot be made: {error}", folder.display()))
                })?;
        }
        write_json(path, self)
    }

    /// Adds a context, or replaces the one of its name. The first one is the one in use.
    pub(crate) fn put(&mut self, name: &str, context: Listed) {
        self.contexts.insert(name.to_owned(), context);
        self.current.get_or_insert_with(|| name.to_owned());
    }

    /// Makes a context the one in use.
    pub(crate) fn choose(&mut self, name: &str) -> Result<(), Failure> {
        self.listed(name)?;
        self.current = Some(name.to_owned());
        Ok(())
    }

    /// Takes a context off the list.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Failure> {
        self.listed(name)?;
        self.contexts.remove(name);
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        Ok(())
    }

    /// A context by name.
    pub(crate) fn find(&self, name: &str) -> Result<Context, Failure> {
        match self.listed(name)? {
            Listed::File { file } => Context::read(file),
            Listed::Here(context) => Ok(Context::clone(context)),
        }
    }

    /// The context in use; the only one there is, when none was chosen.
    pub(crate) fn current(&self) -> Result<Context, Failure> {
        let only = || {
            (self.contexts.len() == 1)
                .then(|| self.contexts.keys().next())
                .flatten()
        };
        match self.current.as_ref().or_else(only) {
            Some(name) => self.find(name),
            None if self.contexts.is_empty() => Err(Failure::usage(
                "no server is known: start `ironhub dev`, or name a server with `ironhub context add`",
            )),
            None => Err(Failure::usage(
                "several servers are known and none is in use: choose one with `ironhub context use NAME`",
            )),
        }
    }

    /// Every context with its name, and whether it is in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Listed, bool)> {
        self.contexts.iter().map(|(name, context)| {
            (
                name.as_str(),
                context,
                self.current.as_deref() == Some(name.as_str()),
            )
        })
    }

    fn listed(&self, name: &str) -> Result<&Listed, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let text = format!("there is no context {name}; `ironhub context list` shows those there are");
            Failure::new(Status::NotFound, text)
        })
    }
}

fn path() -> Option<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(base.join("ironhub").join("contexts.json"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::context::Ports;

    fn context(host: &str) -> Context {
        Context {
            host_name: host.to_owned(),
            address: None,
            ports: Ports {
                https: Some(8443),
                ..Ports::default()
            },
            ca_file: None,
            service_connection_string: format!(
                "HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
            ),
            event_hub_connection_string: None,
            admin_url: None,
        }
    }

    #[test]
    fn a_list_is_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ironhub/contexts.json");
        let file = folder.path().join("context.json");
        context("dev.example").write(&file).ok().unwrap();
        let mut list = Contexts::read_from(&path).ok().unwrap();
        list.put("dev", Listed::File { file: file.clone() });
        list.put("plant", Listed::Here(Box::new(context("plant.example"))));
        list.write_to(&path).ok().unwrap();
        for path in [&path, &file] {
            assert_eq!(
                std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let read = Contexts::read_from(&path).ok().unwrap();
        assert_eq!(read.current().ok().unwrap().host_name, "dev.example");
        assert_eq!(read.find("plant").ok().unwrap().ports.https, Some(8443));
    }

    #[test]
    fn the_one_in_use_is_chosen_or_the_only_one() {
        let mut list = Contexts::default();
        assert_eq!(list.current().err().unwrap().status, Status::Usage);
        list.put("a", Listed::Here(Box::new(context("a.example"))));
        list.put("b", Listed::Here(Box::new(context("b.example"))));
        assert_eq!(list.current().ok().unwrap().host_name, "a.example");
        list.choose("b").ok().unwrap();
        assert_eq!(list.current().ok().unwrap().host_name, "b.example");
        assert_eq!(list.choose("c").err().unwrap().status, Status::NotFound);
        list.put("c", Listed::Here(Box::new(context("c.example"))));
        list.remove("b").ok().unwrap();
        assert_eq!(
            list.current().err().unwrap().status,
            Status::Usage,
            "two are left and none is chosen"
        );
        list.remove("c").ok().unwrap();
        assert_eq!(list.current().ok().unwrap().host_name, "a.example");
    }
}
