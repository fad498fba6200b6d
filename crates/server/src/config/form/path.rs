//! Paths of files and folders. In the file, a relative one is relative to the folder of the file.

use std::path::{Path, PathBuf};

use super::list::{array, items};
use super::{Form, Raw, quoted};

/// A path.
pub(in crate::config) const fn path() -> Form<PathBuf> {
    fn read(raw: &Raw, folder: Option<&Path>) -> Result<PathBuf, String> {
        placed(raw.text("a path")?, folder)
    }
    Form {
        name: "path",
        read,
        write: |path| (!path.as_os_str().is_empty()).then(|| quoted(&path.to_string_lossy())),
    }
}

/// A path, or a list of them.
pub(in crate::config) const fn paths() -> Form<Vec<PathBuf>> {
    fn read(raw: &Raw, folder: Option<&Path>) -> Result<Vec<PathBuf>, String> {
        let paths = items(raw, "a path")?;
        if paths.is_empty() {
            return Err("a path is expected here, not an empty list".to_owned());
        }
        paths.into_iter().map(|text| placed(text, folder)).collect()
    }
    Form {
        name: "path, or list of paths",
        read,
        write: |paths| {
            let mut texts = paths.iter().map(|path| path.to_string_lossy().into_owned());
            match paths.len() {
                0 => None,
                1 => texts.next().map(|text| quoted(&text)),
                _ => Some(array(texts)),
            }
        },
    }
}

fn placed(text: &str, folder: Option<&Path>) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("a path is expected here, not empty text".to_owned());
    }
    Ok(folder.map_or_else(|| PathBuf::from(text), |folder| folder.join(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_or_many() {
        let read = |raw| (paths().read)(&raw, Some(Path::new("/etc")));
        let list =
            |texts: &[&str]| Raw::List(texts.iter().map(|text| Raw::Text((*text).to_owned())).collect());
        let one = read(Raw::Text("a.pem".to_owned())).unwrap();
        assert_eq!(one, [Path::new("/etc/a.pem")]);
        assert_eq!((paths().write)(&one), Some("\"/etc/a.pem\"".to_owned()));
        let two = read(list(&["a.pem", "/b.pem"])).unwrap();
        assert_eq!(two, [Path::new("/etc/a.pem"), Path::new("/b.pem")]);
        assert_eq!(
            (paths().write)(&two),
            Some("[\"/etc/a.pem\", \"/b.pem\"]".to_owned())
        );
        for bad in [Raw::Text(String::new()), list(&[]), list(&[""])] {
            assert!(read(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
