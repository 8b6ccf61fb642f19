//! Messages to and from bytes.
//!
//! A [`Push`] is encoded by hand: the bodies of its resources are shared and already encoded, and the generated
//! `DeltaDiscoveryResponse` would have to own a copy of each.

use std::marker::PhantomData;

use bytes::BufMut;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, Resource as WireResource,
};
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::resource::{Resource, ResourceType};
use crate::session::Reply;
use crate::sotw;
use crate::state::Push;

/// Field numbers of `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
mod response {
    pub(super) const RESOURCES: u32 = 2;
    pub(super) const TYPE_URL: u32 = 4;
    pub(super) const NONCE: u32 = 5;
    pub(super) const REMOVED_RESOURCES: u32 = 6;
}

/// Field numbers of `envoy.service.discovery.v3.Resource`.
mod resource {
    pub(super) const VERSION: u32 = 1;
    pub(super) const RESOURCE: u32 = 2;
    pub(super) const NAME: u32 = 3;
}

/// Field numbers of `google.protobuf.Any`.
mod any {
    pub(super) const TYPE_URL: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

/// The size of a length-delimited field. Every field number here takes one byte.
const fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn put_field(number: u32, bytes: &[u8], buf: &mut impl BufMut) {
    put_header(number, bytes.len(), buf);
    buf.put_slice(bytes);
}

fn put_header(number: u32, len: usize, buf: &mut impl BufMut) {
    encode_key(number, WireType::LengthDelimited, buf);
    encode_varint(len as u64, buf);
}

/// The sizes of the `Any` and of the `Resource` message around it.
fn resource_len(resource: &Resource) -> (usize, usize) {
    let any = field_len(resource.resource_type().type_url().len()) + field_len(resource.body().len());
    (any, field_len(resource.version().len()) + field_len(any) + field_len(resource.name().len()))
}

/// The size in bytes that a resource adds to a response.
pub(crate) fn resource_bytes(resource: &Resource) -> usize {
    field_len(resource_len(resource).1)
}

impl Push {
    /// The size of the encoded message in bytes.
    pub fn encoded_len(&self) -> usize {
        self.resources.iter().map(|r| resource_bytes(r)).sum::<usize>()
            + field_len(self.type_url.len())
            + field_len(self.nonce.len())
            + self.removed.iter().map(|name| field_len(name.len())).sum::<usize>()
    }

    /// Encodes the push as an `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
    pub fn encode(&self, buf: &mut impl BufMut) {
        for r in &self.resources {
            let (any_len, len) = resource_len(r);
            put_header(response::RESOURCES, len, buf);
            put_field(resource::VERSION, r.version().as_bytes(), buf);
            put_header(resource::RESOURCE, any_len, buf);
            put_field(any::TYPE_URL, r.resource_type().type_url().as_bytes(), buf);
            put_field(any::VALUE, r.body(), buf);
            put_field(resource::NAME, r.name().as_bytes(), buf);
        }
        put_field(response::TYPE_URL, self.type_url.as_bytes(), buf);
        put_field(response::NONCE, self.nonce.as_bytes(), buf);
        for name in &self.removed {
            put_field(response::REMOVED_RESOURCES, name.as_bytes(), buf);
        }
    }
}

/// The same message in the generated type, for clients of the state machine that want to look into it.
impl From<&Push> for DeltaDiscoveryResponse {
    fn from(push: &Push) -> Self {
        Self {
            type_url: push.type_url.to_string(),
            nonce: push.nonce.clone(),
            resources: push
                .resources
                .iter()
                .map(|r| WireResource {
                    name: r.name().to_owned(),
                    version: r.version().to_owned(),
                    resource: Some(to_any(r)),
                    ..WireResource::default()
                })
                .collect(),
            removed_resources: push.removed.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }
}

pub(crate) fn to_any(resource: &Resource) -> Any {
    Any { type_url: resource.resource_type().type_url().to_owned(), value: resource.body().to_vec() }
}

impl Reply for Push {
    fn resource_type(&self) -> Option<ResourceType> {
        ResourceType::from_type_url(&self.type_url)
    }

    fn resources(&self) -> usize {
        self.resources.len()
    }

    fn bytes(&self) -> usize {
        self.encoded_len()
    }
}

/// Delta ADS: [`Push`] out, `DeltaDiscoveryRequest` in.
#[derive(Clone, Copy, Default)]
pub(crate) struct PushCodec;

impl Codec for PushCodec {
    type Encode = Push;
    type Decode = DeltaDiscoveryRequest;
    type Encoder = PushEncoder;
    type Decoder = MessageDecoder<DeltaDiscoveryRequest>;

    fn encoder(&mut self) -> PushEncoder {
        PushEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

/// State-of-the-world ADS: `DiscoveryResponse` out, `DiscoveryRequest` in.
#[derive(Clone, Copy, Default)]
pub(crate) struct SotwCodec;

impl Codec for SotwCodec {
    type Encode = sotw::Reply;
    type Decode = DiscoveryRequest;
    type Encoder = SotwEncoder;
    type Decoder = MessageDecoder<DiscoveryRequest>;

    fn encoder(&mut self) -> SotwEncoder {
        SotwEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(PhantomData)
    }
}

pub(crate) struct PushEncoder;

impl Encoder for PushEncoder {
    type Item = Push;
    type Error = Status;

    fn encode(&mut self, push: Push, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(push.encoded_len());
        push.encode(buf);
        Ok(())
    }
}

pub(crate) struct SotwEncoder;

impl Encoder for SotwEncoder {
    type Item = sotw::Reply;
    type Error = Status;

    fn encode(&mut self, reply: sotw::Reply, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        reply.0.encode(buf).map_err(|error| Status::internal(error.to_string()))
    }
}

pub(crate) struct MessageDecoder<M>(PhantomData<M>);

impl<M: Message + Default> Decoder for MessageDecoder<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        M::decode(buf).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::Arc;

    use super::*;
    use crate::resource::ResourceType;

    #[test]
    fn a_push_is_encoded_as_the_generated_message_says() {
        let resource = |name: &str, len: usize| {
            Arc::new(Resource::new(ResourceType::Listener, name, "v1", vec![7_u8; len]))
        };
        for resources in [
            vec![],
            vec![resource("a", 0)],
            vec![resource("b", 1), resource("c", 300), resource("d", 70_000)],
        ] {
            for removed in [vec![], vec![Arc::from("x"), Arc::from("y".repeat(200))]] {
                let push = Push {
                    type_url: Cow::Borrowed(ResourceType::Listener.type_url()),
                    nonce: "17".to_owned(),
                    resources: resources.clone(),
                    removed,
                };
                let mut bytes = Vec::new();
                push.encode(&mut bytes);
                assert_eq!(bytes.len(), push.encoded_len());
                assert_eq!(
                    DeltaDiscoveryResponse::decode(&bytes[..]),
                    Ok(DeltaDiscoveryResponse::from(&push))
                );
            }
        }
    }
}
