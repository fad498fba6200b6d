//! The page of who may do what (`docs/reference/authorisation.md`), made from the tables that decide it.

use std::fmt::Write as _;

use hub::access::operation::{self, ACTION_PREFIX, Action, Definition};
use hyper::Method;

use crate::amqp::SERVICE_LINKS;
use crate::http::{Demand, HUB_PATH, RESOURCE_ROUTES, ROUTES, Route, resource_demand};

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
    page.push_str("\n## AMQP\n\n| Link | Operation |\n| --- | --- |\n");
    for (link, row) in SERVICE_LINKS {
        line(&mut page, &[link, row.name]);
    }
    page.push_str(DEVICES);
    page
}

fn in_words(demand: Demand) -> String {
    match demand {
        Demand::Operation(row) => row.name.to_owned(),
        Demand::OperationOrEdge(row) => format!("{}, or the edge device itself", row.name),
        Demand::Itself => "the device or module itself".to_owned(),
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

const DEVICES: &str = "
## Devices and modules

A device or module speaks for itself alone, with a key or certificate of its own, or with a token of a policy that holds
`DeviceConnect`. Bearer tokens never open any of this.

| MQTT topic | Who |
| --- | --- |
| `devices/{id}/messages/events/`, `devices/{id}/modules/{module}/messages/events/` | the identity of the connection |
| `devices/{id}/messages/devicebound/#`, `devices/{id}/modules/{module}/messages/devicebound/#` | the identity of the connection |
| `devices/{id}/modules/{module}/inputs/#` | the module of the connection |
| `$iothub/twin/..`, `$iothub/methods/..` | the identity of the connection |

| AMQP link | Who |
| --- | --- |
| `/devices/{id}/messages/events`, `/devices/{id}/messages/devicebound`, `/devices/{id}/twin`, `/devices/{id}/methods/devicebound` | the device, by any token on the connection that covers it |
| the same below `/devices/{id}/modules/{module}` | the module, likewise |
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
        assert!(page.contains(ACTION_PREFIX));
    }
}
