//! Header modifiers of filters and policies: parsed once, then written as Envoy header mutations.

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use http::{HeaderName, HeaderValue};
use postern_api::gateway_api::{HttpHeader, HttpHeaderFilter};

use crate::envoy::{HeaderAppendAction, header};
use crate::problem::Fault;

/// A header modifier whose names and values are known to be legal.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HeaderModifier {
    set: Vec<(String, String)>,
    add: Vec<(String, String)>,
    remove: Vec<String>,
    /// `set` of the `Host` header, which Envoy does by a rewrite and refuses as a mutation.
    pub(crate) host: Option<String>,
}

const VALUE_REMEDY: &str = "use visible characters, without line breaks";

impl HeaderModifier {
    /// Parses a modifier of requests.
    pub(crate) fn request(filter: &HttpHeaderFilter) -> Result<Self, Fault> {
        Self::parse(filter, true)
    }

    /// Parses a modifier of responses.
    pub(crate) fn response(filter: &HttpHeaderFilter) -> Result<Self, Fault> {
        Self::parse(filter, false)
    }

    fn parse(filter: &HttpHeaderFilter, request: bool) -> Result<Self, Fault> {
        let mut out = Self::default();
        for (index, entry) in filter.set.iter().enumerate() {
            let (name, value) = pair(entry).map_err(|f| f.within(&format!(".set[{index}]")))?;
            if name == "host" && request {
                out.host = Some(value);
            } else {
                refuse_host(&name).map_err(|f| f.within(&format!(".set[{index}].name")))?;
                out.set.push((name, value));
            }
        }
        for (index, entry) in filter.add.iter().enumerate() {
            let (name, value) = pair(entry).map_err(|f| f.within(&format!(".add[{index}]")))?;
            refuse_host(&name).map_err(|f| f.within(&format!(".add[{index}].name")))?;
            out.add.push((name, value));
        }
        for (index, entry) in filter.remove.iter().enumerate() {
            let name = name(entry).map_err(|f| f.within(&format!(".remove[{index}]")))?;
            refuse_host(&name).map_err(|f| f.within(&format!(".remove[{index}]")))?;
            out.remove.push(name);
        }
        Ok(out)
    }

    /// `self` first, then `other` on top of it.
    pub(crate) fn then(mut self, other: &Self) -> Self {
        self.set.extend(other.set.iter().cloned());
        self.add.extend(other.add.iter().cloned());
        self.remove.extend(other.remove.iter().cloned());
        if other.host.is_some() {
            self.host.clone_from(&other.host);
        }
        self
    }

    /// Mutations for `*_headers_to_add`.
    pub(crate) fn mutations(&self) -> Vec<HeaderValueOption> {
        let set = self.set.iter().map(|(n, v)| header(n, v, HeaderAppendAction::OverwriteIfExistsOrAdd));
        let add = self.add.iter().map(|(n, v)| header(n, v, HeaderAppendAction::AppendIfExistsOrAdd));
        set.chain(add).collect()
    }

    /// Names for `*_headers_to_remove`.
    pub(crate) fn removals(&self) -> Vec<String> {
        self.remove.clone()
    }
}

fn pair(entry: &HttpHeader) -> Result<(String, String), Fault> {
    let name = name(&entry.name).map_err(|f| f.within(".name"))?;
    HeaderValue::from_str(&entry.value).map_err(|_| {
        Fault::new(".value", format!("{:?} is not a legal header value", entry.value), VALUE_REMEDY)
    })?;
    Ok((name, entry.value.clone()))
}

/// A legal header name in lower case.
pub(crate) fn name(value: &str) -> Result<String, Fault> {
    HeaderName::from_bytes(value.as_bytes()).map(|name| name.as_str().to_owned()).map_err(|_| {
        Fault::new("", format!("{value:?} is not a legal header name"), "use letters, digits and hyphens")
    })
}

fn refuse_host(name: &str) -> Result<(), Fault> {
    if name == "host" {
        return Err(Fault::new(
            "",
            "the Host header can only be set, and only on requests",
            "use `set` on the request, or a URLRewrite filter with a hostname",
        ));
    }
    Ok(())
}
