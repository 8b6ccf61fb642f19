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
        // Envoy removes first and adds later, so what `other` removes or sets must not be there to be added.
        self.set.retain(|(name, _)| !other.remove.contains(name));
        self.add.retain(|(name, _)| {
            !other.remove.contains(name) && !other.set.iter().any(|(set, _)| set == name)
        });
        self.set.extend(other.set.iter().cloned());
        self.add.extend(other.add.iter().cloned());
        self.remove.extend(other.remove.iter().cloned());
        if other.host.is_some() {
            self.host.clone_from(&other.host);
        }
        self
    }

    /// Adds one header more; name and value must be legal.
    pub(crate) fn append(&mut self, name: &str, value: String) {
        self.add.push((name.to_owned(), value));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::tests::yaml;

    fn request(spec: &str) -> HeaderModifier {
        HeaderModifier::request(&yaml(spec)).unwrap_or_else(|fault| panic!("{spec}: {fault:?}"))
    }

    /// Mutations as `name=value` (overwrite) or `name+value` (append).
    fn mutations(modifier: &HeaderModifier) -> Vec<String> {
        let one = |option: HeaderValueOption| {
            let sign = match option.append_action() {
                HeaderAppendAction::OverwriteIfExistsOrAdd => '=',
                HeaderAppendAction::AppendIfExistsOrAdd => '+',
                other => panic!("{other:?}"),
            };
            assert!(option.keep_empty_value);
            let header = option.header.unwrap();
            format!("{}{sign}{}", header.key, header.value)
        };
        modifier.mutations().into_iter().map(one).collect()
    }

    #[test]
    fn sets_adds_and_removes() {
        let modifier = request(
            "{set: [{name: X-Set, value: a}], add: [{name: X-Add, value: b}, {name: x-add, value: ''}], remove: [X-Gone]}",
        );
        assert_eq!(mutations(&modifier), ["x-set=a", "x-add+b", "x-add+"]);
        assert_eq!(modifier.removals(), ["x-gone"]);
        assert_eq!(modifier.host, None);
    }

    /// `%` would start a command of Envoy's formatter.
    #[test]
    fn percent_signs_are_literal() {
        let modifier = request("{set: [{name: a, value: '100% of %REQ(x)%'}]}");
        assert_eq!(mutations(&modifier), ["a=100%% of %%REQ(x)%%"]);
    }

    #[test]
    fn the_host_of_a_request_can_be_set() {
        let modifier = request("{set: [{name: Host, value: b.example.com}, {name: a, value: b}]}");
        assert_eq!(modifier.host.as_deref(), Some("b.example.com"));
        assert_eq!(mutations(&modifier), ["a=b"]);
    }

    #[test]
    fn what_is_illegal_names_its_field() {
        for (spec, field) in [
            ("{set: [{name: a, value: b}, {name: 'a b', value: c}]}", ".set[1].name"),
            ("{set: [{name: ':path', value: c}]}", ".set[0].name"),
            ("{set: [{name: '', value: c}]}", ".set[0].name"),
            ("{set: [{name: a, value: \"b\\r\\nx: y\"}]}", ".set[0].value"),
            ("{set: [{name: a, value: \"b\\0\"}]}", ".set[0].value"),
            ("{add: [{name: 'a:', value: c}]}", ".add[0].name"),
            ("{add: [{name: a, value: \"\\n\"}]}", ".add[0].value"),
            ("{add: [{name: Host, value: b.example.com}]}", ".add[0].name"),
            ("{remove: ['', b]}", ".remove[0]"),
            ("{remove: [a, host]}", ".remove[1]"),
        ] {
            let fault = HeaderModifier::request(&yaml(spec)).expect_err(spec);
            assert_eq!(fault.field, field, "{spec}: {}", fault.message);
        }
        let host = "{set: [{name: host, value: b.example.com}]}";
        assert_eq!(HeaderModifier::response(&yaml(host)).unwrap_err().field, ".set[0].name");
    }

    #[test]
    fn the_second_of_two_modifiers_comes_last() {
        let first =
            request("{set: [{name: a, value: 1}, {name: host, value: x.y}], add: [{name: b, value: 1}]}");
        let second = request("{set: [{name: a, value: 2}, {name: host, value: z.y}], remove: [c]}");
        let both = first.clone().then(&second);
        // Envoy carries them out in this order.
        assert_eq!(mutations(&both), ["a=1", "a=2", "b+1"]);
        assert_eq!(both.removals(), ["c"]);
        assert_eq!(both.host.as_deref(), Some("z.y"));
        assert_eq!(first.then(&HeaderModifier::default()).host.as_deref(), Some("x.y"));
    }

    /// Envoy removes before it sets and adds, and sets come before adds, so what the second undoes must go.
    #[test]
    fn the_second_of_two_modifiers_can_undo_the_first() {
        let first = request("{set: [{name: a, value: 1}], add: [{name: b, value: 1}, {name: c, value: 1}]}");
        let second = request("{set: [{name: c, value: 2}], remove: [a, b]}");
        let both = first.then(&second);
        assert_eq!(mutations(&both), ["c=2"]);
        assert_eq!(both.removals(), ["a", "b"]);
    }
}
