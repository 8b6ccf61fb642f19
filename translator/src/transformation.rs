//! Transformation of headers and bodies by templates (kgateway v2.1).
//!
//! Templates are read and checked here and go to the proxy as data: one script that never changes ([`SCRIPT`]) renders them, in Envoy's
//! filter for Lua. So no template can become code, all transformations of a worker share one interpreter, and what a template may take
//! of time and memory is bounded. Expressions in CEL are Envoy's own business, before templates.

mod computed;
mod expression;
mod functions;
mod source;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{BoolValue, Struct, Value as PbValue};
use postern_api::kgateway::{BodyParseBehavior, HeaderTransformation, Transform, TransformationPolicy};
use prost::{Message, Name};
use serde_json::{Value, json};

use self::computed::Computed;
use crate::envoy::{Any, TypedExtensionConfig, bool_value, extension, inline_string, slot};
use crate::problem::Fault;

/// The filter's name in Envoy.
const FILTER: &str = "envoy.filters.http.lua";

/// What renders templates, without comments and indentation: every route that transforms has a copy.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let lines = include_str!("transformation/runtime.lua").lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("--")).collect::<Vec<_>>().join("\n")
});

/// Interpreters of this name that have the same script are one.
const INTERPRETER: &str = "postern.transformation";

/// Envoy's filter for Lua, as far as it is needed. The generated type has no `shared_vm_id` yet
/// (<https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/extensions/filters/http/lua/v3/lua.proto>).
#[derive(Clone, PartialEq, Message)]
struct Lua {
    #[prost(message, optional, tag = "3")]
    default_source_code: Option<DataSource>,
    #[prost(message, optional, tag = "5")]
    clear_route_cache: Option<BoolValue>,
    #[prost(message, optional, tag = "6")]
    filter_context: Option<Struct>,
    #[prost(string, tag = "9")]
    shared_vm_id: String,
}

impl Name for Lua {
    const NAME: &'static str = "Lua";
    const PACKAGE: &'static str = "envoy.extensions.filters.http.lua.v3";

    fn type_url() -> String {
        "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua".to_owned()
    }
}

/// What is done to requests and responses, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Transformation {
    request: Vec<Program>,
    response: Vec<Program>,
    computed_request: Vec<Computed>,
    computed_response: Vec<Computed>,
}

/// What is done to a message, in the form in which the proxy gets it.
#[derive(Clone, Debug, PartialEq)]
struct Program {
    program: Value,
    /// It needs the body.
    buffers: bool,
}

impl Transformation {
    /// Reads the field `transformation`; the fields of faults are relative to it.
    pub(crate) fn parse(spec: &TransformationPolicy) -> Result<Self, Fault> {
        let read = |transform: Option<&Transform>, side: Side| -> Result<Vec<Program>, Fault> {
            let program = transform.map(|it| Program::parse(it, side)).transpose();
            Ok(program.map_err(|fault| fault.within(side.field()))?.flatten().into_iter().collect())
        };
        let computed = |transform: Option<&Transform>, side: Side| -> Result<Vec<Computed>, Fault> {
            let found = transform.map(|it| computed_headers(it, side)).transpose();
            Ok(found.map_err(|fault| fault.within(side.field()))?.unwrap_or_default())
        };
        Ok(Self {
            request: read(spec.request.as_ref(), Side::Request)?,
            response: read(spec.response.as_ref(), Side::Response)?,
            computed_request: computed(spec.request.as_ref(), Side::Request)?,
            computed_response: computed(spec.response.as_ref(), Side::Response)?,
        })
    }

    /// `self` first, then `other` on what comes of it.
    pub(crate) fn then(mut self, other: &Self) -> Self {
        self.request.extend(other.request.iter().cloned());
        self.response.extend(other.response.iter().cloned());
        self.computed_request.extend(other.computed_request.iter().cloned());
        self.computed_response.extend(other.computed_response.iter().cloned());
        self
    }

    /// True if messages are held back until their body is there.
    pub(crate) fn buffers(&self) -> bool {
        self.request.iter().chain(&self.response).any(|it| it.buffers)
    }

    /// What fills the slot of the route, if there is anything to do.
    pub(crate) fn envoy(&self) -> Option<Any> {
        // The filter in the middle may hold messages back, and what is behind it is then passed over: nothing in either direction.
        let filters = [
            computed::filter(Side::Request, &self.computed_request),
            self.templates(),
            computed::filter(Side::Response, &self.computed_response),
        ];
        let filters: Vec<TypedExtensionConfig> = filters.into_iter().flatten().collect();
        (!filters.is_empty()).then(|| slot::filled_with(filters))
    }

    /// The filter that renders templates, if there are any.
    fn templates(&self) -> Option<TypedExtensionConfig> {
        let sides = [(Side::Request, &self.request), (Side::Response, &self.response)];
        let texts = sides.into_iter().filter(|(_, programs)| !programs.is_empty()).map(|(side, programs)| {
            let text: Value = programs.iter().map(|it| it.program.clone()).collect();
            let text = PbValue { kind: Some(Kind::StringValue(text.to_string())) };
            (side.field().trim_start_matches('.').to_owned(), text)
        });
        let context: BTreeMap<String, PbValue> = texts.collect();
        (!context.is_empty()).then(|| {
            extension(
                FILTER,
                Lua {
                    default_source_code: Some(inline_string(SCRIPT.as_str())),
                    clear_route_cache: bool_value(false),
                    filter_context: Some(Struct { fields: context.into_iter().collect() }),
                    shared_vm_id: INTERPRETER.to_owned(),
                },
            )
        })
    }
}

/// Which messages are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

impl Side {
    const fn field(self) -> &'static str {
        match self {
            Self::Request => ".request",
            Self::Response => ".response",
        }
    }

    /// The parts of the first line of a message that can be set.
    const fn pseudo_headers(self) -> &'static [&'static str] {
        match self {
            Self::Request => &[":authority", ":method", ":path", ":scheme"],
            Self::Response => &[":status"],
        }
    }
}

/// Headers that say where a message ends: who could set them could smuggle a second one.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

impl Program {
    /// Reads what is done to a message; `None` if it is nothing.
    fn parse(spec: &Transform, side: Side) -> Result<Option<Self>, Fault> {
        let mut program = json!({
            "set": headers(&spec.set, ".set", side, true)?,
            "add": headers(&spec.add, ".add", side, false)?,
            "remove": removals(&spec.remove)?,
        });
        let mut parts = vec![program["set"].clone(), program["add"].clone()];
        if let Some(body) = &spec.body {
            match body.parse_as.clone().unwrap_or_default() {
                BodyParseBehavior::AsString => {}
                BodyParseBehavior::AsJson => program["json"] = true.into(),
                BodyParseBehavior::Unknown(other) => {
                    let message = format!("{other:?} is unknown");
                    return Err(Fault::new(".body.parseAs", message, "use AsString or AsJson"));
                }
            }
            if let Some(text) = &body.value {
                program["body"] = template(text, ".body.value")?;
                parts.push(program["body"].clone());
            }
        }
        let templates = |list: &str| program[list].as_array().is_none_or(Vec::is_empty);
        let nothing = templates("set") && templates("add") && spec.remove.is_empty();
        if nothing && program.get("body").is_none() {
            return Ok(None);
        }
        let buffers = spec.body.is_some() || parts.iter().any(speaks_of_body);
        if buffers {
            program["buffer"] = true.into();
        }
        Ok(Some(Self { program, buffers }))
    }
}

/// The deepest template in its encoded form; the proxy reads 128 levels.
const MAX_LEVELS: usize = 120;

fn template(text: &str, field: &str) -> Result<Value, Fault> {
    fn levels(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or_default(),
            Value::Object(fields) => 1 + fields.values().map(levels).max().unwrap_or_default(),
            _ => 0,
        }
    }
    let encoded =
        template::parse(text).map(|nodes| template::encode(&nodes)).map_err(|wrong| wrong.of(field))?;
    if levels(&encoded) > MAX_LEVELS {
        let remedy = "give parts of it names with {% set name = … %}";
        return Err(Fault::new(field, "the template is nested too deep", remedy));
    }
    Ok(encoded)
}

/// True if an encoded template calls `body`.
fn speaks_of_body(encoded: &Value) -> bool {
    let Value::Array(items) = encoded else { return false };
    let is = |index: usize, text: &str| items.get(index).and_then(Value::as_str) == Some(text);
    is(2, "body") && (is(0, "c") || is(0, "v")) || items.iter().any(speaks_of_body)
}

fn headers(
    entries: &[HeaderTransformation],
    list: &str,
    side: Side,
    replaces: bool,
) -> Result<Vec<Value>, Fault> {
    let mut seen = BTreeSet::new();
    let mut one = |(index, entry): (usize, &HeaderTransformation)| {
        let field = format!("{list}[{index}]");
        let name =
            name(&entry.name, side, replaces).map_err(|fault| fault.within(&format!("{field}.name")))?;
        if !seen.insert(name.clone()) {
            let message = format!("{name} is there twice");
            return Err(Fault::new(format!("{field}.name"), message, "name each header once"));
        }
        match (&entry.value, &entry.expression) {
            (Some(value), None) => Ok(Some(json!([name, template(value, &format!("{field}.value"))?]))),
            (None, Some(_)) => Ok(None),
            _ => Err(Fault::new(field, "it has neither or both of value and expression", "give one of them")),
        }
    };
    entries.iter().enumerate().filter_map(|entry| one(entry).transpose()).collect()
}

/// The headers whose values are expressions.
fn computed_headers(spec: &Transform, side: Side) -> Result<Vec<Computed>, Fault> {
    let lists = [(&spec.set, ".set", true), (&spec.add, ".add", false)];
    let mut found = Vec::new();
    for (entries, list, replaces) in lists {
        for (index, entry) in entries.iter().enumerate() {
            let Some(text) = &entry.expression else { continue };
            let field = format!("{list}[{index}]");
            let name = name(&entry.name, side, replaces).map_err(|it| it.within(&format!("{field}.name")))?;
            if name.starts_with(':') {
                let message = format!("{} cannot be an expression", entry.name);
                return Err(Fault::new(
                    format!("{field}.expression"),
                    message,
                    "use value, which is a template",
                ));
            }
            let computed = Computed::parse(&name, text, side, replaces);
            found.push(computed.map_err(|it| it.within(&format!("{field}.expression")))?);
        }
    }
    Ok(found)
}

/// The name of a header that may be changed, in lower case.
fn name(name: &str, side: Side, replaces: bool) -> Result<String, Fault> {
    let wrong = |message: String, remedy: String| Err(Fault::new("", message, remedy));
    if name.starts_with(':') {
        let known = side.pseudo_headers();
        if !known.contains(&name) || !replaces {
            let message = format!("{name} cannot be changed here");
            return wrong(message, format!("set {}, or a header", known.join(", ")));
        }
        return Ok(name.to_owned());
    }
    let name = crate::route::headers::name(name)?;
    if FRAMING.contains(&name.as_str()) {
        let message = format!("{name} says where the message ends and cannot be changed");
        return wrong(message, "remove the entry: the length follows from the body".to_owned());
    }
    if name == "host" && side == Side::Request {
        if replaces {
            return Ok(":authority".to_owned());
        }
        return wrong("a request has one host".to_owned(), "use set".to_owned());
    }
    Ok(name)
}

fn removals(names: &[String]) -> Result<Vec<String>, Fault> {
    let one = |(index, removed): (usize, &String)| {
        let field = format!(".remove[{index}]");
        match name(removed, Side::Request, false) {
            Ok(name) => Ok(name),
            Err(_) if removed.starts_with(':') || removed.eq_ignore_ascii_case("host") => {
                let message = format!("{removed} cannot be removed: a message is nothing without it");
                Err(Fault::new(field, message, "remove the entry, or set it to another value"))
            }
            Err(fault) => Err(fault.within(&field)),
        }
    };
    names.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests;
