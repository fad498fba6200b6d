use rcgen::KeyPair;

use super::*;

/// A certificate of its own with these names.
fn identity(names: &[&str]) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.pem");
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    std::fs::write(&file, made.pem() + &key.serialize_pem()).unwrap();
    Identity::load(&file, &file).unwrap()
}

fn hosts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_hub_shows_its_own_and_the_rest_what_names_it() {
    let (server, plant, wild) = (
        identity(&["server.example"]),
        identity(&["plant.example"]),
        identity(&["*.fleet.example"]),
    );
    let mut table = Table::new(vec![server.clone()]);
    table.add(&hosts(&["plant.example"]), vec![plant.clone()]);
    table.add(&hosts(&["a.fleet.example"]), vec![wild.clone()]);
    let shown = |name| table.of(name).first().unwrap().chain()[0].clone();
    for (name, expected) in [
        (None, &server),
        (Some("server.example"), &server),
        (Some("plant.example"), &plant),
        (Some("a.fleet.example"), &wild),
        (Some("b.fleet.example"), &wild),
        (Some("b.a.fleet.example"), &server),
        (Some("nobody.example"), &server),
    ] {
        assert_eq!(shown(name), expected.chain()[0], "{name:?}");
    }
}

#[test]
fn without_a_certificate_of_the_server_the_first_hub_speaks_for_it() {
    let (one, two) = (identity(&["one.example"]), identity(&["two.example"]));
    let mut table = Table::new(Vec::new());
    table.add(&hosts(&["one.example"]), vec![one.clone()]);
    table.add(&hosts(&["two.example"]), vec![two.clone()]);
    assert_eq!(table.of(None)[0].chain(), one.chain());
    assert_eq!(table.of(Some("two.example"))[0].chain(), two.chain());
}
