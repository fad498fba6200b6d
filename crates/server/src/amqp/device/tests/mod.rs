//! Devices and the server in one process and in virtual time: nothing waits, and every deadline is exact.

mod access_matrix;
mod client;
mod commands;
mod hostile;
mod lives;
mod methods;
mod network;
mod telemetry;
mod twins;

#[test]
fn an_idle_device_costs_its_links_and_a_few_words() {
    assert!(
        size_of::<super::Device>() <= 480,
        "{}",
        size_of::<super::Device>()
    );
    assert_eq!(size_of::<Option<Box<super::Conversation>>>(), size_of::<usize>());
    let node = size_of::<super::super::attach::Node>();
    assert!(node <= 112, "{node}");
}
