//! What is looked at: one table, from which the words of findings and of the documentation come.

use serde::Serialize;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Untidy; mend it when it is convenient.
    Low,
    /// Against good practice.
    Medium,
    /// Somebody could get in, or devices are about to be kept out.
    High,
}

macro_rules! checks {
    ($($name:ident $word:literal $severity:ident $meaning:literal $advice:literal;)*) => {
        /// Something that is looked at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $(#[doc = $meaning] $name,)*
        }

        impl Check {
            /// Every check, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its word; never changes.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// How much a finding matters.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What a finding means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do about it.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }
        }
    };
}

checks! {
    KeysShared "keys-shared" High
        "These identities have a key that another identity has, too: whoever reads it out of one can speak for the others."
        "Give each identity keys of its own: `ironhub device keys rotate ID --both` draws them.";
    ServerCertificateExpired "server-certificate-expired" High
        "These certificates of the server have expired: clients that check them do not connect."
        "Put the renewed certificate and its key in the place of the files; the server reads them when they change, or at once on SIGHUP.";
    ServerCertificateExpiring "server-certificate-expiring" High
        "These certificates of the server expire soon; from then on clients that check them do not connect."
        "Renew them, and put the new files in the place of the old ones; the server reads them when they change, or at once on SIGHUP.";
    ServerCertificateRefused "server-certificate-refused" High
        "These files of certificates have changed and cannot be used; the server still shows the certificates that it read before."
        "`ironhub status` says why. Mend the files, key and certificate together; `ironhub config check` checks them.";
    AuthorityExpired "authority-expired" High
        "These CA certificates have expired: no device whose certificate they issued is let in."
        "Add the renewed certificate with `ironhub ca add FILE`, then remove the old one with `ironhub ca delete NAME`.";
    AuthorityExpiring "authority-expiring" High
        "These CA certificates expire soon; from then on no device whose certificate they issued is let in."
        "Renew the CA, add the new certificate with `ironhub ca add FILE` beside the old one, and issue device certificates under it.";
    ListExpired "list-expired" High
        "These revocation lists have run out: what their CA revoked since is not known, and where a current list is required nobody is let in."
        "Hand in a newer list with `ironhub crl add NAME --issuer FILE --file FILE`, or let the hub fetch it: `ironhub crl refresh NAME` tells why that fails.";
    CertificateExpiring "certificate-expiring" Medium
        "These identities logged in with certificates that expire soon; from then on they are refused."
        "Issue new certificates. With thumbprints, register the new one as the secondary first: both are good then.";
    ListExpiring "list-expiring" Medium
        "These revocation lists run out soon, and nothing newer has come."
        "Have the CA issue the next list; `ironhub crl list` shows when each was looked for last and why nothing came.";
    ListMissing "list-missing" Medium
        "These revocation lists are defined but none was ever loaded: they revoke nothing."
        "Hand in a list with `ironhub crl add NAME --issuer FILE --file FILE`, or see with `ironhub crl refresh NAME` why none can be fetched.";
    TokenLong "token-long" Medium
        "These identities logged in with tokens that are good for very long: a token that leaks is as good as the key for that time."
        "Have devices make tokens for an hour or a day; the SDKs do so from a connection string. A new key ends old tokens: rotate the keys of these.";
    PolicyTokenLong "policy-token-long" Medium
        "These policies were used with tokens that are good for very long: whoever finds one has the rights of the policy for that time."
        "Have back ends make tokens for an hour from the connection string; `ironhub policy rotate NAME --key primary` ends the old ones.";
    KeysOld "keys-old" Medium
        "The keys of these identities were not changed for long."
        "Rotate: `ironhub device keys rotate ID --secondary`, move the device to the new key, then `--primary`. `ironhub explain device ID` shows the age.";
    KeysEqual "keys-equal" Medium
        "The primary and the secondary key of these identities are the same, so they cannot be rotated without an interruption."
        "Draw a new secondary key: `ironhub device keys rotate ID --secondary`.";
    AuthorityUnverified "authority-unverified" Medium
        "Nobody has proven to hold the key of these CA certificates; they let nobody in."
        "Prove it with `ironhub ca code NAME` and `ironhub ca verify NAME FILE`, or remove the certificate with `ironhub ca delete NAME`.";
    PolicyTooStrong "policy-too-strong" Medium
        "These policies hold every right, as iothubowner does: whoever has a key of one may do everything, also as any device."
        "Give each back end a policy of its own with the rights that it needs: `ironhub policy create NAME --rights service-connect`, say, and delete these.";
    PolicyKeysEqual "policy-keys-equal" Medium
        "The primary and the secondary key of these policies are the same, so they cannot be rotated without an interruption."
        "Draw a new secondary key: `ironhub policy rotate NAME --key secondary`.";
    LocalAuthIdle "local-auth-idle" Medium
        "All devices have certificates, and yet tokens signed with keys are taken for devices: a way in that nobody needs."
        "Switch it off: `ironhub hub set disable-device-sas=true`.";
    TlsOld "tls-old" Low
        "TLS 1.2 is taken, and nobody has used it for long."
        "Close it: `ironhub hub set min-tls-version=1.3`; `min-tls-version=default` opens it again.";
    NetworkOpen "network-open" Low
        "The hub has no network rules: it may be reached from any address."
        "Say from where it is used: `ironhub network allow 10.0.0.0/8 --endpoint service`, say, then `ironhub network default deny --endpoint service`.";
    FewCertificates "few-certificates" Low
        "Most devices log in with keys. A certificate's key never leaves the device, and the hub holds no secret for it."
        "Create new devices with `ironhub device create ID --certificate-authority` or `--thumbprint`.";
    PolicyUnused "policy-unused" Low
        "These policies were not used for long. What nobody uses nobody misses."
        "Delete what is not needed: `ironhub policy delete NAME`.";
    NeverSeen "never-seen" Low
        "These devices never connected since they were registered, and that is long ago."
        "Delete what will not come: `ironhub device delete ID`.";
    NotSeen "not-seen" Low
        "These devices were not heard of for long. A device that was lost or thrown away still has its credential."
        "Ask where they are, and meanwhile `ironhub device disable ID`.";
    Disabled "disabled" Info
        "These devices are disabled."
        "Delete what stays so: `ironhub device delete ID`.";
}

#[cfg(test)]
mod tests {
    use super::Check;

    #[test]
    fn the_documentation_lists_them_all() {
        let page = include_str!("../../../../docs/advise.md");
        for check in Check::ALL {
            let severity = format!("{:?}", check.severity()).to_lowercase();
            let row = format!(
                "| `{}` | {severity} | {} | {} |",
                check.word(),
                check.meaning(),
                check.advice()
            );
            assert!(page.contains(&row), "docs/advise.md lacks the row\n{row}");
        }
    }

    #[test]
    fn words_are_unique() {
        let mut words: Vec<&str> = Check::ALL.iter().map(|check| check.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Check::ALL.len());
    }
}
