//! What a client says first: by its server name the demands of a hub are found, and by the rest a refusal is explained.
//!
//! The message is read beside the TLS library, which reads it again and decides alone what is taken: nothing here lets anybody in. A
//! message that cannot be read here goes to the library with the server's usual configuration.

use std::borrow::Cow;
use std::fmt;

use hub::settings::{CipherSuite, CipherSuites, TlsVersion};
use rustls_pki_types::DnsName;

/// Largest plaintext of a record (RFC 8446, 5.1).
const FRAGMENT_BYTES_MAX: usize = 16_384;

/// Header of a record: type, version, length.
const RECORD_HEADER_BYTES: usize = 5;

/// Header of a message of the handshake: type, length.
const MESSAGE_HEADER_BYTES: usize = 4;

/// Type of the records that carry the handshake.
const HANDSHAKE: u8 = 22;

/// Type of a client's first message.
const CLIENT_HELLO: u8 = 1;

/// Extensions that matter here (RFC 6066, 3; RFC 8446, 4.2.1).
const SERVER_NAME: u16 = 0;
const SUPPORTED_VERSIONS: u16 = 43;

/// Suites that are not served, of which the numbers are told.
const STRANGE_SUITES_TOLD: usize = 8;

/// What was found at the front of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole message.
    Whole(Hello),
    /// The beginning of one.
    Incomplete,
    /// Something else.
    Unreadable,
}

/// A client's first message, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The name that the client asks for, in lower case; none for an address.
    pub(crate) server_name: Option<Box<str>>,
    /// What it offers.
    pub(crate) offer: Offer,
}

/// The versions and cipher suites that a client offers. Displayed for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offer {
    // A bit for each minor number of the versions 3.0 to 3.4, which are SSL 3 to TLS 1.3.
    versions: u8,
    // The client named its highest version alone, as it was done before TLS 1.3.
    names_highest: bool,
    /// Of the suites that are served.
    pub(crate) suites: CipherSuites,
    strange: [u16; STRANGE_SUITES_TOLD],
    strange_count: u16,
}

/// Reads the message at the front of `input`, which may be spread over records.
pub(crate) fn read(input: &[u8]) -> Found {
    let message = match message(input) {
        Ok(Some(message)) => message,
        Ok(None) => return Found::Incomplete,
        Err(Unreadable) => return Found::Unreadable,
    };
    hello(&message).map_or(Found::Unreadable, Found::Whole)
}

struct Unreadable;

/// The body of the first message; none when more of it is to come.
fn message(input: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Unreadable> {
    let mut rest = input;
    let Some(first) = fragment(&mut rest)? else {
        return Ok(None);
    };
    // Nearly every client sends it in one record.
    if let Some(body) = body(first)? {
        return Ok(Some(Cow::Borrowed(body)));
    }
    let mut gathered = first.to_vec();
    while let Some(next) = fragment(&mut rest)? {
        gathered.extend_from_slice(next);
        if body(&gathered)?.is_some() {
            let length = body(&gathered)?.map_or(0, <[u8]>::len);
            gathered.drain(..MESSAGE_HEADER_BYTES);
            gathered.truncate(length);
            return Ok(Some(Cow::Owned(gathered)));
        }
    }
    Ok(None)
}

/// The payload of the next record, which must be one of the handshake; none when it is not whole.
fn fragment<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Unreadable> {
    if rest.first().is_some_and(|kind| *kind != HANDSHAKE) {
        return Err(Unreadable);
    }
    let Some(&[_, major, _, high, low]) = rest.first_chunk::<RECORD_HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if major != 3 || length == 0 || length > FRAGMENT_BYTES_MAX {
        return Err(Unreadable);
    }
    let Some((record, behind)) = rest.split_at_checked(RECORD_HEADER_BYTES + length) else {
        return Ok(None);
    };
    *rest = behind;
    Ok(record.get(RECORD_HEADER_BYTES..))
}

/// What follows the header of the message; none when it is not whole.
fn body(message: &[u8]) -> Result<Option<&[u8]>, Unreadable> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Unreadable);
    }
    let Some(&[_, high, middle, low]) = message.first_chunk::<MESSAGE_HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    if length > FRAGMENT_BYTES_MAX {
        return Err(Unreadable);
    }
    Ok(message.get(MESSAGE_HEADER_BYTES..MESSAGE_HEADER_BYTES + length))
}

/// RFC 8446, 4.1.2.
fn hello(body: &[u8]) -> Option<Hello> {
    let mut fields = Fields(body);
    let legacy_version = fields.number()?;
    fields.take(32)?;
    fields.short_list()?;
    let suites = fields.long_list()?;
    fields.short_list()?;
    let mut hello = Hello {
        server_name: None,
        offer: Offer::of_suites(suites),
    };
    let mut versions = None;
    // Extensions are a member that the oldest clients do not have.
    let mut extensions = Fields(if fields.0.is_empty() {
        &[]
    } else {
        fields.long_list()?
    });
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.long_list()?;
        match kind {
            SERVER_NAME if hello.server_name.is_none() => hello.server_name = server_name(content)?,
            SUPPORTED_VERSIONS => versions = Some(Fields(content).short_list()?),
            _ => {}
        }
    }
    hello.offer.versions = if let Some(versions) = versions {
        let pairs = versions.chunks_exact(2);
        pairs.fold(0, |bits, pair| bits | version_bit(pair))
    } else {
        hello.offer.names_highest = true;
        version_bit(&legacy_version.to_be_bytes())
    };
    Some(hello)
}

/// None of a name that is none (an address, say), as the TLS library takes it.
#[allow(
    clippy::option_option,
    reason = "the outer one says whether it can be read, as everywhere in this file"
)]
fn server_name(content: &[u8]) -> Option<Option<Box<str>>> {
    let mut names = Fields(Fields(content).long_list()?);
    while !names.0.is_empty() {
        let kind = names.take(1)?;
        let name = names.long_list()?;
        if kind == [0] {
            let name = DnsName::try_from(name).ok();
            return Some(name.map(|name| {
                let mut name: Box<str> = name.as_ref().into();
                name.make_ascii_lowercase();
                name
            }));
        }
    }
    Some(None)
}

/// The versions after TLS 1.3, and those that only test what a server does with an unknown one, have no bit.
fn version_bit(pair: &[u8]) -> u8 {
    match *pair {
        [3, minor @ 0..=4] => 1 << minor,
        _ => 0,
    }
}

impl Offer {
    fn of_suites(numbers: &[u8]) -> Self {
        let mut offer = Self::default();
        for pair in numbers.chunks_exact(2) {
            let &[high, low] = pair else { continue };
            let number = u16::from_be_bytes([high, low]);
            match CipherSuite::from_number(number) {
                Some(suite) => offer.suites.insert(suite),
                None if is_signal(number) => {}
                None => {
                    if let Some(place) = offer.strange.get_mut(usize::from(offer.strange_count)) {
                        *place = number;
                    }
                    offer.strange_count = offer.strange_count.saturating_add(1);
                }
            }
        }
        offer
    }

    /// Whether it holds a version that a hub takes.
    pub(crate) fn holds_version_from(self, lowest: TlsVersion) -> bool {
        let lowest_bit = match lowest {
            TlsVersion::V1_2 => 1 << 3,
            TlsVersion::V1_3 => 1 << 4,
        };
        self.versions >= lowest_bit
    }

    /// The versions, for people.
    pub(crate) fn versions(self) -> String {
        const NAMES: [&str; 5] = ["SSL 3", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"];
        let names = NAMES.iter().enumerate();
        let offered = names.filter(|(minor, _)| self.versions & (1 << minor) != 0);
        let offered: Vec<&str> = offered.map(|(_, name)| *name).collect();
        match offered.as_slice() {
            [] => "no version that is known".to_owned(),
            [name] if self.names_highest => format!("{name} at most"),
            names => names.join(", "),
        }
    }
}

/// Numbers that are no suites but tell the server something (RFC 5746, 7507), or test it (RFC 8701).
fn is_signal(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    matches!(number, 0x00ff | 0x5600) || (high == low && low & 0x0f == 0x0a)
}

/// The cipher suites, for people.
impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = usize::from(self.strange_count).min(STRANGE_SUITES_TOLD);
        let numbers = self.strange.iter().take(told);
        let numbers: Vec<String> = numbers.map(|number| format!("0x{number:04x}")).collect();
        let numbers = numbers.join(", ");
        let more = usize::from(self.strange_count) - told;
        match (self.suites.is_empty(), told) {
            (true, 0) => f.write_str("none"),
            (false, 0) => write!(f, "{}", self.suites),
            (true, _) => write!(f, "{numbers}"),
            (false, _) => write!(f, "{}, {numbers}", self.suites),
        }?;
        if more > 0 {
            write!(f, " and {more} more")
        } else {
            Ok(())
        }
    }
}

/// Fields of a message, from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes(*bytes.first_chunk()?))
    }

    /// What a length of one byte bounds.
    fn short_list(&mut self) -> Option<&'a [u8]> {
        let length = *self.take(1)?.first()?;
        self.take(usize::from(length))
    }

    /// What a length of two bytes bounds.
    fn long_list(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests;
