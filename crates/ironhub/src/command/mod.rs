//! The commands, one a file.

mod advise;
mod assignment;
mod audit;
mod auth;
mod ca;
mod cert;
mod commands;
mod configuration;
mod consumer_group;
mod contexts;
mod crl;
pub(crate) mod dev;
mod device;
mod events;
mod explain;
mod hub;
mod identity;
mod issuer;
mod log;
mod manual;
mod master_key;
mod method;
mod module;
mod monitor;
mod network;
mod ocsp;
mod own;
mod policy;
mod recover;
mod revoke;
mod role;
pub(crate) mod serve;
mod simulate;
mod status;
mod target;
mod twin;

use clap::Subcommand;

use crate::failure::Failure;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a development server: makes certificates, a hub and credentials, and prints how to use them
    Dev(dev::Arguments),
    /// Start a server with a configuration file
    Serve(serve::Arguments),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(configuration::Command),
    /// Create, show, change and delete devices
    #[command(subcommand)]
    Device(device::Command),
    /// Create, show and delete modules of devices
    #[command(subcommand)]
    Module(module::Command),
    /// Show and change the twins of devices and modules
    #[command(subcommand)]
    Twin(twin::Command),
    /// Call methods of connected devices and modules
    #[command(subcommand)]
    Method(method::Command),
    /// Send commands to devices, and hear what became of them
    #[command(subcommand)]
    Command(commands::Command),
    /// Show telemetry, or events of the hub, as they arrive
    Monitor(monitor::Arguments),
    /// Let simulated devices send telemetry, keep twins, answer methods and take commands
    Simulate(simulate::Arguments),
    /// Show how the server is
    Status(status::Arguments),
    /// Show who connected, who was refused and why connections ended
    Events(events::Arguments),
    /// Tell all that is known of a device, and why it is refused
    #[command(subcommand)]
    Explain(explain::Command),
    /// Tell what of the hub and its devices could be safer, and how to mend it
    Advise(advise::Arguments),
    /// Tell who changed or read identities, keys, policies and settings, and prove that the tale is whole
    #[command(subcommand)]
    Audit(audit::Command),
    /// Tell why a token or certificate is taken or refused, without the peer that holds it
    #[command(subcommand)]
    Auth(auth::Command),
    /// Create, show, rotate and delete shared access policies
    #[command(subcommand)]
    Policy(policy::Command),
    /// Add, verify and delete the CA certificates that the hub trusts for its devices
    #[command(subcommand)]
    Ca(ca::Command),
    /// Make a certificate authority for development, and issue certificates to devices
    #[command(subcommand)]
    Cert(cert::Command),
    /// Create, list and delete consumer groups
    #[command(subcommand)]
    ConsumerGroup(consumer_group::Command),
    /// Say whose bearer tokens are believed
    #[command(subcommand)]
    Issuer(issuer::Command),
    /// Make, list and delete roles of those who come with bearer tokens
    #[command(subcommand)]
    Role(role::Command),
    /// Assign roles and take them away
    #[command(subcommand)]
    Assignment(assignment::Command),
    /// Block certificates and CAs before their time
    #[command(subcommand)]
    Revoke(revoke::Command),
    /// Add, show, refresh and remove certificate revocation lists
    #[command(subcommand)]
    Crl(crl::Command),
    /// Ask OCSP responders whether certificates are revoked
    #[command(subcommand)]
    Ocsp(ocsp::Command),
    /// Show and change the settings of the hub
    #[command(subcommand)]
    Hub(hub::Command),
    /// Say from which addresses the hub may be reached
    #[command(subcommand)]
    Network(network::Command),
    /// Inspect the telemetry log of a stopped server
    #[command(subcommand)]
    Log(log::Command),
    /// Make, show and replace the master key that keys are stored under
    #[command(subcommand)]
    MasterKey(master_key::Command),
    /// Choose the server that commands are meant for
    #[command(subcommand)]
    Context(contexts::Command),
    /// Write a completion script for a shell
    Completions(manual::CompletionsArguments),
    /// Write the manual pages into a folder
    Man(manual::ManArguments),
}

/// Does it.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(arguments) => dev::run(arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Config(command) => configuration::run(&command),
        Command::Device(command) => device::run(&command),
        Command::Module(command) => module::run(&command),
        Command::Twin(command) => twin::run(&command),
        Command::Method(command) => method::run(&command),
        Command::Command(command) => commands::run(&command),
        Command::Monitor(arguments) => monitor::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Events(arguments) => events::run(&arguments),
        Command::Explain(command) => explain::run(&command),
        Command::Advise(arguments) => advise::run(&arguments),
        Command::Audit(command) => audit::run(&command),
        Command::Auth(command) => auth::run(&command),
        Command::Policy(command) => policy::run(&command),
        Command::Ca(command) => ca::run(&command),
        Command::Cert(command) => cert::run(&command),
        Command::ConsumerGroup(command) => consumer_group::run(&command),
        Command::Issuer(command) => issuer::run(&command),
        Command::Role(command) => role::run(&command),
        Command::Assignment(command) => assignment::run(&command),
        Command::Revoke(command) => revoke::run(&command),
        Command::Crl(command) => crl::run(&command),
        Command::Ocsp(command) => ocsp::run(&command),
        Command::Hub(command) => hub::run(&command),
        Command::Network(command) => network::run(&command),
        Command::Log(command) => log::run(&command),
        Command::MasterKey(command) => master_key::run(&command),
        Command::Context(command) => contexts::run(&command),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
    }
}
