//! Canonical protobuf bytes.
//!
//! `prost` keeps protobuf maps in hash maps, so encoding the same value twice may give different bytes.
//! Versions are digests of bytes, so this module puts the entries of every map in key order, at every
//! depth and inside `Any`. Messages that cannot hold a map or an `Any` are copied unread.

use std::collections::HashMap;
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
            .filter(|m| interesting.contains_key(m.full_name()))
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
fn reaching_maps(messages: &[MessageDescriptor]) -> HashMap<String, ()> {
    let mut users: HashMap<String, Vec<String>> = HashMap::new();
    let mut found: HashMap<String, ()> = HashMap::new();
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
        if found.insert(name.clone(), ()).is_none() {
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
