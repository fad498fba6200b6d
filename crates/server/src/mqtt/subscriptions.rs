//! What a connection is subscribed to, kept in four words: a hub has few filters, and all of them are known.

use std::collections::BTreeMap;

use hub::identity::IdentityId;
use hub::sessions::Subscriptions;
use mqtt::packet::QoS;

use super::topic::{FilterVerdict, Subscription, judge_filter};

/// Subscriptions of one connection with their granted QoS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SubscriptionSet {
    // Two bits for each kind: zero is none, else the granted QoS plus one.
    granted: u16,
    // Filters for single methods are texts; hardly anybody has one.
    single_methods: BTreeMap<String, u8>,
}

/// The kinds whose filter follows from the identity alone.
pub(super) const FIXED: [Subscription; 7] = [
    Subscription::Commands,
    Subscription::CommandsOfPlus,
    Subscription::Methods,
    Subscription::TwinResponses,
    Subscription::DesiredProperties,
    Subscription::Inputs,
    Subscription::ModuleAll,
];

impl SubscriptionSet {
    /// What a session kept. A filter that is none any more is forgotten.
    pub(super) fn from_stored(stored: &Subscriptions, identity: &IdentityId) -> Self {
        let mut set = Self::default();
        for (filter, granted) in stored {
            if let FilterVerdict::Granted(kind) = judge_filter(filter, identity) {
                set.insert(kind, filter, *granted);
            }
        }
        set
    }

    /// The form that is kept.
    pub(super) fn to_stored(&self, identity: &IdentityId) -> Subscriptions {
        let fixed = FIXED.into_iter().filter_map(|kind| {
            let granted = self.get(kind)?;
            Some((kind.filter(identity)?, granted))
        });
        let single = self
            .single_methods
            .iter()
            .map(|(filter, granted)| (filter.clone(), *granted));
        fixed.chain(single).collect()
    }

    /// Number of filters.
    pub(super) fn len(&self) -> usize {
        let fixed = FIXED.into_iter().filter(|kind| self.get(*kind).is_some()).count();
        fixed + self.single_methods.len()
    }

    /// Whether a filter is among them.
    pub(super) fn contains(&self, kind: Subscription, filter: &str) -> bool {
        match kind {
            Subscription::OneMethod => self.single_methods.contains_key(filter),
            kind => self.get(kind).is_some(),
        }
    }

    /// Adds a filter, or changes its QoS.
    pub(super) fn insert(&mut self, kind: Subscription, filter: &str, granted: u8) {
        let granted = granted.min(1);
        if let Some(shift) = shift_of(kind) {
            self.granted = self.granted & !(3 << shift) | (u16::from(granted) + 1) << shift;
        } else {
            self.single_methods.insert(filter.to_owned(), granted);
        }
    }

    /// Removes a filter.
    pub(super) fn remove(&mut self, kind: Subscription, filter: &str) {
        if let Some(shift) = shift_of(kind) {
            self.granted &= !(3 << shift);
        } else {
            self.single_methods.remove(filter);
        }
    }

    /// Whether calls of methods are wanted. A filter for one method counts as all of them.
    pub(super) fn takes_methods(&self) -> bool {
        self.get(Subscription::Methods).is_some() || !self.single_methods.is_empty()
    }

    /// Whether answers to requests for the twin are wanted.
    pub(super) fn takes_twin_responses(&self) -> bool {
        self.get(Subscription::TwinResponses).is_some()
    }

    /// Whether changes of desired properties are wanted.
    pub(super) fn takes_desired(&self) -> bool {
        self.get(Subscription::DesiredProperties).is_some()
    }

    /// How commands are wanted, if they are: the best of several filters counts.
    pub(super) fn takes_commands(&self) -> Option<QoS> {
        let kinds = [
            Subscription::Commands,
            Subscription::CommandsOfPlus,
            Subscription::ModuleAll,
        ];
        let granted = kinds.into_iter().filter_map(|kind| self.get(kind)).max()?;
        Some(if granted == 0 {
            QoS::AtMostOnce
        } else {
            QoS::AtLeastOnce
        })
    }

    fn get(&self, kind: Subscription) -> Option<u8> {
        let bits = self.granted >> shift_of(kind)? & 3;
        u8::try_from(bits).ok()?.checked_sub(1)
    }
}

/// Where the bits of a kind lie; a filter for one method has none.
fn shift_of(kind: Subscription) -> Option<u16> {
    let at = FIXED.into_iter().position(|fixed| fixed == kind)?;
    u16::try_from(2 * at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::identity::{DeviceId, ModuleId};

    #[test]
    fn reads_back_what_was_stored() {
        let device = IdentityId::device(DeviceId::parse("d").unwrap());
        let module = IdentityId::module(DeviceId::parse("d").unwrap(), ModuleId::parse("m").unwrap());
        for (identity, filters) in [
            (
                &device,
                &[
                    ("$iothub/methods/POST/#", 0),
                    ("$iothub/methods/POST/reboot/#", 1),
                    ("$iothub/twin/PATCH/properties/desired/#", 1),
                    ("$iothub/twin/res/#", 0),
                    ("devices/+/messages/devicebound/#", 1),
                    ("devices/d/messages/devicebound/#", 0),
                ][..],
            ),
            (
                &module,
                &[
                    ("devices/d/modules/m/#", 1),
                    ("devices/d/modules/m/inputs/#", 0),
                    ("devices/d/modules/m/messages/devicebound/#", 1),
                ][..],
            ),
        ] {
            let stored: Subscriptions = filters
                .iter()
                .map(|(filter, qos)| ((*filter).to_owned(), *qos))
                .collect();
            let set = SubscriptionSet::from_stored(&stored, identity);
            assert_eq!(set.len(), filters.len());
            assert_eq!(set.to_stored(identity), stored);
        }
        let foreign = Subscriptions::from([("devices/x/messages/devicebound/#".to_owned(), 1)]);
        assert_eq!(
            SubscriptionSet::from_stored(&foreign, &device),
            SubscriptionSet::default()
        );
    }

    #[test]
    fn the_best_filter_for_commands_counts() {
        let mut set = SubscriptionSet::default();
        assert_eq!(set.takes_commands(), None);
        set.insert(Subscription::ModuleAll, "", 0);
        assert_eq!(set.takes_commands(), Some(QoS::AtMostOnce));
        set.insert(Subscription::Commands, "", 1);
        assert_eq!(set.takes_commands(), Some(QoS::AtLeastOnce));
        set.insert(Subscription::Commands, "", 0);
        assert_eq!(
            set.takes_commands(),
            Some(QoS::AtMostOnce),
            "a new QoS replaces the old"
        );
        set.remove(Subscription::Commands, "");
        set.remove(Subscription::ModuleAll, "");
        assert_eq!(set, SubscriptionSet::default());
    }

    #[test]
    fn a_filter_for_one_method_is_one_for_all() {
        let mut set = SubscriptionSet::default();
        set.insert(Subscription::OneMethod, "$iothub/methods/POST/a/#", 1);
        set.insert(Subscription::OneMethod, "$iothub/methods/POST/b/#", 1);
        set.remove(Subscription::OneMethod, "$iothub/methods/POST/a/#");
        assert!(set.takes_methods() && set.len() == 1);
        set.remove(Subscription::OneMethod, "$iothub/methods/POST/b/#");
        assert!(!set.takes_methods());
        assert!(size_of::<SubscriptionSet>() <= 32);
    }
}
