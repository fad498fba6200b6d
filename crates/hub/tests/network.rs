//! Which addresses are let in: a table of rules and questions, the first match against a naive reading, and what a refusal tells.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use doubles::{DEVICE, PRIMARY, device, in_an_hour, key, world};
use hub::access::{Credential, Reason, Step, Usage, sas};
use hub::error::Code;
use hub::limits::{Fidelity, Limit, Limits};
use hub::network::{Action, Endpoint, Endpoints, InvalidRules, NetworkRules, Rule, RuleName, Source};
use proptest::prelude::*;

/// `+` allows and `-` denies a source; the endpoints behind an `@` are by their first letters.
fn rules(texts: &[&str], denied: &str) -> NetworkRules {
    let endpoints = |letters: &str| -> Endpoints {
        let named = |endpoint: &Endpoint| letters.contains(&endpoint.name()[..1]);
        Endpoint::ALL.into_iter().filter(named).collect()
    };
    let rules = texts.iter().enumerate().map(|(index, text)| {
        let (source, letters) = text[1..].split_once('@').unwrap_or((&text[1..], "dsr"));
        Rule {
            name: RuleName::parse(&format!("rule-{index}")).unwrap(),
            action: if text.starts_with('+') {
                Action::Allow
            } else {
                Action::Deny
            },
            source: source.parse().unwrap(),
            endpoints: endpoints(letters),
        }
    });
    NetworkRules::new(rules.collect(), endpoints(denied)).unwrap()
}

type Case = (&'static str, &'static [(&'static str, char, Option<usize>)]);

/// Rules (and the endpoints denied by default behind a `|`), then questions: an address with an endpoint, the answer, the rule.
const TABLE: &[Case] = &[
    (
        "|",
        &[
            ("d 192.0.2.1", '+', None),
            ("s 2001:db8::1", '+', None),
            ("r 127.0.0.1", '+', None),
        ],
    ),
    (
        "|dsr",
        &[
            ("d 192.0.2.1", '-', None),
            ("s 2001:db8::1", '-', None),
            ("r 127.0.0.1", '-', None),
        ],
    ),
    (
        "|d",
        &[
            ("d 192.0.2.1", '-', None),
            ("s 192.0.2.1", '+', None),
            ("r 192.0.2.1", '+', None),
        ],
    ),
    ("|r", &[("d 192.0.2.1", '+', None), ("r ::1", '-', None)]),
    (
        "-192.0.2.0/24|",
        &[
            ("d 192.0.2.0", '-', Some(0)),
            ("d 192.0.2.255", '-', Some(0)),
            ("s 192.0.2.9", '-', Some(0)),
            ("r ::ffff:192.0.2.9", '-', Some(0)),
            ("d 192.0.1.255", '+', None),
            ("d 192.0.3.0", '+', None),
            ("d 2001:db8::1", '+', None),
        ],
    ),
    (
        "+192.0.2.7 -192.0.2.0/24|",
        &[
            ("d 192.0.2.7", '+', Some(0)),
            ("d ::ffff:192.0.2.7", '+', Some(0)),
            ("d 192.0.2.8", '-', Some(1)),
            ("d 198.51.100.1", '+', None),
        ],
    ),
    ("-192.0.2.0/24 +192.0.2.7|", &[("d 192.0.2.7", '-', Some(0))]),
    (
        "+10.0.0.0/8|dsr",
        &[
            ("d 10.255.0.1", '+', Some(0)),
            ("s 10.0.0.1", '+', Some(0)),
            ("r 9.255.255.255", '-', None),
            ("d 11.0.0.0", '-', None),
            ("d ::ffff:11.0.0.0", '-', None),
            ("d 2001:db8::1", '-', None),
        ],
    ),
    (
        "+10.0.0.0/8@s|dsr",
        &[
            ("s 10.0.0.1", '+', Some(0)),
            ("d 10.0.0.1", '-', None),
            ("r 10.0.0.1", '-', None),
        ],
    ),
    (
        "-10.0.0.0/8@dr +any@s|d",
        &[
            ("d 10.0.0.1", '-', Some(0)),
            ("r 10.0.0.1", '-', Some(0)),
            ("s 10.0.0.1", '+', Some(1)),
            ("d 11.0.0.1", '-', None),
            ("r 11.0.0.1", '+', None),
            ("s 2001:db8::1", '+', Some(1)),
        ],
    ),
    (
        "-0.0.0.0/0|",
        &[
            ("d 203.0.113.1", '-', Some(0)),
            ("d ::ffff:203.0.113.1", '-', Some(0)),
            ("d 2001:db8::1", '+', None),
        ],
    ),
    (
        "-::/0|",
        &[
            ("d 2001:db8::1", '-', Some(0)),
            ("d 203.0.113.1", '+', None),
            ("d ::ffff:203.0.113.1", '+', None),
        ],
    ),
    (
        "-any|",
        &[
            ("d 2001:db8::1", '-', Some(0)),
            ("d 203.0.113.1", '-', Some(0)),
            ("s ::1", '-', Some(0)),
        ],
    ),
    (
        "+any|dsr",
        &[("d 2001:db8::1", '+', Some(0)), ("r 203.0.113.1", '+', Some(0))],
    ),
    (
        "+2001:db8:1::/48 -2001:db8::/32|",
        &[
            ("d 2001:db8:1:ffff::1", '+', Some(0)),
            ("d 2001:db8:2::1", '-', Some(1)),
            ("d 2001:db9::1", '+', None),
        ],
    ),
    (
        "-2001:db8::/127|",
        &[
            ("d 2001:db8::", '-', Some(0)),
            ("d 2001:db8::1", '-', Some(0)),
            ("d 2001:db8::2", '+', None),
        ],
    ),
    (
        "-2001:db8::1|",
        &[("d 2001:db8::1", '-', Some(0)), ("d 2001:db8::2", '+', None)],
    ),
    (
        "-::ffff:10.0.0.0/104|",
        &[
            ("d 10.9.9.9", '-', Some(0)),
            ("d ::ffff:10.9.9.9", '-', Some(0)),
            ("d ::10.9.9.9", '+', None),
        ],
    ),
    (
        "-128.0.0.0/1|",
        &[
            ("d 127.255.255.255", '+', None),
            ("d 128.0.0.0", '-', Some(0)),
            ("d 255.255.255.255", '-', Some(0)),
        ],
    ),
    (
        "+192.0.2.1/31|d",
        &[
            ("d 192.0.2.0", '+', Some(0)),
            ("d 192.0.2.1", '+', Some(0)),
            ("d 192.0.2.2", '-', None),
        ],
    ),
    (
        "+10.0.0.0/8@d -10.0.0.0/8 +10.0.0.0/8|",
        &[("d 10.0.0.1", '+', Some(0)), ("s 10.0.0.1", '-', Some(1))],
    ),
];

#[test]
fn the_first_rule_that_matches_decides() {
    let mut asked = 0;
    for (form, questions) in TABLE {
        let (list, denied) = form.split_once('|').unwrap();
        let texts: Vec<&str> = list.split_whitespace().collect();
        let rules = rules(&texts, denied);
        for (question, answer, by) in *questions {
            let (letter, address) = question.split_once(' ').unwrap();
            let endpoint = Endpoint::ALL
                .into_iter()
                .find(|endpoint| endpoint.name().starts_with(letter));
            let verdict = rules.decide(endpoint.unwrap(), address.parse().unwrap());
            let expected = if *answer == '+' {
                Action::Allow
            } else {
                Action::Deny
            };
            assert_eq!(verdict.action, expected, "{form}: {question}");
            let name = verdict.rule.map(|rule| rule.name.to_string());
            assert_eq!(
                name,
                by.map(|index| format!("rule-{index}")),
                "{form}: {question}"
            );
            asked += 1;
        }
    }
    assert!(asked >= 60, "{asked}");
}

#[test]
fn lists_that_mean_nothing_are_refused() {
    let rule = |name: &str, endpoints| Rule {
        name: RuleName::parse(name).unwrap(),
        action: Action::Allow,
        source: Source::Any,
        endpoints,
    };
    let twice = vec![rule("Site", Endpoints::ALL), rule("site", Endpoints::HUB)];
    assert_eq!(
        NetworkRules::new(twice, Endpoints::NONE),
        Err(InvalidRules::NameTwice("site".to_owned()))
    );
    let nowhere = vec![rule("site", Endpoints::NONE)];
    assert_eq!(
        NetworkRules::new(nowhere, Endpoints::NONE),
        Err(InvalidRules::NoEndpoint("site".to_owned()))
    );
    for name in ["", " ", "a\nb", &"x".repeat(129)] {
        assert!(RuleName::parse(name).is_err(), "{name:?}");
    }
    let limits = Limits::new(Fidelity::Native);
    limits.set(Limit::NetworkRulesMax, 1);
    assert!(rules(&["+any"], "").check(&limits).is_ok());
    assert!(matches!(
        rules(&["+any", "-any"], "").check(&limits),
        Err(InvalidRules::TooMany(_))
    ));
}

#[tokio::test]
async fn a_refusal_names_address_endpoint_and_rule_and_the_peer_hears_its_address() {
    let world = world().await;
    world
        .gate
        .set_network(rules(&["+10.0.0.0/8", "-192.0.2.0/24"], "r"));
    let refusal = world
        .gate
        .admit(Endpoint::Device, "::ffff:192.0.2.9".parse().unwrap())
        .unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.step()),
        (Reason::NetworkDenied, Step::Network)
    );
    assert_eq!(refusal.found, "192.0.2.9 at the device endpoint");
    assert_eq!(
        refusal.expected,
        "the rule rule-1 denies 192.0.2.0/24; allowed are 10.0.0.0/8 (rule-0)"
    );
    assert_eq!(refusal.code(), Code::IotHubUnauthorizedAccess);
    assert!(refusal.to_peer().message().contains("192.0.2.9"));
    assert!(!refusal.to_peer().message().contains("10.0.0.0"));
    let refusal = world
        .gate
        .admit(Endpoint::Reader, "198.51.100.1".parse().unwrap())
        .unwrap_err();
    assert!(
        refusal
            .expected
            .starts_with("no rule matches and the default denies"),
        "{}",
        refusal.expected
    );

    let nowhere: IpAddr = "192.0.2.9".parse().unwrap();
    assert!(world.gate.admit_any(&Endpoint::ALL, nowhere).is_err());
    assert!(world.gate.admit_any(&[], "10.0.0.1".parse().unwrap()).is_err());
    let elsewhere: IpAddr = "198.51.100.1".parse().unwrap();
    assert!(
        world
            .gate
            .admit_any(&[Endpoint::Reader, Endpoint::Service], elsewhere)
            .is_ok()
    );
}

#[tokio::test]
async fn an_open_connection_is_asked_again_and_its_stamp_names_the_rule() {
    let world = world().await;
    let token = sas::create(
        "hub1.example.test/devices/Dev%251",
        in_an_hour(),
        &key(PRIMARY),
        None,
    );
    let address: IpAddr = "10.1.2.3".parse().unwrap();
    let login = async || {
        let admitted = world.gate.admit(Endpoint::Device, address).unwrap();
        let credential = Credential::sas(&token);
        let identity = device(DEVICE);
        let proof = world
            .gate
            .authenticate_device(&identity, &credential, Usage::Connection);
        proof.await.unwrap().admitted(admitted)
    };
    let plain = login().await;
    assert!(
        plain
            .auth_method_json()
            .ends_with(r#""acceptingIpFilterRule":null}"#)
    );
    world.gate.set_network(rules(&["+10.0.0.0/8@d"], "dsr"));
    let proof = login().await;
    assert_eq!(
        proof.auth_method_json(),
        r#"{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":"rule-0"}"#
    );
    assert!(world.gate.recheck(&proof).await.is_ok());
    world
        .gate
        .set_network(rules(&["-10.1.0.0/16", "+10.0.0.0/8"], ""));
    let refusal = world.gate.recheck(&proof).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::NetworkDenied);
    assert!(!refusal.is_passing(), "an open connection must end by it");
    assert!(refusal.to_string().contains("10.1.2.3"), "{refusal}");
}

#[tokio::test]
async fn a_name_with_quotes_stays_inside_of_the_stamp() {
    let world = world().await;
    let rule = Rule {
        name: RuleName::parse(r#"a","type":"x509"#).unwrap(),
        action: Action::Allow,
        source: Source::Any,
        endpoints: Endpoints::ALL,
    };
    world
        .gate
        .set_network(NetworkRules::new(vec![rule], Endpoints::NONE).unwrap());
    let token = sas::create(
        "hub1.example.test/devices/Dev%251",
        in_an_hour(),
        &key(PRIMARY),
        None,
    );
    let credential = Credential::sas(&token);
    let proof = world
        .gate
        .authenticate_device(&device(DEVICE), &credential, Usage::Connection)
        .await;
    let admitted = world
        .gate
        .admit(Endpoint::Device, Ipv6Addr::LOCALHOST.into())
        .unwrap();
    let stamp: serde_json::Value =
        serde_json::from_str(&proof.unwrap().admitted(admitted).auth_method_json()).unwrap();
    assert_eq!(stamp["type"], "sas");
    assert_eq!(stamp["acceptingIpFilterRule"], r#"a","type":"x509"#);
}

/// The bits of an address, for a reading of the rules that shares nothing with the code.
fn bits(address: IpAddr) -> String {
    let (family, octets) = match address {
        IpAddr::V4(address) => ("4:", address.octets().to_vec()),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => ("4:", address.octets().to_vec()),
            None => ("6:", address.octets().to_vec()),
        },
    };
    octets
        .iter()
        .fold(family.to_owned(), |text, octet| format!("{text}{octet:08b}"))
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    // Few bits differ, so that rules and addresses meet.
    prop_oneof![
        (0..8_u32, any::<bool>()).prop_map(|(low, high)| {
            let address = Ipv4Addr::from(low | if high { 0x8000_0000 } else { 0 });
            IpAddr::V4(address)
        }),
        (0..8_u32).prop_map(|low| IpAddr::V6(Ipv4Addr::from(low).to_ipv6_mapped())),
        (0..8_u128, any::<bool>())
            .prop_map(|(low, high)| IpAddr::V6(Ipv6Addr::from(low | if high { 1 << 127 } else { 1 << 64 }))),
    ]
}

/// Whether it allows, the bits of its endpoints, and its addresses.
type Drawn = (bool, u8, Option<(IpAddr, u8)>);

fn any_rules() -> impl Strategy<Value = Vec<Drawn>> {
    let prefix = prop_oneof![Just(0_u8), Just(1), 28..=32_u8, 95..=128_u8];
    let source = proptest::option::weighted(0.9, (addresses(), prefix));
    proptest::collection::vec((any::<bool>(), 1..=7_u8, source), 0..8)
}

fn endpoints_of(bits: u8) -> Endpoints {
    let chosen = Endpoint::ALL
        .into_iter()
        .enumerate()
        .filter(|(index, _)| bits & (1 << index) != 0);
    chosen.map(|(_, endpoint)| endpoint).collect()
}

proptest! {
    #[test]
    fn first_match_equals_a_naive_reading(given in any_rules(), denied in 0..=7_u8, address in addresses()) {
        let mut list = Vec::new();
        let mut naive = Vec::new();
        for (allow, endpoints, source) in given {
            let (text, start) = match source {
                None => ("any".to_owned(), String::new()),
                Some((first, prefix)) => {
                    let text = format!("{first}/{prefix}");
                    if text.parse::<Source>().is_err() {
                        continue;
                    }
                    let mapped = matches!(first, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
                    let written = if mapped && prefix < 96 {
                        // A range wider than those that hold IPv4 is one of IPv6.
                        let IpAddr::V6(address) = first else { continue };
                        let bits = address.octets().iter().fold(String::new(), |text, octet| format!("{text}{octet:08b}"));
                        format!("6:{}", &bits[..usize::from(prefix)])
                    } else {
                        let prefix = if mapped { prefix - 96 } else { prefix };
                        bits(first)[..2 + usize::from(prefix)].to_owned()
                    };
                    (text, written)
                }
            };
            let action = if allow { Action::Allow } else { Action::Deny };
            list.push(Rule {
                name: RuleName::parse(&format!("r{}", list.len())).unwrap(),
                action,
                source: text.parse().unwrap(),
                endpoints: endpoints_of(endpoints),
            });
            naive.push((action, endpoints, start));
        }
        let rules = NetworkRules::new(list, endpoints_of(denied)).unwrap();
        for (index, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            let mut expected = if denied & (1 << index) == 0 { Action::Allow } else { Action::Deny };
            for (action, endpoints, start) in naive.iter().rev() {
                if endpoints & (1 << index) != 0 && bits(address).starts_with(start.as_str()) {
                    expected = *action;
                }
            }
            prop_assert_eq!(rules.decide(endpoint, address).action, expected);
        }
        // What is written reads back to the same.
        let text = serde_json::to_string(&rules).unwrap();
        prop_assert_eq!(serde_json::from_str::<NetworkRules>(&text).unwrap(), rules);
    }

    #[test]
    fn any_text_is_read_without_panic(text in "[0-9a-f:./ anyANY]{0,40}") {
        if let Ok(source) = text.parse::<Source>() {
            prop_assert_eq!(source.to_string().parse::<Source>(), Ok(source));
        }
    }
}
