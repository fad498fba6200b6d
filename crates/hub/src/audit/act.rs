//! What can be told of: one table, from which the words of the entries come.

macro_rules! acts {
    ($($name:ident $word:literal $meaning:literal;)*) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Act {
            $(#[doc = $meaning] $name,)*
        }

        impl Act {
            /// Everything that can be told of.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its word in entries and filters; never changes.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

acts! {
    HubCreate "hub.create" "The hub was made, with its first policies.";
    DeviceCreate "device.create" "A device was registered; the answer held its keys.";
    DeviceUpdate "device.update" "A device was written again; the answer held its keys.";
    DeviceDelete "device.delete" "A device was deleted.";
    DeviceKeysRead "device.keys.read" "A device was read together with its keys.";
    DevicesKeysRead "devices.keys.read" "A list of devices was read together with their keys.";
    ModuleCreate "module.create" "A module was registered; the answer held its keys.";
    ModuleUpdate "module.update" "A module was written again; the answer held its keys.";
    ModuleDelete "module.delete" "A module was deleted.";
    ModuleKeysRead "module.keys.read" "A module was read together with its keys.";
    ModulesKeysRead "modules.keys.read" "The modules of a device were read together with their keys.";
    PolicyCreate "policy.create" "A shared access policy was made.";
    PolicyUpdate "policy.update" "Rights or keys of a shared access policy were changed.";
    PolicyDelete "policy.delete" "A shared access policy was deleted.";
    PolicyKeysRead "policy.keys.read" "Keys of shared access policies were read.";
    CertificateCreate "certificate.create" "A CA certificate was added to the hub.";
    CertificateUpdate "certificate.update" "A CA certificate of the hub was replaced, verified, or asked to be proven.";
    CertificateDelete "certificate.delete" "A CA certificate was taken from the hub.";
    RevocationAdd "revocation.add" "A certificate or an authority was blocked, or a source of revocations was added.";
    RevocationUpdate "revocation.update" "A newer revocation list was handed in.";
    RevocationRemove "revocation.remove" "A block or a source of revocations was removed.";
    RoleCreate "role.create" "A role was defined or assigned, or an issuer of tokens was trusted.";
    RoleUpdate "role.update" "A role, an assignment or a trusted issuer was changed.";
    RoleDelete "role.delete" "A role, an assignment or a trusted issuer was removed.";
    SettingUpdate "setting.update" "A setting of the hub was changed.";
    ConsumerGroupCreate "consumer-group.create" "A consumer group was made.";
    ConsumerGroupDelete "consumer-group.delete" "A consumer group was deleted.";
    MasterKeyRotate "master-key.rotate" "Keys at rest were sealed under another master key.";
    AuditPrune "audit.prune" "The oldest entries of the trail were removed, up to the one that is named: they were over age or count.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Act;

    #[test]
    fn words_are_unique_and_plain() {
        let words: HashSet<&str> = Act::ALL.iter().map(|act| act.word()).collect();
        assert_eq!(words.len(), Act::ALL.len());
        for act in Act::ALL {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || b".-".contains(&byte);
            assert!(act.word().bytes().all(is_plain), "{}", act.word());
            assert!(act.meaning().ends_with('.'), "{}", act.word());
        }
    }

    #[test]
    fn the_documentation_lists_them_all() {
        let page = include_str!("../../../../docs/audit.md");
        for act in Act::ALL {
            let row = format!("| `{}` | {} |", act.word(), act.meaning());
            assert!(page.contains(&row), "docs/audit.md lacks the row\n{row}");
        }
    }
}
