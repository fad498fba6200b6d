//! tryout
#![allow(clippy::all)]
use hub::clock::Clock;
fn main() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter("info")
        .init();
    let data = std::env::args().nth(1).unwrap();
    let prepared = server::dev::prepare(
        &server::dev::Options {
            data_dir: data.into(),
            hosts: vec![],
            environment: vec![],
            flags: vec![],
        },
        hub::clock::SystemClock::new().now(),
    )
    .unwrap();
    let rt = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(server::run(
        prepared.config,
        async { tokio::signal::ctrl_c().await.unwrap() },
        |ready| {
            println!("{}", ready.hubs[0].service_connection_string);
            println!("{}", ready.hubs[0].event_hub_connection_string);
            println!("{:?} {}", ready.addresses, prepared.ca_file.display());
        },
    ))
    .unwrap();
}
