//! The document as text: docs/api-reference.md, and the page at `/docs`.
//!
//! First what all operations share, then each operation, then the objects and texts that bodies
//! are made of. In Markdown; the page is the same text as HTML.

use serde_json::Value;
use utoipa::openapi::{
    OpenApi as Document, Ref, RefOr, Response, Schema,
    path::{Operation, Parameter, ParameterIn, PathItem},
    schema::{SchemaType, Type},
};

use super::{
    examples,
    page::anchor,
    schema_words::{description, form, kind, meaning, parts},
};

const INTRODUCTION: &str = "# API reference

Every request and answer of the HTTP API, made from its OpenAPI document (`GET /openapi.json`,
`certward openapi`). The [guide for programs](api.md) says how to use it.

";

const COMMON: &str = "## What all have in common

Paths are relative to `/public_api/v1`, but for those [beside the base](#beside-the-base). Log in with
HTTP Basic: the user name is the API key, the password its secret key. A scope is what the key
needs; `admin` may do all, and `tls` may also what `tls:read` may. A limit is that of the default
configuration, per key, deployment and method; [the guide](limits.md#requests-to-the-api) says how
requests are counted.

Any operation can be refused with one of these; the [codes](errors.md) are explained one by one. A
refusal is an [`Error`](#error):

";

struct Printer<'a> {
    document: &'a Document,
    text: String,
}

pub(super) fn reference(document: &Document) -> String {
    let mut it = Printer { document, text: INTRODUCTION.to_owned() };
    it.contents();
    it.common();
    for tag in document.tags.iter().flatten() {
        it.line(&format!("## {}\n", tag.name));
        it.line(&format!("{}\n", tag.description.as_deref().unwrap_or_default()));
        for (method, path, operation) in of_tag(document, &tag.name) {
            it.operation(method, path, operation);
        }
    }
    it.objects();
    it.texts();
    it.text.truncate(it.text.trim_end().len());
    it.text.push('\n');
    it.text
}

fn operations(document: &Document) -> impl Iterator<Item = (&'static str, &str, &Operation)> {
    document.paths.paths.iter().flat_map(|(path, item)| {
        let PathItem { get, post, put, patch, delete, .. } = item;
        let methods = [("GET", get), ("POST", post), ("PUT", put), ("PATCH", patch), ("DELETE", delete)];
        methods.into_iter().filter_map(move |(method, it)| Some((method, path.as_str(), it.as_ref()?)))
    })
}

fn of_tag<'a>(document: &'a Document, tag: &str) -> Vec<(&'static str, &'a str, &'a Operation)> {
    let has_tag = |operation: &Operation| operation.tags.iter().flatten().any(|other| other == tag);
    operations(document).filter(|(.., operation)| has_tag(operation)).collect()
}

impl Printer<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn contents(&mut self) {
        self.line("| operation | | |");
        self.line("|---|---|---|");
        let document = self.document;
        for tag in document.tags.iter().flatten() {
            for (method, path, operation) in of_tag(document, &tag.name) {
                let title = format!("{method} `{path}`");
                let name = operation.operation_id.as_deref().unwrap_or_default();
                let summary = one_line(operation.summary.as_deref().unwrap_or_default());
                let summary = first_sentence(&summary);
                self.line(&format!("| [{title}](#{}) | `{name}` | {summary} |", anchor(&title)));
            }
        }
        self.line("\nThen the [objects](#objects) and [texts](#texts) of their bodies.\n");
    }

    fn common(&mut self) {
        self.text.push_str(COMMON);
        self.line("| status | codes | when |");
        self.line("|---|---|---|");
        let document = self.document;
        let mut rows: Vec<(String, String)> = Vec::new();
        for (.., operation) in operations(document) {
            for (status, response) in &operation.responses.responses {
                let RefOr::Ref(reference) = response else { continue };
                let Some(response) = self.resolve(reference) else { continue };
                let row = format!("| {status} | {} | {} |", codes(response), response.description);
                if !rows.iter().any(|(_, other)| *other == row) {
                    rows.push((status.clone(), row));
                }
            }
        }
        rows.sort();
        rows.iter().for_each(|(_, row)| self.line(row));
        self.line("\n| header of answers | meaning |");
        self.line("|---|---|");
        for (name, header) in document.components.iter().flat_map(|it| &it.headers) {
            if let RefOr::T(header) = header {
                self.line(&format!("| `{name}` | {} |", header.description.as_deref().unwrap_or_default()));
            }
        }
        self.line("");
    }

    fn resolve(&self, reference: &Ref) -> Option<&Response> {
        let name = reference.ref_location.strip_prefix("#/components/responses/")?;
        match self.document.components.as_ref()?.responses.get(name)? {
            RefOr::T(response) => Some(response),
            RefOr::Ref(_) => None,
        }
    }

    fn operation(&mut self, method: &str, path: &str, operation: &Operation) {
        let id = operation.operation_id.as_deref().unwrap_or_default();
        self.line(&format!("### {method} `{path}`\n"));
        self.line(&wrapped(operation.summary.as_deref().unwrap_or_default()));
        if let Some(description) = &operation.description {
            self.line(&format!("\n{}", wrapped(description)));
        }
        self.line(&format!("\n`{id}`{}{}\n", scope(operation), limit(operation)));
        self.parameters(operation);
        if let Some(RefOr::T(body)) = &operation.request_body {
            let kind = body.content.values().next().and_then(|content| match content {
                RefOr::T(content) => content.schema.as_ref().map(kind),
                RefOr::Ref(_) => None,
            });
            self.line(&format!("**Body**: {}.\n", kind.unwrap_or_default()));
            self.example(examples::request(id));
        }
        for (status, response) in &operation.responses.responses {
            if let RefOr::T(response) = response
                && !status.starts_with('4')
            {
                self.answer(id, status, response);
            }
        }
        self.refusals(operation);
    }

    fn parameters(&mut self, operation: &Operation) {
        let parameters: Vec<&Parameter> = operation
            .parameters
            .iter()
            .flatten()
            .filter_map(|it| match it {
                RefOr::T(parameter) => Some(parameter),
                RefOr::Ref(_) => None,
            })
            .collect();
        if parameters.is_empty() {
            return;
        }
        self.line("| parameter | in | type | meaning |");
        self.line("|---|---|---|---|");
        for it in parameters {
            let place = match it.parameter_in {
                ParameterIn::Query => "query",
                ParameterIn::Path => "path",
                ParameterIn::Header => "header",
                _ => "other",
            };
            let kind = it.schema.as_ref().map(kind).unwrap_or_default();
            let meaning = it.description.as_deref().unwrap_or_default();
            self.line(&format!("| `{}` | {place} | {kind} | {meaning} |", it.name));
        }
        self.line("");
    }

    fn answer(&mut self, id: &str, status: &str, response: &Response) {
        let body = response.content.iter().map(|(media_type, content)| {
            let kind = match content {
                RefOr::T(content) => content.schema.as_ref().map(kind).unwrap_or_default(),
                RefOr::Ref(_) => String::new(),
            };
            if media_type == "application/json" { kind } else { format!("`{media_type}`") }
        });
        let body: Vec<String> = body.collect();
        let body = if body.is_empty() { "no body".to_owned() } else { body.join(" or ") };
        let description = response.description.trim_end_matches('.');
        self.line(&format!("{}\n", wrapped(&format!("**{status}**: {description}: {body}."))));
        let own: Vec<_> = response
            .headers
            .iter()
            .filter_map(|(name, header)| match header {
                RefOr::T(header) => Some((name, header.description.as_deref().unwrap_or_default())),
                RefOr::Ref(_) => None,
            })
            .collect();
        if !own.is_empty() {
            self.line("| header | meaning |");
            self.line("|---|---|");
            own.into_iter().for_each(|(name, meaning)| self.line(&format!("| `{name}` | {meaning} |")));
            self.line("");
        }
        if status.starts_with('2') {
            self.example(examples::answer(id));
        }
    }

    fn example(&mut self, example: Option<&str>) {
        if let Some(example) = example {
            self.line(&format!("```json\n{}\n```\n", example.trim_end()));
        }
    }

    fn refusals(&mut self, operation: &Operation) {
        let own = operation.responses.responses.iter().filter_map(|(status, response)| match response {
            RefOr::T(response) if status.starts_with('4') => Some((status, response)),
            _ => None,
        });
        let own: Vec<_> = own.collect();
        if own.is_empty() {
            return;
        }
        self.line("| refused | codes |");
        self.line("|---|---|");
        for (status, response) in own {
            let codes = match response.description.starts_with('`') {
                true => codes(response),
                false => format!("{} See [findings](findings.md).", response.description),
            };
            self.line(&format!("| {status} | {codes} |"));
        }
        self.line("");
    }

    fn schemas(&self) -> impl Iterator<Item = (&String, &Schema)> {
        self.document.components.iter().flat_map(|it| &it.schemas).filter_map(|(name, schema)| match schema {
            RefOr::T(schema) => Some((name, schema)),
            RefOr::Ref(_) => None,
        })
    }

    fn objects(&mut self) {
        self.line("## Objects\n");
        self.line("A field is always there unless it is «optional»; in a request `null` counts as absent.\n");
        let mut text = String::new();
        for (name, schema) in self.schemas() {
            if let Schema::OneOf(one) = schema {
                let kinds: Vec<_> = one.items.iter().map(kind).collect();
                let (description, kinds) = (wrapped(description(schema)), kinds.join(" or "));
                text.push_str(&format!("### {name}\n\n{description}\n\n{kinds}\n\n"));
                continue;
            }
            let parts = parts(schema);
            if parts.iter().all(|part| part.properties.is_empty()) && !matches!(schema, Schema::AllOf(_)) {
                continue;
            }
            text.push_str(&format!("### {name}\n\n{}\n\n", wrapped(description(schema))));
            if let Schema::AllOf(all) = schema {
                for item in &all.items {
                    if let RefOr::Ref(_) = item {
                        text.push_str(&format!("All fields of {}, and:\n\n", kind(item)));
                    }
                }
            }
            text.push_str("| field | type | | meaning |\n|---|---|---|---|\n");
            for part in parts {
                for (field, schema) in &part.properties {
                    let optional = if part.required.contains(field) { "" } else { "optional" };
                    let meaning = one_line(&meaning(self.document, schema));
                    text.push_str(&format!("| `{field}` | {} | {optional} | {meaning} |\n", kind(schema)));
                }
            }
            text.push('\n');
        }
        self.text.push_str(&text);
    }

    fn texts(&mut self) {
        self.line("## Texts\n");
        let mut text = String::new();
        for (name, schema) in self.schemas() {
            let Schema::Object(object) = schema else { continue };
            if object.schema_type != SchemaType::Type(Type::String) {
                continue;
            }
            text.push_str(&format!("### {name}\n\n{}\n\n", wrapped(description(schema))));
            let form = match &object.enum_values {
                _ if name == "Code" => "All of [errors](errors.md) and [findings](findings.md).".to_owned(),
                Some(values) => {
                    let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
                    wrapped(&format!("One of `{}`.", values.join("`, `")))
                }
                None => form(object),
            };
            text.push_str(&format!("{form}\n\n"));
        }
        self.text.push_str(&text);
    }
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text.trim_end_matches('.'), |(first, _)| first)
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// The codes of a refusal, in code.
fn codes(response: &Response) -> String {
    let extensions = response.extensions.as_ref();
    let codes = extensions.and_then(|all| all.get("x-codes")).and_then(Value::as_array);
    let codes: Vec<_> =
        codes.into_iter().flatten().filter_map(Value::as_str).map(|code| format!("`{code}`")).collect();
    codes.join(", ")
}

fn scope(operation: &Operation) -> String {
    let requirements = serde_json::to_value(&operation.security).unwrap_or_default();
    let scope = requirements.pointer("/0/basic/0").and_then(Value::as_str).map(str::to_owned);
    let is_under_base = operation.servers.is_none();
    match scope {
        Some(scope) => format!(" · scope `{scope}`"),
        None if is_under_base => " · any scope".to_owned(),
        None => String::new(),
    }
}

fn limit(operation: &Operation) -> String {
    let limit = operation.extensions.as_ref().and_then(|all| all.get("x-limit"));
    let number = |name: &str| limit.and_then(|it| it.get(name)).and_then(Value::as_u64);
    match (number("requests"), number("seconds")) {
        (Some(requests), Some(seconds)) => format!(" · limit {requests} in {} minutes", seconds / 60),
        _ => String::new(),
    }
}

/// Filled to the width of the documents.
fn wrapped(text: &str) -> String {
    const WIDTH: usize = 100;
    let mut lines = String::new();
    for (at, paragraph) in text.split("\n\n").enumerate() {
        if at > 0 {
            lines.push_str("\n\n");
        }
        let mut width = 0;
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > WIDTH {
                lines.push('\n');
                width = 0;
            } else if width > 0 {
                lines.push(' ');
                width += 1;
            }
            lines.push_str(word);
            width += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use utoipa::OpenApi as _;

    use super::*;

    /// `CERTWARD_WRITE_DOCS=1 cargo test -p certward-api api_reference_md` writes the page.
    #[test]
    fn api_reference_md_is_what_the_document_says() {
        let page = reference(&super::super::ApiDocument::openapi());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api-reference.md");
        if std::env::var_os("CERTWARD_WRITE_DOCS").is_some() {
            fs::write(&path, &page).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let how = "CERTWARD_WRITE_DOCS=1 cargo test -p certward-api api_reference_md";
        assert!(kept == page, "docs/api-reference.md is not what the document says; run {how}");
    }
}
