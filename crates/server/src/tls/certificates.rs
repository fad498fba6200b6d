//! The certificates that the server shows: chosen by the name that a client asks for and by what it can verify, replaced while the
//! server runs.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::identity::Identity;

/// The certificates in use. A handshake takes what is there when it begins; nothing else of a connection depends on it.
#[derive(Debug)]
pub(crate) struct Certificates(RwLock<Arc<Table>>);

/// Who shows what.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// For whoever asks for no name, or for one that no certificate has.
    usual: Vec<Identity>,
    own: Vec<Vec<Identity>>,
    by_name: HashMap<Box<str>, usize>,
}

impl Table {
    /// A table of the server's own certificates, the preferred one first.
    pub(crate) fn new(usual: Vec<Identity>) -> Self {
        Self {
            usual,
            ..Self::default()
        }
    }

    /// Adds the certificates of a hub, the preferred one first, under its host names. Where the server has none of its own, those of the
    /// first hub serve in their stead.
    pub(crate) fn add(&mut self, host_names: &[String], identities: Vec<Identity>) {
        if self.usual.is_empty() {
            self.usual.clone_from(&identities);
        }
        for name in host_names {
            self.by_name.insert(name.as_str().into(), self.own.len());
        }
        self.own.push(identities);
    }

    /// The certificates for a name: a hub's own by its host name, else the first that names it.
    fn of(&self, server_name: Option<&str>) -> &[Identity] {
        let Some(name) = server_name.filter(|_| !self.own.is_empty()) else {
            return &self.usual;
        };
        let names_it = |identities: &[Identity]| identities.iter().any(|identity| identity.is_named(name));
        let own = match self.by_name.get(name) {
            Some(place) => self.own.get(*place),
            None if names_it(&self.usual) => None,
            None => self.own.iter().find(|own| names_it(own)),
        };
        own.unwrap_or(&self.usual)
    }
}

impl Certificates {
    pub(crate) fn new(table: Table) -> Self {
        Self(RwLock::new(Arc::new(table)))
    }

    /// From the next handshake on these are used.
    pub(crate) fn replace(&self, table: Table) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let identities = table.of(hello.server_name());
        // The schemes are those that fit the suites in common, too. Where none fits, the library finds a better alert than for none.
        let suiting = identities
            .iter()
            .find(|identity| identity.suits(hello.signature_schemes()));
        suiting.or(identities.first()).map(Identity::certified_key)
    }
}

#[cfg(test)]
mod tests;
