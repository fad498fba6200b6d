//! What the commands over Ironhub's own paths share: the request, the words about what was done, and lists as tables.

use serde_json::Value;

use crate::arguments::ClientArguments;
use crate::client::{Call, Client, block_on};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{self, printable};

/// Asks the server, and reads the JSON of its answer; null when it has none.
pub(super) fn request(arguments: &ClientArguments, call: Call) -> Result<Value, Failure> {
    let client = Client::new(&Context::of(arguments)?)?;
    block_on(async { client.ask(call).await?.json() })
}

/// Says what was done: the answer where a program reads, a sentence where a person does.
pub(super) fn say(arguments: &ClientArguments, answer: &Value, text: &str) -> Result<(), Failure> {
    if arguments.output.is_json() {
        output::json(answer)
    } else {
        output::line(&printable(text))
    }
}

/// Shows the list in a member of an answer: the answer where a program reads, a table where a person does.
pub(super) fn list(
    arguments: &ClientArguments,
    answer: &Value,
    name: &str,
    headings: &[&str],
    row: impl Fn(&Value) -> Vec<String>,
) -> Result<(), Failure> {
    if arguments.output.is_json() {
        return output::json(answer);
    }
    let rows: Vec<_> = entries(answer, name).iter().map(row).collect();
    output::table(headings, &rows)
}

/// A member that is text or a number, fit for a terminal; empty when it is neither.
pub(super) fn member(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => printable(text),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// Several of them, as the cells of a row.
pub(super) fn members(value: &Value, names: &[&str]) -> Vec<String> {
    names.iter().map(|name| member(value, name)).collect()
}

/// A member that is a list of texts, with commas.
pub(super) fn texts(value: &Value, name: &str) -> String {
    let texts = entries(value, name).iter().filter_map(Value::as_str);
    texts.map(printable).collect::<Vec<_>>().join(", ")
}

fn entries<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    let list = answer.get(name).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_shown_and_nothing_else() {
        let value = json!({ "name": "a\u{1b}[2J", "count": 3, "list": ["x", 1, "y\n"], "none": null });
        assert_eq!(
            members(&value, &["count", "none", "missing", "list"]),
            ["3", "", "", ""]
        );
        assert!(!member(&value, "name").contains('\u{1b}'));
        assert!(texts(&value, "list").starts_with("x, y"));
        assert!(!texts(&value, "list").contains('\n'));
        assert_eq!(texts(&value, "missing"), "");
    }
}
