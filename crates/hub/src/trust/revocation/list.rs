//! Certificate revocation lists (RFC 5280 5): read once into a compact table, after the signature of their issuer was verified.
//!
//! What cannot be understood whole is refused whole: a list that is a delta to another one, that speaks of certificates of other
//! issuers or of some reasons only, or that has a critical extension nobody here knows (RFC 5280 5.2).

use crate::clock::Timestamp;

use super::block::{Digest, sha256};
use super::certificate::Certificate;
use super::name::{hex, shown};
use super::reason::Reason;
use super::serials::{Counts, Entry, SERIAL_BYTES_MAX, Serials};
use crate::trust::der::{Extension, Malformed, Reader, tag, without_zeros};
use crate::trust::signature::{SignatureError, Signed};

const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];
const DELTA_INDICATOR: &[u8] = &[0x55, 0x1d, 0x1b];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 0x1d];

/// A clock that lags behind the issuer's may see a list so long before it was made.
pub(super) const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(300);

/// Bounds of a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListBounds {
    /// Most entries.
    pub(super) entries_max: usize,
}

/// Why a list is not taken. It stays as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It is no list at all.
    #[error("it is no revocation list, neither in DER nor in PEM")]
    Foreign,
    /// It begins like one.
    #[error("it is no revocation list in DER: {0}")]
    Malformed(&'static str),
    /// The server stopped meanwhile.
    #[error("its reading was broken off; hand it in again")]
    BrokenOff,
    /// It is another issuer's.
    #[error("it was issued by {found}, not by {wanted}; give the certificate of its issuer")]
    Issuer {
        /// Who issued it.
        found: String,
        /// Whose list it should be.
        wanted: String,
    },
    /// The certificate of the issuer does not allow it.
    #[error(
        "the certificate of {0} may not sign revocation lists: it is none of a CA, or its key usage leaves cRLSign out"
    )]
    MayNotSign(String),
    /// The signature does not hold.
    #[error("its signature does not hold: {0}")]
    Signature(#[from] SignatureError),
    /// It has only what changed since another list.
    #[error("it is a delta list, which has only what changed since another list; give the complete list")]
    Delta,
    /// It speaks of certificates of other issuers.
    #[error(
        "it is an indirect list, which speaks of certificates of other issuers; give each issuer's own list"
    )]
    Indirect,
    /// It leaves out some reasons, or speaks of attribute certificates.
    #[error(
        "it is a partial list, of some reasons or of attribute certificates only; give the complete list"
    )]
    Partial,
    /// Something in it must be understood and is not.
    #[error("it has the critical extension {0}, which is not understood")]
    UnknownExtension(String),
    /// It holds too much.
    #[error("it has over {0} entries, the limit revocation_list_entries_max")]
    TooManyEntries(usize),
    /// It is too long.
    #[error("it is over {0} bytes, the limit revocation_list_bytes_max")]
    TooLarge(usize),
    /// A serial is no serial.
    #[error("it has a serial number of over {SERIAL_BYTES_MAX} bytes")]
    SerialTooWide,
    /// It is from the future.
    #[error("it begins at {0}, which is yet to come; check the clocks of the server and of the issuer")]
    Future(Timestamp),
    /// A newer list was there before.
    #[error(
        "it is older than the list in force: {found}, in force is {held}; an older list would forget what was revoked since"
    )]
    GoesBack {
        /// Number or time of this one.
        found: String,
        /// Number or time of the one in force.
        held: String,
    },
}

impl From<Malformed> for ListError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

/// Of which certificates a list speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    /// Those that are not of a CA.
    Users,
    /// Those of CAs.
    Authorities,
}

/// A list that its issuer signed.
#[derive(Debug)]
pub struct RevocationList {
    /// When it was issued.
    pub this_update: Timestamp,
    /// When the next one was to come; without one it is current for ever.
    pub next_update: Option<Timestamp>,
    /// Its number without leading zeros, if it has one.
    pub number: Option<Vec<u8>>,
    /// SHA-256 of its DER.
    pub(super) digest: Digest,
    scope: Scope,
    serials: Serials,
}

impl RevocationList {
    /// Reads a list in DER and checks that this issuer signed it. Takes a second for a million entries: not on a thread that serves.
    pub(super) fn read(
        der: &[u8],
        issuer: &Certificate<'_>,
        bounds: ListBounds,
        now: Timestamp,
    ) -> Result<Self, ListError> {
        let parts = Parts::split(der)?;
        if parts.issuer != issuer.subject {
            return Err(ListError::Issuer {
                found: shown(parts.issuer),
                wanted: shown(issuer.subject),
            });
        }
        if !issuer.may_sign_lists()? {
            return Err(ListError::MayNotSign(shown(issuer.subject)));
        }
        parts.signed.verify(issuer.key)?;
        if parts.this_update > now.plus(CLOCK_SKEW) {
            return Err(ListError::Future(parts.this_update));
        }
        let Details { number, scope } = Details::read(parts.extensions)?;
        Ok(Self {
            this_update: parts.this_update,
            next_update: parts.next_update,
            number,
            digest: sha256(der),
            scope,
            serials: read_entries(parts.entries, bounds)?,
        })
    }

    /// Whether this list may take the place of another one of its issuer.
    pub(super) fn check_follows(&self, held: &Self) -> Result<(), ListError> {
        let goes_back = match (&self.number, &held.number) {
            (Some(number), Some(held)) => (number.len(), number) < (held.len(), held),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if goes_back || self.this_update < held.this_update {
            return Err(ListError::GoesBack {
                found: self.shown(),
                held: held.shown(),
            });
        }
        Ok(())
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.next_update.is_some_and(|next| next < now)
    }

    /// How many certificates it revokes.
    pub fn entry_count(&self) -> usize {
        self.serials.len()
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.serials.bytes()
    }

    /// Its number, decimal where that is short.
    pub fn number_shown(&self) -> Option<String> {
        self.number.as_deref().map(|number| match number.len() {
            0..=8 => number
                .iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
                .to_string(),
            _ => format!("0x{}", hex(number)),
        })
    }

    /// The entry of a serial without leading zeros.
    pub(super) fn find(&self, serial: &[u8]) -> Option<Entry> {
        self.serials.find(serial)
    }

    /// Whether it speaks of a certificate.
    pub(super) fn covers(&self, certificate: &Certificate<'_>) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::Users => certificate.is_ca() == Ok(false),
            Scope::Authorities => certificate.is_ca() == Ok(true),
        }
    }

    fn shown(&self) -> String {
        match self.number_shown() {
            Some(number) => format!("number {number} of {}", self.this_update),
            None => format!("that of {}", self.this_update),
        }
    }
}

/// A list taken apart, its entries not read yet.
struct Parts<'a> {
    issuer: &'a [u8],
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    entries: &'a [u8],
    extensions: &'a [u8],
    signed: Signed<'a>,
}

impl<'a> Parts<'a> {
    fn split(der: &'a [u8]) -> Result<Self, ListError> {
        let mut outer = Reader::new(der);
        let mut list = outer.sequence()?;
        outer.end()?;
        let message = list.expect_whole(tag::SEQUENCE)?;
        let algorithm = list.expect_whole(tag::SEQUENCE)?;
        let signature = list.bytes_of_bits()?;
        list.end()?;
        let mut fields = Reader::new(message).sequence()?;
        if let Some(version) = fields.optional(tag::INTEGER)?
            && version.value != [1]
        {
            return Err(ListError::Malformed("its version is not 2"));
        }
        if fields.expect_whole(tag::SEQUENCE)? != algorithm {
            return Err(ListError::Malformed("it names two algorithms of its signature"));
        }
        let issuer = fields.expect_whole(tag::SEQUENCE)?;
        let this_update = fields.time()?;
        let next_update = fields.optional_time()?;
        let entries = fields.optional(tag::SEQUENCE)?;
        let extensions = fields.optional(tag::constructed(0))?;
        fields.end()?;
        Ok(Self {
            issuer,
            this_update,
            next_update,
            entries: entries.map(|element| element.value).unwrap_or_default(),
            extensions: extensions.map(|element| element.value).unwrap_or_default(),
            signed: Signed {
                message,
                algorithm,
                signature,
            },
        })
    }
}

/// What the extensions of a list say.
struct Details {
    number: Option<Vec<u8>>,
    scope: Scope,
}

impl Details {
    fn read(extensions: &[u8]) -> Result<Self, ListError> {
        let mut details = Self {
            number: None,
            scope: Scope::All,
        };
        if extensions.is_empty() {
            return Ok(details);
        }
        let mut extensions = Reader::new(extensions).sequence()?;
        while !extensions.is_empty() {
            let extension = Extension::read(&mut extensions)?;
            match extension.id {
                CRL_NUMBER => {
                    let number = Reader::new(extension.value).unsigned()?;
                    if number.len() > SERIAL_BYTES_MAX {
                        return Err(ListError::Malformed("its number is too long"));
                    }
                    details.number = Some(number.to_vec());
                }
                DELTA_INDICATOR => return Err(ListError::Delta),
                ISSUING_DISTRIBUTION_POINT => details.scope = read_scope(extension.value)?,
                id if extension.is_critical => return Err(ListError::UnknownExtension(hex(id))),
                _ => {}
            }
        }
        Ok(details)
    }
}

/// `IssuingDistributionPoint` (RFC 5280 5.2.5). Where the list is to be had does not matter: it is here.
fn read_scope(value: &[u8]) -> Result<Scope, ListError> {
    let mut fields = Reader::new(value).sequence()?;
    let mut scope = Scope::All;
    while !fields.is_empty() {
        let field = fields.element()?;
        let is_set = field.value != [0];
        match field.tag {
            0x81 if is_set => scope = Scope::Users,
            0x82 if is_set => scope = Scope::Authorities,
            0x83 => return Err(ListError::Partial),
            0x84 if is_set => return Err(ListError::Indirect),
            0x85 if is_set => return Err(ListError::Partial),
            0xa0 | 0x81 | 0x82 | 0x84 | 0x85 => {}
            _ => {
                return Err(ListError::Malformed(
                    "its distribution point has an unknown field",
                ));
            }
        }
    }
    Ok(scope)
}

/// Twice over the entries: the first time counts, so that the table is made in one piece of the right size.
fn read_entries(entries: &[u8], bounds: ListBounds) -> Result<Serials, ListError> {
    let mut counts = Counts::default();
    let mut total = 0;
    each_entry(entries, |serial, _| {
        total += 1;
        if total > bounds.entries_max {
            return Err(ListError::TooManyEntries(bounds.entries_max));
        }
        if counts.count(serial) {
            Ok(())
        } else {
            Err(ListError::SerialTooWide)
        }
    })?;
    let mut serials = Serials::with_room(&counts);
    each_entry(entries, |serial, entry| {
        serials.push(serial, entry);
        Ok(())
    })?;
    serials.sort();
    Ok(serials)
}

fn each_entry(
    entries: &[u8],
    mut take: impl FnMut(&[u8], Entry) -> Result<(), ListError>,
) -> Result<(), ListError> {
    let mut entries = Reader::new(entries);
    while !entries.is_empty() {
        let mut entry = entries.sequence()?;
        let serial = entry.unsigned()?;
        let since = entry.time()?;
        let extensions = entry.optional(tag::SEQUENCE)?;
        entry.end()?;
        let reason = match extensions {
            Some(extensions) => read_reason(extensions.value)?,
            None => Reason::Unspecified,
        };
        // Only a delta takes something off a list; whoever writes it into a complete list says that it is not revoked.
        if reason != Reason::RemoveFromCrl {
            take(serial, Entry { since, reason })?;
        }
    }
    Ok(())
}

fn read_reason(extensions: &[u8]) -> Result<Reason, ListError> {
    let mut extensions = Reader::new(extensions);
    let mut reason = Reason::Unspecified;
    while !extensions.is_empty() {
        let extension = Extension::read(&mut extensions)?;
        match extension.id {
            REASON_CODE => {
                let number = Reader::new(extension.value).expect(tag::ENUMERATED)?;
                // A reason to come revokes like one that is known.
                reason = match without_zeros(number) {
                    [number] => Reason::from_number(*number).unwrap_or(Reason::Unspecified),
                    _ => Reason::Unspecified,
                };
            }
            CERTIFICATE_ISSUER => return Err(ListError::Indirect),
            id if extension.is_critical => return Err(ListError::UnknownExtension(hex(id))),
            _ => {}
        }
    }
    Ok(reason)
}

/// Reads a list of anybody's as if its signature held: the entries are counted as they are, and each of them is found again.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(der: &[u8], issuer: &[u8]) {
    const ENTRIES_MAX: usize = 1_000;
    let bounds = ListBounds {
        entries_max: ENTRIES_MAX,
    };
    if let Ok(issuer) = Certificate::parse(issuer)
        && let Ok(list) =
            RevocationList::read(der, &issuer, bounds, Timestamp::from_secs(i64::MAX / 1_000_000))
    {
        assert!(list.entry_count() <= ENTRIES_MAX);
        assert!(list.check_follows(&list).is_ok(), "a list follows itself");
    }
    let Ok(parts) = Parts::split(der) else { return };
    assert!(shown(parts.issuer).len() <= 4_096, "a shown name is bounded");
    let _ = Details::read(parts.extensions);
    if let Ok(serials) = read_entries(parts.entries, bounds) {
        let mut total = 0;
        let walked = each_entry(parts.entries, |serial, _| {
            total += 1;
            assert!(serials.find(serial).is_some(), "{serial:02x?} is lost");
            Ok(())
        });
        assert_eq!((walked, serials.len()), (Ok(()), total));
        assert!(
            serials.bytes() <= total * 69,
            "{} bytes for {total}",
            serials.bytes()
        );
    }
}
