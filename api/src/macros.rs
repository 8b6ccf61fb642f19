//! The two macros behind the types: open enums, and kinds.

/// An enum of strings that keeps values it does not know, in a variant `Unknown`.
///
/// The API gains values with every version; an object that uses one must stay readable, so that its status can say
/// what is not supported. `default X` makes `X` the default, as the API documents it; without it the default is the
/// empty unknown value.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident $(, default $default:ident)? {
            $( $(#[$variant_meta:meta])* $variant:ident $(= $value:literal)?, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
            /// A value that this version does not know.
            Unknown(String),
        }

        impl $name {
            /// All values known to this version.
            pub const KNOWN: &'static [&'static str] = &[$( open_enum!(@value $variant $($value)?), )+];

            /// The value as it is written.
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => open_enum!(@value $variant $($value)?), )+
                    Self::Unknown(value) => value,
                }
            }

            /// Whether this version knows the value.
            pub fn is_known(&self) -> bool {
                !matches!(self, Self::Unknown(_))
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                match value {
                    $( open_enum!(@value $variant $($value)?) => Self::$variant, )+
                    _ => Self::Unknown(value.to_owned()),
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                open_enum!(@default $($default)?)
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <::std::borrow::Cow<'de, str>>::deserialize(deserializer).map(|value| Self::from(value.as_ref()))
            }
        }

        impl ::schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!({ "type": "string", "enum": Self::KNOWN })
            }
        }
    };
    (@value $variant:ident) => { stringify!($variant) };
    (@value $variant:ident $value:literal) => { $value };
    (@default) => { Self::Unknown(String::new()) };
    (@default $default:ident) => { Self::$default };
}

/// A kind of the Gateway API: the object with its metadata, its serde form with `apiVersion` and `kind`, and its
/// [`kube::Resource`] implementation.
macro_rules! api_kind {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { spec: $spec:ty $(, status: $status:ty)? }
        group: $group:expr, version: $version:literal, served_versions: [$($served:literal),+],
        kind: $kind:literal, plural: $plural:literal, scope: $scope:ident
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            /// Metadata of the object.
            pub metadata: ::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
            /// Desired state.
            pub spec: $spec,
            $(
                /// What controllers say about the object.
                pub status: Option<$status>,
            )?
        }

        impl $name {
            /// API group.
            pub const GROUP: &'static str = $group;
            /// Version of the API that Postern reads and writes.
            pub const VERSION: &'static str = $version;
            /// All versions that upstream's CRDs serve; this type reads each of them.
            pub const SERVED_VERSIONS: &'static [&'static str] = &[$($served),+];
            /// Kind.
            pub const KIND: &'static str = $kind;
            /// Name of the resource in URLs and RBAC rules.
            pub const PLURAL: &'static str = $plural;

            /// An object with this name and spec.
            pub fn new(name: &str, spec: $spec) -> Self {
                Self {
                    metadata: ::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                        name: Some(name.to_owned()),
                        ..Default::default()
                    },
                    spec,
                    $( status: None::<$status>, )?
                }
            }
        }

        impl ::kube::Resource for $name {
            type DynamicType = ();
            type Scope = api_kind!(@scope $scope);

            fn kind((): &()) -> ::std::borrow::Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> ::std::borrow::Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> ::std::borrow::Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> ::std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }

        // The two impls name `apiVersion` and `kind`, so that whoever looks for unknown fields does not find them.
        const _: () = {
            #[derive(::serde::Serialize)]
            #[serde(rename_all = "camelCase")]
            struct Written<'a> {
                api_version: String,
                kind: &'static str,
                metadata: &'a ::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
                spec: &'a $spec,
                $(
                    #[serde(skip_serializing_if = "Option::is_none")]
                    status: &'a Option<$status>,
                )?
            }

            #[derive(::serde::Deserialize)]
            #[serde(rename_all = "camelCase")]
            struct Read {
                #[serde(default, rename = "apiVersion")]
                _api_version: Option<String>,
                #[serde(default, rename = "kind")]
                _kind: Option<String>,
                metadata: ::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
                spec: $spec,
                $(
                    #[serde(default)]
                    status: Option<$status>,
                )?
            }

            impl ::serde::Serialize for $name {
                fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let written = Written {
                        api_version: format!("{}/{}", $group, $version),
                        kind: $kind,
                        metadata: &self.metadata,
                        spec: &self.spec,
                        $( status: api_kind!(@status self, $status), )?
                    };
                    ::serde::Serialize::serialize(&written, serializer)
                }
            }

            impl<'de> ::serde::Deserialize<'de> for $name {
                fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let read = <Read as ::serde::Deserialize>::deserialize(deserializer)?;
                    Ok(Self {
                        metadata: read.metadata,
                        spec: read.spec,
                        $( status: api_kind!(@read_status read, $status), )?
                    })
                }
            }
        };
    };
    (@scope Cluster) => { ::k8s_openapi::ClusterResourceScope };
    (@scope Namespace) => { ::k8s_openapi::NamespaceResourceScope };
    (@status $self:ident, $status:ty) => { &$self.status };
    (@read_status $read:ident, $status:ty) => { $read.status };
}
