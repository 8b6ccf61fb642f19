//! ReferenceGrant: permission for references from other namespaces.

use serde::{Deserialize, Serialize};

api_kind! {
    /// Permission, given by a namespace, for references from other namespaces to its objects.
    pub struct ReferenceGrant { spec: ReferenceGrantSpec }
    group: super::GATEWAY_GROUP, version: "v1", served_versions: ["v1", "v1beta1"],
    kind: "ReferenceGrant", plural: "referencegrants", scope: Namespace
}

/// Who may refer to what.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantSpec {
    /// Who may refer: any of these, 1 to 16.
    #[serde(default)]
    pub from: Vec<ReferenceGrantFrom>,
    /// What they may refer to: any of these, 1 to 16.
    #[serde(default)]
    pub to: Vec<ReferenceGrantTo>,
}

/// Objects that may refer.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantFrom {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
}

/// Objects that may be referred to, in the namespace of the grant.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceGrantTo {
    /// API group; empty is the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name; absent means all objects of the kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
