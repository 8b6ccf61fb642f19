//! Canonical protobuf bytes.
//!
//! `prost` keeps protobuf maps in hash maps, so encoding the same value twice may give different bytes.
//! Versions are digests of bytes, so this module puts the entries of every map in key order, at every
//! depth and inside `Any`. Messages that cannot hold a map or an `Any` are copied unread.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

use crate::descriptor;

const ANY: &str = "google.protobuf.Any";

/// What to do with a length-delimited field.
#[derive(Clone, Copy)]
enum Field {
    /// A message that may hold maps somewhere below.
    Message(usize),
    /// An entry of a map, whose own value may hold maps below.
    MapEntry(usize),
}

#[derive(Default)]
struct Shape {
    is_any: bool,
    fields: HashMap<u32, Field>,
}

/// The messages that can hold a map or an `Any` at any depth.
struct Table {
    by_name: HashMap<String, usize>,
    shapes: Vec<Shape>,
}

impl Table {
    fn build(pool: &DescriptorPool) -> Self {
        let messages: Vec<MessageDescriptor> = pool.all_messages().collect();
        let interesting = reaching_maps(&messages);
        let by_name: HashMap<String, usize> = messages
            .iter()
            .filter(|m| interesting.contains(m.full_name()))
            .enumerate()
            .map(|(i, m)| (m.full_name().to_owned(), i))
            .collect();
        let mut shapes: Vec<Shape> = Vec::new();
        shapes.resize_with(by_name.len(), Shape::default);
        for message in &messages {
            let Some(&index) = by_name.get(message.full_name()) else { continue };
            shapes[index].is_any = message.full_name() == ANY;
            for field in message.fields() {
                let Kind::Message(target) = field.kind() else { continue };
                let target = by_name.get(target.full_name()).copied();
                let entry = match (field.is_map(), target) {
                    (true, Some(target)) => Field::MapEntry(target),
                    (false, Some(target)) => Field::Message(target),
                    (_, None) => continue,
                };
                shapes[index].fields.insert(field.number(), entry);
            }
        }
        Self { by_name, shapes }
    }
}

/// Names of all messages from which a map entry or an `Any` can be reached.
fn reaching_maps(messages: &[MessageDescriptor]) -> HashSet<String> {
    let mut users: HashMap<String, Vec<String>> = HashMap::new();
    let mut found: HashSet<String> = HashSet::new();
    let mut queue = Vec::new();
    for message in messages {
        if message.is_map_entry() || message.full_name() == ANY {
            queue.push(message.full_name().to_owned());
        }
        for field in message.fields() {
            if let Kind::Message(target) = field.kind() {
                users.entry(target.full_name().to_owned()).or_default().push(message.full_name().to_owned());
            }
        }
    }
    while let Some(name) = queue.pop() {
        if found.insert(name.clone()) {
            queue.extend(users.get(&name).into_iter().flatten().cloned());
        }
    }
    found
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        // Only the table is kept: the pool itself takes several megabytes that serving never needs.
        let pool = DescriptorPool::decode(descriptor::FILE_DESCRIPTOR_SET)
            .expect("the committed descriptor set is well formed");
        Table::build(&pool)
    })
}

/// Rewrites the encoding of one message of type `message_name` so that its bytes are a function of its
/// value alone. `encoded` must be what `prost` made; anything that does not parse is returned as it is.
pub(crate) fn canonical(message_name: &str, encoded: &[u8]) -> Vec<u8> {
    let table = table();
    let Some(&index) = table.by_name.get(message_name) else { return encoded.to_vec() };
    let mut out = Vec::with_capacity(encoded.len());
    match write(table, index, encoded, &mut out) {
        Some(()) => out,
        None => encoded.to_vec(),
    }
}

fn write(table: &Table, index: usize, mut buf: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let shape = &table.shapes[index];
    if shape.is_any {
        return write_any(table, buf, out);
    }
    let mut map: Option<(u32, Vec<Vec<u8>>)> = None;
    while buf.has_remaining() {
        let start = buf;
        let (tag, wire) = decode_key(&mut buf).ok()?;
        if map.as_ref().is_some_and(|(open, _)| *open != tag) {
            flush(out, map.take());
        }
        match wire {
            WireType::LengthDelimited => {
                let body = take(&mut buf)?;
                match shape.fields.get(&tag) {
                    None => out.extend_from_slice(&start[..start.len() - buf.len()]),
                    Some(Field::Message(target)) => {
                        let mut inner = Vec::with_capacity(body.len());
                        write(table, *target, body, &mut inner)?;
                        put(out, tag, &inner);
                    }
                    Some(Field::MapEntry(target)) => {
                        let mut inner = Vec::with_capacity(body.len());
                        write(table, *target, body, &mut inner)?;
                        map.get_or_insert_with(|| (tag, Vec::new())).1.push(inner);
                    }
                }
                continue;
            }
            WireType::Varint => {
                decode_varint(&mut buf).ok()?;
            }
            WireType::SixtyFourBit => buf = buf.get(8..)?,
            WireType::ThirtyTwoBit => buf = buf.get(4..)?,
            WireType::StartGroup | WireType::EndGroup => return None,
        }
        out.extend_from_slice(&start[..start.len() - buf.len()]);
    }
    flush(out, map);
    Some(())
}

fn write_any(table: &Table, mut buf: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (mut url, mut value): (&[u8], &[u8]) = (&[], &[]);
    while buf.has_remaining() {
        let (tag, wire) = decode_key(&mut buf).ok()?;
        if wire != WireType::LengthDelimited {
            return None;
        }
        let body = take(&mut buf)?;
        if tag == 1 { url = body } else { value = body }
    }
    let name = std::str::from_utf8(url).ok()?.rsplit('/').next().unwrap_or_default();
    if !url.is_empty() {
        put(out, 1, url);
    }
    match table.by_name.get(name) {
        Some(index) => {
            let mut inner = Vec::with_capacity(value.len());
            write(table, *index, value, &mut inner)?;
            if !inner.is_empty() {
                put(out, 2, &inner);
            }
        }
        None if !value.is_empty() => put(out, 2, value),
        None => {}
    }
    Some(())
}

fn take<'a>(buf: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(buf).ok()?).ok()?;
    let (body, rest) = buf.split_at_checked(length)?;
    *buf = rest;
    Some(body)
}

fn put(out: &mut Vec<u8>, tag: u32, body: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(body.len() as u64, out);
    out.extend_from_slice(body);
}

fn flush(out: &mut Vec<u8>, map: Option<(u32, Vec<Vec<u8>>)>) {
    let Some((tag, mut entries)) = map else { return };
    entries.sort();
    for entry in entries {
        put(out, tag, &entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use envoy_types::pb::envoy::config::core::v3::Metadata;
    use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
    use envoy_types::pb::envoy::config::route::v3::{
        FilterConfig, Route, RouteAction, RouteConfiguration, VirtualHost, WeightedCluster, route,
        route_action,
    };
    use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::{
        JwtAuthentication, JwtProvider, JwtRequirement, jwt_requirement,
    };
    use envoy_types::pb::google::protobuf::{Any, ListValue, Struct, Value, value};
    use envoy_types::util::pack_any;
    use proptest::prelude::*;
    use prost::{Message, Name};
    use prost_reflect::DynamicMessage;

    use super::canonical;
    use crate::descriptor;
    use crate::resource::{Resource, ResourceType};

    /// A value from which a message can be built again and again: each time its hash maps get another order.
    #[derive(Clone, Debug)]
    enum Leaf {
        Text(String),
        Number(f64),
        List(Vec<Leaf>),
        Fields(Vec<(String, Leaf)>),
    }

    impl Leaf {
        fn build(&self) -> Value {
            let kind = match self {
                Self::Text(text) => value::Kind::StringValue(text.clone()),
                Self::Number(number) => value::Kind::NumberValue(*number),
                Self::List(list) => {
                    value::Kind::ListValue(ListValue { values: list.iter().map(Self::build).collect() })
                }
                Self::Fields(fields) => value::Kind::StructValue(fields_of(fields)),
            };
            Value { kind: Some(kind) }
        }
    }

    fn fields_of(fields: &[(String, Leaf)]) -> Struct {
        Struct { fields: fields.iter().map(|(name, leaf)| (name.clone(), leaf.build())).collect() }
    }

    /// What one filter is given.
    #[derive(Clone, Debug)]
    enum Config {
        Metadata(Vec<(String, Leaf)>),
        Jwt(Vec<String>),
        Nested(Box<Config>),
        Unknown(Vec<u8>),
    }

    impl Config {
        fn build(&self) -> Any {
            match self {
                Self::Metadata(fields) => {
                    let by_filter =
                        [("a", fields_of(fields)), ("b", fields_of(fields)), ("", Struct::default())];
                    let typed = [("t", pack_any(fields_of(fields))), ("u", pack_any(Struct::default()))];
                    pack_any(Metadata {
                        filter_metadata: by_filter.map(|(name, s)| (name.to_owned(), s)).into(),
                        typed_filter_metadata: typed.map(|(name, any)| (name.to_owned(), any)).into(),
                    })
                }
                Self::Jwt(names) => {
                    let provider = |name: &String| {
                        (name.clone(), JwtProvider { issuer: name.clone(), ..JwtProvider::default() })
                    };
                    let requirement = |name: &String| {
                        let requires = jwt_requirement::RequiresType::ProviderName(name.clone());
                        (name.clone(), JwtRequirement { requires_type: Some(requires) })
                    };
                    pack_any(JwtAuthentication {
                        providers: names.iter().map(provider).collect(),
                        requirement_map: names.iter().map(requirement).collect(),
                        ..JwtAuthentication::default()
                    })
                }
                Self::Nested(inner) => {
                    pack_any(FilterConfig { config: Some(inner.build()), is_optional: true, disabled: false })
                }
                Self::Unknown(bytes) if bytes.is_empty() => Any::default(),
                Self::Unknown(bytes) => {
                    Any { type_url: "type.googleapis.com/example.Unheard".to_owned(), value: bytes.clone() }
                }
            }
        }
    }

    type Filters = Vec<(String, Config)>;

    fn filters(filters: &Filters) -> HashMap<String, Any> {
        filters.iter().map(|(name, config)| (name.clone(), config.build())).collect()
    }

    /// Maps on every level of a RouteConfiguration.
    #[derive(Clone, Debug)]
    struct Recipe {
        top: Filters,
        host: Filters,
        route: Filters,
        share: Filters,
        metadata: Vec<(String, Leaf)>,
    }

    impl Recipe {
        fn build(&self) -> RouteConfiguration {
            let share = ClusterWeight {
                name: "c".to_owned(),
                typed_per_filter_config: filters(&self.share),
                ..ClusterWeight::default()
            };
            let weighted =
                WeightedCluster { clusters: vec![share.clone(), share], ..WeightedCluster::default() };
            let action = RouteAction {
                cluster_specifier: Some(route_action::ClusterSpecifier::WeightedClusters(weighted)),
                ..RouteAction::default()
            };
            let one = Route {
                name: "r".to_owned(),
                metadata: Some(Metadata {
                    filter_metadata: [
                        ("x".to_owned(), fields_of(&self.metadata)),
                        ("y".to_owned(), fields_of(&self.metadata)),
                    ]
                    .into(),
                    ..Metadata::default()
                }),
                action: Some(route::Action::Route(action)),
                typed_per_filter_config: filters(&self.route),
                ..Route::default()
            };
            RouteConfiguration {
                name: "80/a.example.com".to_owned(),
                virtual_hosts: vec![VirtualHost {
                    name: "a.example.com".to_owned(),
                    routes: vec![one.clone(), one],
                    typed_per_filter_config: filters(&self.host),
                    ..VirtualHost::default()
                }],
                typed_per_filter_config: filters(&self.top),
                ..RouteConfiguration::default()
            }
        }
    }

    fn leaf() -> impl Strategy<Value = Leaf> {
        let simple = prop_oneof![".{0,3}".prop_map(Leaf::Text), (-9.0..9.0).prop_map(Leaf::Number)];
        simple.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Leaf::List),
                prop::collection::btree_map("[a-c]{0,3}", inner, 0..4)
                    .prop_map(|m| Leaf::Fields(m.into_iter().collect())),
            ]
        })
    }

    fn fields() -> impl Strategy<Value = Vec<(String, Leaf)>> {
        prop::collection::btree_map("[a-c]{0,3}", leaf(), 0..5).prop_map(|m| m.into_iter().collect())
    }

    fn config(unknown: u32) -> impl Strategy<Value = Config> {
        let simple = prop_oneof![
            4 => fields().prop_map(Config::Metadata),
            4 => prop::collection::btree_set("[a-z]{0,4}", 0..5)
                .prop_map(|names| Config::Jwt(names.into_iter().collect())),
            unknown => prop::collection::vec(any::<u8>(), 0..4).prop_map(Config::Unknown),
        ];
        simple.prop_recursive(2, 4, 1, |inner| inner.prop_map(|c| Config::Nested(Box::new(c))))
    }

    fn some_filters(unknown: u32) -> impl Strategy<Value = Filters> {
        prop::collection::btree_map("[a-e.]{0,6}", config(unknown), 0..5)
            .prop_map(|m| m.into_iter().collect())
    }

    /// `unknown` weighs messages that the descriptors do not know; they have no JSON form.
    fn recipe(unknown: u32) -> impl Strategy<Value = Recipe> {
        let filters = || some_filters(unknown);
        (filters(), filters(), filters(), filters(), fields())
            .prop_map(|(top, host, route, share, metadata)| Recipe { top, host, route, share, metadata })
    }

    fn name() -> String {
        RouteConfiguration::full_name()
    }

    /// The value of an encoding with every `Any` opened, whatever the order of its maps.
    fn json(encoded: &[u8]) -> serde_json::Value {
        let descriptor = descriptor::pool().get_message_by_name(&name()).unwrap();
        serde_json::to_value(DynamicMessage::decode(descriptor, encoded).unwrap()).unwrap()
    }

    fn wide() -> Recipe {
        let names: Vec<String> = ["", "a", "b", "cc", "ddd", "e", "f", "g"].map(str::to_owned).into();
        let leaves =
            |leaf: Leaf| -> Vec<(String, Leaf)> { names.iter().map(|n| (n.clone(), leaf.clone())).collect() };
        let inner = Leaf::List(vec![Leaf::Fields(leaves(Leaf::Number(1.5)))]);
        let metadata = leaves(inner);
        let configs = [
            Config::Metadata(metadata.clone()),
            Config::Jwt(names.clone()),
            Config::Nested(Box::new(Config::Nested(Box::new(Config::Metadata(metadata.clone()))))),
            Config::Unknown(vec![0xff]),
        ];
        let filters: Filters =
            configs.into_iter().enumerate().map(|(i, config)| (format!("f{i}"), config)).collect();
        Recipe {
            top: filters.clone(),
            host: filters.clone(),
            route: filters.clone(),
            share: filters,
            metadata,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn one_value_has_one_encoding(recipe in recipe(2)) {
            let first = canonical(&name(), &recipe.build().encode_to_vec());
            prop_assert_eq!(&canonical(&name(), &first), &first, "not idempotent");
            for _ in 0..8 {
                let raw = recipe.build().encode_to_vec();
                prop_assert_eq!(raw.len(), first.len());
                prop_assert_eq!(&canonical(&name(), &raw), &first);
            }
        }

        #[test]
        fn the_value_stays_the_same(recipe in recipe(0)) {
            let message = recipe.build();
            let raw = message.encode_to_vec();
            let encoded = canonical(&name(), &raw);
            prop_assert_eq!(json(&encoded), json(&raw));
            let decoded = RouteConfiguration::decode(encoded.as_slice()).unwrap();
            prop_assert_eq!(canonical(&name(), &decoded.encode_to_vec()), encoded);
        }

        #[test]
        fn different_values_have_different_encodings(a in recipe(0), b in recipe(0)) {
            let (a, b) = (a.build().encode_to_vec(), b.build().encode_to_vec());
            prop_assert_eq!(canonical(&name(), &a) == canonical(&name(), &b), json(&a) == json(&b));
        }

        #[test]
        fn bytes_that_are_no_message_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            canonical(&name(), &bytes);
        }
    }

    /// Without this the properties above would hold for a function that does nothing.
    #[test]
    fn prost_alone_gives_many_encodings() {
        let raw: std::collections::BTreeSet<Vec<u8>> =
            (0..32).map(|_| wide().build().encode_to_vec()).collect();
        assert!(raw.len() > 16, "only {} encodings", raw.len());
        let one: std::collections::BTreeSet<Vec<u8>> =
            raw.iter().map(|raw| canonical(&name(), raw)).collect();
        assert_eq!(one.len(), 1);
    }

    /// The digest is written down here: if it moves, every proxy gets every resource anew after an upgrade.
    #[test]
    fn versions_are_equal_in_every_run() {
        for _ in 0..8 {
            let resource =
                Resource::new(ResourceType::RouteConfiguration, "80/a.example.com", &wide().build());
            assert_eq!(resource.version, "c6eaa24b195a45b4557a558007f5009f");
        }
    }

    #[test]
    fn what_cannot_be_read_is_copied() {
        let broken = [0x0a, 0x7f, 0x01];
        assert_eq!(canonical(&name(), &broken), broken);
        assert_eq!(canonical("example.Unheard", &broken), broken);
        assert_eq!(canonical(&name(), &[]), [0_u8; 0]);
        // A group, which no Envoy message has.
        assert_eq!(canonical(&name(), &[0x0b, 0x0c]), [0x0b, 0x0c]);
    }
}
