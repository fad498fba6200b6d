//! `ironhub network`: from which addresses a hub may be reached.

use clap::{Args, Subcommand, ValueEnum};
use hub::error::Code;
use hub::network::{Action, Endpoint, Endpoints, NetworkRules, Rule, RuleName, Source};
use hyper::Method;
use serde_json::{Value, json};

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on};
use crate::context::Context;
use crate::failure::{Failure, Status};
use crate::output::{self, printable};

use super::hub::SETTINGS;

/// Attempts of a change that meets other writers.
const ATTEMPTS_MAX: usize = 5;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the rules in their order; the first that matches decides
    List(ClientArguments),
    /// Let addresses in
    Allow(AddArguments),
    /// Keep addresses out; connections from there end at once
    Deny(AddArguments),
    /// Remove a rule
    Remove(RemoveArguments),
    /// Say what happens to addresses that no rule matches
    Default(DefaultArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// `any`, an address, or a range as `10.0.0.0/8` or `2001:db8::/32`
    source: Source,
    /// Name of the rule; made of action and addresses if none is given
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    endpoints: EndpointArguments,
    /// Put the rule before this one, not behind all others
    #[arg(long, value_name = "NAME")]
    before: Option<String>,
    #[command(flatten)]
    change: ChangeArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Name of the rule
    name: String,
    #[command(flatten)]
    change: ChangeArguments,
}

#[derive(Debug, Args)]
pub(crate) struct DefaultArguments {
    /// What happens
    #[arg(value_enum)]
    action: DefaultAction,
    #[command(flatten)]
    endpoints: EndpointArguments,
    #[command(flatten)]
    change: ChangeArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DefaultAction {
    /// They are let in
    Allow,
    /// They are kept out
    Deny,
}

#[derive(Debug, Args)]
pub(crate) struct EndpointArguments {
    /// Where: device, service, reader, with commas between them; everywhere if none is given
    #[arg(long = "endpoint", value_name = "ENDPOINT", value_delimiter = ',')]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeArguments {
    /// Also if the change keeps out the address from which this command reaches the server
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(client) => list(client),
        Command::Allow(arguments) => add(arguments, Action::Allow),
        Command::Deny(arguments) => add(arguments, Action::Deny),
        Command::Remove(arguments) => change(&arguments.change, |rules| {
            let mut kept = rules.rules().to_vec();
            let before = kept.len();
            kept.retain(|rule| !is_named(rule, &arguments.name));
            if kept.len() == before {
                return Err(no_rule(&arguments.name));
            }
            made(kept, rules.denied_by_default())
        }),
        Command::Default(arguments) => change(&arguments.change, |rules| {
            let named = arguments.endpoints.set();
            let denied = rules.denied_by_default();
            let denied: Endpoints = match arguments.action {
                DefaultAction::Deny => denied.iter().chain(named.iter()).collect(),
                DefaultAction::Allow => denied
                    .iter()
                    .filter(|endpoint| !named.contains(*endpoint))
                    .collect(),
            };
            made(rules.rules().to_vec(), denied)
        }),
    }
}

fn list(arguments: &ClientArguments) -> Result<(), Failure> {
    let client = Client::new(&Context::of(arguments)?)?;
    let (rules, _) = block_on(read(&client))?;
    print(arguments, &rules)
}

fn add(arguments: &AddArguments, action: Action) -> Result<(), Failure> {
    let name = arguments.name.clone();
    let name = name.unwrap_or_else(|| format!("{}-{}", action.name(), arguments.source));
    let rule = Rule {
        name: RuleName::parse(&name).map_err(|invalid| Failure::usage(invalid.to_string()))?,
        action,
        source: arguments.source,
        endpoints: arguments.endpoints.set(),
    };
    change(&arguments.change, |rules| {
        let mut changed = rules.rules().to_vec();
        let place = match &arguments.before {
            None => changed.len(),
            Some(before) => changed
                .iter()
                .position(|rule| is_named(rule, before))
                .ok_or_else(|| no_rule(before))?,
        };
        changed.insert(place, rule.clone());
        made(changed, rules.denied_by_default())
    })
}

impl EndpointArguments {
    fn set(&self) -> Endpoints {
        if self.endpoints.is_empty() {
            Endpoints::ALL
        } else {
            Endpoints::of(&self.endpoints)
        }
    }
}

fn is_named(rule: &Rule, name: &str) -> bool {
    rule.name.as_str().to_lowercase() == name.to_lowercase()
}

fn no_rule(name: &str) -> Failure {
    Failure::new(
        Status::NotFound,
        format!(
            "there is no network rule named '{}'; `ironhub network list` shows them",
            printable(name)
        ),
    )
}

fn made(rules: Vec<Rule>, denied_by_default: Endpoints) -> Result<NetworkRules, Failure> {
    NetworkRules::new(rules, denied_by_default).map_err(|invalid| Failure::usage(invalid.to_string()))
}

/// Reads the rules, changes them, and writes them if nobody else did meanwhile; else once more.
fn change(
    arguments: &ChangeArguments,
    change: impl Fn(&NetworkRules) -> Result<NetworkRules, Failure>,
) -> Result<(), Failure> {
    let client = Client::new(&Context::of(&arguments.client)?)?;
    let path = if arguments.force {
        "settings?force=true"
    } else {
        SETTINGS
    };
    let changed = block_on(async {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (rules, etag) = read(&client).await?;
            let changed = change(&rules)?;
            let call = Call::own(Method::PATCH, path)
                .if_match(Some(&etag))
                .json(&json!({ "network": changed }));
            match client.ask(call).await {
                Ok(_) => return Ok(changed),
                Err(failure)
                    if failure.code() == Some(Code::PreconditionFailed) && attempts < ATTEMPTS_MAX => {}
                Err(failure) => return Err(failure),
            }
        }
    })?;
    print(&arguments.client, &changed)
}

/// The rules in force and the etag of the settings that they are part of.
async fn read(client: &Client) -> Result<(NetworkRules, String), Failure> {
    let settings = client.own(Method::GET, SETTINGS).await?;
    let unreadable =
        || Failure::failed("the settings of the hub cannot be read; is the server newer than this program?");
    let etag = settings
        .get("etag")
        .and_then(Value::as_str)
        .ok_or_else(unreadable)?;
    let network = settings.get("network").cloned().ok_or_else(unreadable)?;
    let rules = serde_json::from_value(network).map_err(|_| unreadable())?;
    Ok((rules, etag.to_owned()))
}

fn print(arguments: &ClientArguments, rules: &NetworkRules) -> Result<(), Failure> {
    if arguments.output.is_json() {
        return output::json(rules);
    }
    let denied = rules.denied_by_default();
    let row = |number: String, action: &str, source: String, endpoints: Endpoints, name: String| {
        vec![number, action.to_owned(), source, endpoints.to_string(), name]
    };
    let mut rows: Vec<Vec<String>> = rules
        .rules()
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            let number = (index + 1).to_string();
            let name = printable(rule.name.as_str());
            row(
                number,
                rule.action.name(),
                rule.source.to_string(),
                rule.endpoints,
                name,
            )
        })
        .collect();
    let allowed: Endpoints = Endpoint::ALL
        .into_iter()
        .filter(|endpoint| !denied.contains(*endpoint))
        .collect();
    for (action, endpoints) in [("allow", allowed), ("deny", denied)] {
        if !endpoints.is_empty() {
            rows.push(row(
                "-".to_owned(),
                action,
                "any".to_owned(),
                endpoints,
                "(default)".to_owned(),
            ));
        }
    }
    output::table(&["#", "ACTION", "ADDRESSES", "ENDPOINTS", "NAME"], &rows)
}
