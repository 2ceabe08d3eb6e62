//! The OpenAPI document: what poem-openapi derives from the endpoints, and what it can't say.
//!
//! Not here: the page that shows it, see `http/docs.rs`.

use std::collections::BTreeMap;

use poem_openapi::{OpenApi, OpenApiService, registry::Registry, types::Type};
use serde_json::{Map, Value, json};

use super::{
    admin, authorize,
    contract::{ErrorExample, Operation},
    device_authorization,
    error_response::{ErrorRenderer, OAuthError},
    introspection, metadata, qr_code, revocation, session, token,
};
use crate::client::GrantType;

/// What the endpoints say about themselves: one line an endpoint.
const OPERATIONS: &[&[Operation]] = &[
    token::OPERATIONS,
    device_authorization::OPERATIONS,
    qr_code::OPERATIONS,
    revocation::OPERATIONS,
    introspection::OPERATIONS,
    session::OPERATIONS,
    metadata::OPERATIONS,
];

/// The document for one issuer.
pub fn document<A: OpenApi + 'static>(service: &OpenApiService<A, ()>, issuer: &str, oauth21: bool) -> Value {
    let mut document: Value = serde_json::from_str(&service.spec()).unwrap_or_default();
    document["servers"] = json!([{ "url": issuer, "description": "This server" }]);
    document["components"]["securitySchemes"]["OAuth2"] = oauth2_scheme(issuer, oauth21);
    let merging = Merging { renderer: ErrorRenderer::new(issuer), oauth21 };
    let mut paths = document["paths"].take();
    for operation in paths.as_object_mut().into_iter().flat_map(Map::values_mut) {
        for operation in operation.as_object_mut().into_iter().flat_map(Map::values_mut) {
            let declared = OPERATIONS
                .iter()
                .chain(admin::OPERATIONS)
                .copied()
                .flatten()
                .find(|declared| operation["operationId"] == declared.id);
            if let Some(declared) = declared {
                merging.merge(declared, operation, &mut document["components"]["schemas"]);
            }
            // A security requirement is written down everywhere: none is a decision too.
            if operation.get("security").is_none() {
                operation["security"] = json!([]);
            }
            describe_request_id(operation);
            describe_refusal_outside(operation);
        }
    }
    document["paths"] = paths;
    authorize::describe(&mut document);
    admin::describe(&mut document);
    inline_grant_types(&mut document["components"]["schemas"], oauth21);
    document
}

/// The operation of an identifier.
pub fn of<'a>(document: &'a mut Value, id: &str) -> &'a mut Value {
    let (path, method) = locate(document, id).unwrap_or_default();
    &mut document["paths"][path][method]
}

fn locate(document: &Value, id: &str) -> Option<(String, String)> {
    let paths = document["paths"].as_object()?;
    let mut all = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
    });
    let (path, method, _) = all.find(|(.., operation)| operation["operationId"] == id)?;
    Some((path.clone(), method.clone()))
}

const PASSWORD: &str = "password";

/// The field of a form refers to no schema: openapi-generator's Rust then names a type that it doesn't make.
fn inline_grant_types(schemas: &mut Value, oauth21: bool) {
    let inlined = schemas.as_object_mut().and_then(|schemas| schemas.shift_remove("GrantTypeParameter"));
    let Some(mut inlined) = inlined else { return };
    if oauth21 {
        let values = inlined["enum"].as_array_mut();
        values.into_iter().for_each(|values| values.retain(|value| value != PASSWORD));
    }
    schemas["TokenRequest"]["properties"]["grant_type"] = inlined;
}

/// Merges what an endpoint declares into what poem-openapi derived.
struct Merging {
    renderer: ErrorRenderer,
    oauth21: bool,
}

impl Merging {
    fn merge(&self, declared: &Operation, operation: &mut Value, schemas: &mut Value) {
        let (description, url) = declared.see;
        operation["externalDocs"] = json!({ "description": description, "url": url });
        self.merge_requests(declared, operation, schemas);

        let success = &declared.success;
        let mut response = operation["responses"]["200"].take();
        response["description"] = success.description.into();
        for header in success.headers {
            response["headers"][header.name] = describe_header(header.description, header.example, header.required);
        }
        for (name, value) in (success.examples)() {
            response["content"]["application/json"]["examples"][name] = json!({ "value": value });
        }
        let mut responses = Map::from_iter([(success.status.to_string(), response)]);
        self.merge_errors(declared, &mut responses, schemas);
        operation["responses"] = responses.into();
    }

    fn merge_requests(&self, declared: &Operation, operation: &mut Value, schemas: &mut Value) {
        let Some(form) = operation.pointer_mut("/requestBody/content/application~1x-www-form-urlencoded") else {
            return;
        };
        for request in declared.requests {
            if self.oauth21 && request.form.contains(&("grant_type", PASSWORD)) {
                continue;
            }
            let form_example: Map<_, _> =
                request.form.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            form["examples"][request.name] = json!({ "summary": request.summary, "value": form_example });
        }
        let schema = form["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        for (field, example) in declared.fields {
            let property = &mut schemas[schema]["properties"][field];
            property["example"] = if property["type"] == "array" { json!([]) } else { (*example).into() };
        }
    }

    /// All errors of an operation share one schema, whose `error` lists the codes of that operation only.
    fn merge_errors(&self, declared: &Operation, responses: &mut Map<String, Value>, schemas: &mut Value) {
        let mut by_status: BTreeMap<u16, Vec<ErrorExample>> = BTreeMap::new();
        for error in (declared.errors)(&self.renderer) {
            by_status.entry(error.response.status().as_u16()).or_default().push(error);
        }
        if by_status.is_empty() {
            return;
        }
        let mut all_codes: Vec<String> = Vec::new();
        let schema_name = error_schema_name(declared.id);
        for (status, errors) in by_status {
            let mut response = json!({ "description": "", "content": { "application/json": {
                "schema": { "$ref": format!("#/components/schemas/{schema_name}") },
            }}});
            let mut codes: Vec<String> = Vec::new();
            let media = &mut response["content"]["application/json"];
            for error in &errors {
                let code = &error.body.error;
                let again =
                    errors.iter().take_while(|e| !std::ptr::eq(*e, error)).filter(|e| e.body.error == *code).count();
                let name = if again == 0 { code.clone() } else { format!("{code}_{}", again + 1) };
                media["examples"][name] = json!({ "summary": error.body.error_description, "value": &error.body });
                for list in [&mut codes, &mut all_codes] {
                    if !list.contains(code) {
                        list.push(code.clone());
                    }
                }
            }
            let note = declared.notes.iter().find(|(of, _)| *of == status).map_or("", |(_, note)| note);
            let codes: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
            response["description"] =
                format!("{} Codes: {}. {note}", meaning(status), codes.join(", ")).trim_end().into();
            if let Some(first) = errors.first() {
                for (header, description) in ERROR_HEADERS {
                    if let Some(value) = first.response.headers().get(*header).and_then(|value| value.to_str().ok()) {
                        response["headers"][header] = describe_header(description, value, true);
                    }
                }
            }
            responses.insert(status.to_string(), response);
        }
        let mut schema = error_schema();
        schema["title"] = schema_name.as_str().into();
        schema["description"] = format!("Why `{}` was refused.", declared.id).into();
        schema["properties"]["error"]["enum"] = all_codes.into();
        schemas[schema_name] = schema;
    }
}

/// The schema of [`OAuthError`]. poem-openapi leaves it out of the document: no operation refers to it by that name.
fn error_schema() -> Value {
    let mut registry = Registry::new();
    OAuthError::register(&mut registry);
    registry.schemas.values().next().and_then(|schema| serde_json::to_value(schema).ok()).unwrap_or_default()
}

/// `issueToken` -> `IssueTokenError`.
fn error_schema_name(operation_id: &str) -> String {
    let mut letters = operation_id.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain("Error".chars()).collect()
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request was refused.",
        401 => "Authentication failed.",
        403 => "The caller may not do this.",
        404 => "There is no such thing.",
        409 => "What is there stands in the way; nothing changed.",
        413 => "The body is larger than 16 KiB.",
        429 => "Too many requests.",
        503 => "The server can't answer right now: send the same request again after `Retry-After` seconds.",
        _ => "The server failed.",
    }
}

/// The headers of errors that a client developer must know.
const ERROR_HEADERS: &[(&str, &str)] = &[
    ("Cache-Control", "No cache may keep this answer."),
    ("WWW-Authenticate", "How to authenticate (RFC 9110 section 11.6.1)."),
    ("Retry-After", "Seconds to wait before the same request may be sent again."),
];

fn describe_header(description: &str, example: &str, required: bool) -> Value {
    let (kind, example) = match example.parse::<u64>() {
        Ok(number) => ("integer", json!(number)),
        Err(_) => ("string", json!(example)),
    };
    json!({ "description": description, "required": required, "schema": { "type": kind }, "example": example })
}

/// Every response carries it.
fn describe_request_id(operation: &mut Value) {
    for response in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        response["headers"]["X-Request-Id"] =
            describe_header("Names this request in the server's log.", "PFRc0mJ8_VnXk1Yw", true);
    }
}

/// What no endpoint refuses can still be refused before it is reached.
fn describe_refusal_outside(operation: &mut Value) {
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    if !responses.keys().any(|status| status.starts_with('4')) {
        let description = "The headers of the request are too large. This answer has no body and no `X-Request-Id`.";
        responses.insert("431".into(), json!({ "description": description }));
    }
}

fn oauth2_scheme(issuer: &str, oauth21: bool) -> Value {
    let token_url = format!("{issuer}/oauth2/token");
    let scopes = json!({ "profile": "Who the resource owner is", "read": "Read", "write": "Write" });
    let mut flows = json!({});
    let mut flow = |grant_type: GrantType, name: &str, flow: Value| {
        if GrantType::SERVED.contains(&grant_type) {
            flows[name] = flow;
            flows[name]["scopes"] = scopes.clone();
        }
    };
    let authorization_url = format!("{issuer}/oauth2/authorize");
    flow(
        GrantType::AuthorizationCode,
        "authorizationCode",
        json!({ "authorizationUrl": authorization_url, "tokenUrl": token_url, "refreshUrl": token_url }),
    );
    flow(GrantType::ClientCredentials, "clientCredentials", json!({ "tokenUrl": token_url }));
    if !oauth21 {
        flow(GrantType::Password, PASSWORD, json!({ "tokenUrl": token_url, "refreshUrl": token_url }));
    }
    json!({
        "type": "oauth2",
        "description": "The password flow is for existing first-party clients only: RFC 9700 section 2.4 forbids it in new designs.",
        "flows": flows,
    })
}

/// A documented path and its methods.
#[derive(Clone, Debug)]
pub struct Documented(Vec<String>);

impl Documented {
    /// All documented paths.
    pub fn paths(document: &Value) -> BTreeMap<String, Self> {
        let methods = |operations: &Value| {
            let names = operations.as_object().into_iter().flat_map(serde_json::Map::keys);
            Self(names.map(|name| name.to_uppercase()).collect())
        };
        let paths = document["paths"].as_object().into_iter().flatten();
        paths.map(|(path, operations)| (path.clone(), methods(operations))).collect()
    }

    /// Those of the path of a request; a part in braces stands for any one part.
    pub fn at<'a>(documented: &'a BTreeMap<String, Self>, path: &str) -> Option<&'a Self> {
        let fits = |template: &str| {
            let (mut templates, mut parts) = (template.split('/'), path.split('/'));
            loop {
                match (templates.next(), parts.next()) {
                    (None, None) => return true,
                    (Some(template), Some(part)) if template == part || template.starts_with('{') => {}
                    _ => return false,
                }
            }
        };
        let template = || documented.iter().find(|(template, _)| fits(template)).map(|(_, methods)| methods);
        documented.get(path).or_else(template)
    }

    /// The value of an `Allow` header (RFC 9110 §10.2.1).
    pub fn allow(&self) -> String {
        self.0.join(", ")
    }
}
