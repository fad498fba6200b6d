//! The page of who may do what (`docs/reference/authorisation.md`), made from the tables that decide it.

use std::fmt::Write as _;

use hub::access::operation::{self, ACTION_PREFIX, Action, Definition};
use hyper::Method;

use crate::amqp::LINKS;
use crate::demand::Demand;
use crate::http::{HUB_PATH, RESOURCE_ROUTES, ROUTES, Route, resource_demand};
use crate::mqtt::{TOPICS, Way};

/// The page, in Markdown.
pub fn authorisation() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str(
        "\n## Operations\n\n| Operation | What it is | Policy with | Action of a role | Specification |\n",
    );
    page.push_str("| --- | --- | --- | --- | --- |\n");
    for row in operation::ALL {
        line(
            &mut page,
            &[
                row.name,
                row.meaning,
                &policies(row),
                &action(row),
                row.specification,
            ],
        );
    }
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "\nActions begin with `{ACTION_PREFIX}`, which is left out above. A data action comes from the `dataActions` of a role, a\n\
         control action from its `actions`; neither stands in for the other.\n"
    );
    page.push_str("\n## HTTPS\n\n| Request | Operation |\n| --- | --- |\n");
    for (method, path) in ROUTES {
        let Some(route) = Method::from_bytes(method.as_bytes())
            .ok()
            .and_then(|method| Route::find(&method, path).ok())
        else {
            continue;
        };
        line(
            &mut page,
            &[&format!("`{method} {path}`"), &in_words(route.demand())],
        );
    }
    page.push_str(
        "| `GET, DELETE /uploads/{device}/{name}` | ReadUploads, or the signature in an upload's address |\n",
    );
    let _ = write!(
        page,
        "\n## HTTPS, the hub as a resource\n\nA dot stands for `{HUB_PATH}`.\n\n| Request | Operation |\n| --- | --- |\n"
    );
    for (method, path) in RESOURCE_ROUTES {
        let whole = path.replacen('.', HUB_PATH, usize::from(path.starts_with('.')));
        let demand = Method::from_bytes(method.as_bytes())
            .ok()
            .and_then(|method| resource_demand(&method, &whole));
        if let Some(demand) = demand {
            line(&mut page, &[&format!("`{method} {path}`"), &in_words(demand)]);
        }
    }
    page.push_str(AMQP);
    for link in LINKS {
        let name = format!("{} `{}`", link.way(), link.address);
        line(&mut page, &[&name, &in_words(link.demand())]);
    }
    page.push_str(MQTT);
    for topic in TOPICS {
        let way = match topic.way {
            Way::Publish => "publish",
            Way::Subscribe => "subscribe",
        };
        let who = topic.who().unwrap_or("nobody");
        line(&mut page, &[way, &format!("`{}`", topic.text), who]);
    }
    page
}

fn in_words(demand: Demand) -> String {
    match demand {
        Demand::Operation(row) => row.name.to_owned(),
        Demand::OperationOrEdge(row) => format!("{}, or the edge device itself", row.name),
        Demand::Itself => "the device or module itself".to_owned(),
        Demand::AnyToken => "any token of the hub; it has no effect".to_owned(),
        Demand::Nothing => "nothing: tokens are put there".to_owned(),
        Demand::Never => "nobody".to_owned(),
    }
}

fn policies(row: &Definition) -> String {
    let names = row.policies.iter().map(|rights| format!("`{rights}`"));
    names.collect::<Vec<_>>().join(" or ")
}

fn action(row: &Definition) -> String {
    match row.action {
        Action::Data(names) => format!("data: {}", list(names)),
        Action::Control(names) => format!("control: {}", list(names)),
        Action::None => "none: policies alone".to_owned(),
    }
}

fn list(names: &[&str]) -> String {
    let quoted = names.iter().map(|name| format!("`{name}`"));
    quoted.collect::<Vec<_>>().join(" and ")
}

fn line(page: &mut String, cells: &[&str]) {
    for cell in cells {
        page.push_str("| ");
        page.push_str(cell);
        page.push(' ');
    }
    page.push_str("|\n");
}

const INTRODUCTION: &str = "# Who may do what

This page is made from the tables by which the server decides. A policy is a shared access policy of the hub; its rights are
`RegistryRead`, `RegistryWrite` (which includes `RegistryRead`), `ServiceConnect` and `DeviceConnect`. A role is given to who comes
with a bearer token of an issuer that the hub trusts. Whatever is not listed is refused. Jobs, queries and configurations are not
built yet and have no rows.
";

const AMQP: &str = "
## AMQP

`to` is a link on which the peer sends, `from` one on which it receives. A link stands on any token of its connection that covers its
address, put at `$cbs` or given with SASL PLAIN; the link of a device or module also on the certificate of the handshake, if the
connection has no token that covers it. A link whose last ground is gone is detached.

| Link | Operation |
| --- | --- |
";

const MQTT: &str = "
## MQTT

A connection is that of one device or module, which it proves once: by a key or certificate of its own, or by a token of a policy that
holds `DeviceConnect`. Bearer tokens never open any of this. Publishing elsewhere ends the connection, subscribing elsewhere is refused
or ends it.

| Way | Topic | Who |
| --- | --- | --- |
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_operation_and_route() {
        let page = authorisation();
        for row in operation::ALL {
            assert!(page.contains(&format!("| {} |", row.name)), "{}", row.name);
        }
        for (method, path) in ROUTES.iter().chain(RESOURCE_ROUTES) {
            assert!(
                page.contains(&format!("| `{method} {path}` |")),
                "{method} {path}"
            );
        }
        for link in LINKS {
            assert!(page.contains(&format!("| {} `{}` |", link.way(), link.address)));
        }
        for topic in TOPICS {
            assert!(page.contains(&format!(" | `{}` | ", topic.text)));
        }
        assert!(page.contains(ACTION_PREFIX));
    }
}
