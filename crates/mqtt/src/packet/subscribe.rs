//! SUBSCRIBE, SUBACK and UNSUBSCRIBE (3.8 to 3.10).

use crate::reader::{Reader, put_binary};

use super::{Malformed, QoS, put_header};

/// A client subscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Echoed in the answer.
    pub packet_id: u16,
    /// Filters with the QoS asked for, at least one.
    pub filters: Filters<'a>,
}

/// The filters of a SUBSCRIBE, checked when the packet was parsed and read again as they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filters<'a>(&'a [u8]);

impl<'a> Filters<'a> {
    /// Writes filters down as they stand in a packet, for a client.
    pub fn to_bytes(filters: &[(&str, QoS)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (filter, qos) in filters {
            put_binary(&mut bytes, filter.as_bytes());
            bytes.push(*qos as u8);
        }
        bytes
    }

    /// The filters that [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.is_empty() {
            return Err(Malformed::NoFilter);
        }
        while !reader.is_empty() {
            read_filter(&mut reader)?;
        }
        Ok(Self(bytes))
    }
}

impl<'a> IntoIterator for Filters<'a> {
    type Item = (&'a str, QoS);
    type IntoIter = FilterIter<'a>;

    fn into_iter(self) -> FilterIter<'a> {
        FilterIter(Reader::new(self.0))
    }
}

/// Iterates over [`Filters`].
#[derive(Debug, Clone)]
pub struct FilterIter<'a>(Reader<'a>);

impl<'a> Iterator for FilterIter<'a> {
    type Item = (&'a str, QoS);

    fn next(&mut self) -> Option<Self::Item> {
        // Whole and valid since `from_bytes`, so an error is the end.
        if self.0.is_empty() {
            None
        } else {
            read_filter(&mut self.0).ok()
        }
    }
}

fn read_filter<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, QoS), Malformed> {
    let filter = filter(reader)?;
    // The upper six bits are reserved (3.8.3.1).
    let qos = QoS::from_bits(reader.u8()?).ok_or(Malformed::Qos)?;
    Ok((filter, qos))
}

/// A topic filter: not empty, `+` alone in its level, `#` alone in the last (4.7.1).
fn filter<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let filter = reader.string()?;
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        let wildcard = level.contains(['+', '#']);
        if wildcard && !(level == "+" || (level == "#" && is_last)) {
            return Err(Malformed::Filter);
        }
    }
    if filter.is_empty() {
        Err(Malformed::Filter)
    } else {
        Ok(filter)
    }
}

impl<'a> Subscribe<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        Ok(Self {
            packet_id,
            filters: Filters::from_bytes(reader.rest())?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_header(0x82, 2 + self.filters.0.len(), out);
        out.extend_from_slice(&self.packet_id.to_be_bytes());
        out.extend_from_slice(self.filters.0);
    }
}

/// The answer to a SUBSCRIBE: one code per filter, the QoS granted or [`SubAck::FAILURE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// That of the SUBSCRIBE.
    pub packet_id: u16,
    /// One for each filter, in its order.
    pub codes: &'a [u8],
}

impl<'a> SubAck<'a> {
    /// The filter was not granted.
    pub const FAILURE: u8 = 0x80;

    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let codes = reader.rest();
        if codes.is_empty() {
            return Err(Malformed::NoFilter);
        }
        if codes.iter().any(|code| !matches!(code, 0..=2 | 0x80)) {
            return Err(Malformed::Qos);
        }
        Ok(Self { packet_id, codes })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_header(0x90, 2 + self.codes.len(), out);
        out.extend_from_slice(&self.packet_id.to_be_bytes());
        out.extend_from_slice(self.codes);
    }
}

/// A client unsubscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Echoed in the answer.
    pub packet_id: u16,
    /// Filters, at least one.
    pub filters: TopicFilters<'a>,
}

/// The filters of an UNSUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicFilters<'a>(&'a [u8]);

impl<'a> TopicFilters<'a> {
    /// The filters in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.0);
        // Whole and valid since `parse`, so an error is the end.
        std::iter::from_fn(move || {
            if reader.is_empty() {
                None
            } else {
                filter(&mut reader).ok()
            }
        })
    }
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let filters = reader.rest();
        if reader.is_empty() {
            return Err(Malformed::NoFilter);
        }
        while !reader.is_empty() {
            filter(&mut reader)?;
        }
        Ok(Self {
            packet_id,
            filters: TopicFilters(filters),
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_header(0xa2, 2 + self.filters.0.len(), out);
        out.extend_from_slice(&self.packet_id.to_be_bytes());
        out.extend_from_slice(self.filters.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;
    use crate::packet::tests::{hex, parse, round_trips};

    #[test]
    fn one_filter_and_its_answer() {
        let bytes =
            hex("82 28 0001 0023 646576696365732f646576312f6d657373616765732f646576696365626f756e642f23 01");
        let Packet::Subscribe(subscribe) = parse(&bytes) else {
            panic!("no SUBSCRIBE")
        };
        let filters: Vec<_> = subscribe.filters.into_iter().collect();
        assert_eq!(
            filters,
            [("devices/dev1/messages/devicebound/#", QoS::AtLeastOnce)]
        );
        round_trips(&bytes);
        round_trips(&hex("90 03 0001 01"));
        round_trips(&hex("90 04 0002 00 80"));
    }

    #[test]
    fn several_filters_and_leaving() {
        let bytes = Filters::to_bytes(&[
            ("a/#", QoS::AtMostOnce),
            ("+/b", QoS::ExactlyOnce),
            ("#", QoS::AtMostOnce),
        ]);
        let filters = Filters::from_bytes(&bytes).unwrap();
        assert_eq!(filters.into_iter().count(), 3);
        let mut packet = Vec::new();
        Subscribe {
            packet_id: 7,
            filters,
        }
        .encode(&mut packet);
        round_trips(&packet);

        let leaving = hex("a2 09 0001 0001 61 0002 2f23");
        let Packet::Unsubscribe(unsubscribe) = parse(&leaving) else {
            panic!("no UNSUBSCRIBE")
        };
        assert_eq!(unsubscribe.filters.iter().collect::<Vec<_>>(), ["a", "/#"]);
        round_trips(&leaving);
    }

    #[test]
    fn what_cannot_be_subscribed_to() {
        for (text, error) in [
            ("82 02 0001", Malformed::NoFilter),
            ("82 05 0001 0000 00", Malformed::Filter),
            ("82 07 0001 0002 2361 00", Malformed::Filter),
            ("82 08 0001 0003 232f61 00", Malformed::Filter),
            ("82 07 0001 0002 612b 00", Malformed::Filter),
            ("82 06 0001 0001 61 03", Malformed::Qos),
            ("82 06 0001 0001 61 81", Malformed::Qos),
            ("82 05 0001 0001 61", Malformed::Truncated),
            ("80 06 0001 0001 61 00", Malformed::Flags),
            ("a2 02 0001", Malformed::NoFilter),
        ] {
            assert_eq!(Packet::parse(&hex(text), 100), Err(error), "{text}");
        }
    }
}
