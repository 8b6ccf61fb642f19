//! What has to exist in a cluster for the proxies of a Gateway.
//!
//! [`render`] says which objects the [`Infrastructure`](postern_translator::Infrastructure) of a Gateway means; a [`Provisioner`]
//! makes and keeps them so. What it did not make it does not touch: every object belongs to its Gateway by an owner reference,
//! which is also how it goes when the Gateway goes.

mod apply;
mod drift;
mod error;
mod labels;
mod objects;
mod options;
mod plan;
mod provisioner;
mod render;
mod sweep;

pub use self::error::ProvisionError;
pub use self::labels::{
    BOOTSTRAP_DIGEST, CONTROLLER_NAME, GATEWAY_CLASS_NAME, GATEWAY_NAME, MANAGED_BY, MANAGER,
};
pub use self::objects::{ObjectKind, Objects, Wanted};
pub use self::options::RenderOptions;
pub use self::provisioner::{ProvisionOptions, ProvisionReport, Provisioner, ProvisionerTask};
pub use self::render::{RenderError, render};
